"""The one exception that a person is meant to read."""


class UserError(Exception):
    """What the user can fix: one sentence that says what happened, to which file, and what to do (exit status 2)."""
