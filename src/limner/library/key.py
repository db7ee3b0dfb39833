"""The person's key for a site: from the environment or the keyring, and nowhere to be seen."""

import importlib.util
import os
import re
from collections.abc import Mapping

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
    if importlib.util.find_spec("keyring") is None:
        return None
    import keyring

    try:
        value = keyring.get_password(SERVICE, USER)
    except Exception:  # of whatever keeps keys on this machine: locked, or not running
        return None
    return Key(value.strip(), "the keyring") if value and value.strip() else None
