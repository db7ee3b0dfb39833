"""The person's key for a site: from the environment or the keyring, and nowhere to be seen."""

import importlib.util
import os
import re
from collections.abc import Callable, Mapping
from typing import Any

from limner.errors import UserError

VARIABLES = ("CIVITAI_API_KEY", "CIVITAI_API_TOKEN", "CIVITAI_TOKEN")  # other programs' names too, the first wins
SERVICE, USER = "limner", "civitai"  # in the keyring: keyring set limner civitai


class Key:
    """A secret that no text of the program shows: only `header` gives it away, for a request to its own site."""

    __slots__ = ("_value",)

    def __init__(self, value: str, origin: str) -> None:
        """Raises UserError, without the value, for what no header can hold."""
        if not re.fullmatch(r"[!-~]{1,500}", value):
            raise UserError(f"the key in {origin} has spaces or other characters that no key has; copy it again")
        self._value = value

    def __repr__(self) -> str:
        return "Key(...)"

    def header(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._value}"}

    def __reduce__(self) -> str:
        raise TypeError("a key is not to be written anywhere")


def find_key(environment: Mapping[str, str] = os.environ) -> Key | None:
    """The key for Civitai, None if there is none."""
    for name in VARIABLES:
        if value := environment.get(name, "").strip():
            return Key(value, f"${name}")
    if not can_keep():
        return None
    import keyring

    try:
        value = keyring.get_password(SERVICE, USER)
    except Exception:  # of whatever keeps keys on this machine: locked, or not running
        return None
    return Key(value.strip(), "the keyring") if value and value.strip() else None


def in_environment(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the key comes from there, before any in the keyring."""
    return any(environment.get(name, "").strip() for name in VARIABLES)


def can_keep() -> bool:
    """Whether there is a keyring to ask."""
    return importlib.util.find_spec("keyring") is not None


def keep_key(value: str) -> None:
    """Put the key into the machine's keyring. Raises UserError, without the value, if that cannot be."""
    Key(value.strip(), "the form")
    _in_keyring("keep", lambda keyring: keyring.set_password(SERVICE, USER, value.strip()))


def forget_key() -> None:
    """Take the key out of the machine's keyring. Raises UserError if that cannot be."""
    _in_keyring("remove", lambda keyring: keyring.delete_password(SERVICE, USER))


def _in_keyring(what: str, act: Callable[[Any], None]) -> None:
    if not can_keep():
        raise UserError(
            f'there is no keyring to {what} the key in; pip install "limner[keyring]", or set ${VARIABLES[0]}'
        )
    import keyring

    try:
        act(keyring)
    except Exception as error:  # its text could hold anything, so only its name is told
        kind = type(error).__name__
        raise UserError(f"the keyring did not {what} the key ({kind}); unlock it, or set ${VARIABLES[0]}") from None
