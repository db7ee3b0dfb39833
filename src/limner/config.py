"""Settings: each declared once, as a typed field with a default and one sentence; an unknown one is an error."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from limner.errors import UserError


class Settings(BaseModel):
    """Base of every class of settings: immutable, validated, and strict about names."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def read(cls, values: Mapping[str, Any], origin: str) -> Self:
        """Settings from plain values, as of a TOML table or the command line; `origin` names where they came from.

        Raises UserError in one sentence that names the first wrong setting and, for a misspelt one, the nearest.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            first = error.errors()[0]
            path = ".".join(str(part) for part in first["loc"]) or "these settings"
            if first["type"] == "extra_forbidden":
                raise UserError(f"{origin}: unknown setting {path!r}{_instead(cls, first['loc'])}") from error
            reason = first["msg"].removeprefix("Value error, ")
            raise UserError(f"{origin}: {path} = {first['input']!r} will not do: {reason}") from error


def nearest(name: str, options: Iterable[str]) -> str | None:
    """The option that a misspelt name most likely meant, or None if none is like it."""
    found = difflib.get_close_matches(name, list(options), n=1, cutoff=0.5)
    return found[0] if found else None


def _instead(settings: type[BaseModel], location: tuple[int | str, ...]) -> str:
    """'; did you mean ...?' for a misspelt name, looked up among the fields of the table it stands in."""
    for part in location[:-1]:
        field = settings.model_fields.get(str(part))
        if field is None or not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
            return "; remove it"
        settings = field.annotation
    near = nearest(str(location[-1]), settings.model_fields)
    return f"; did you mean {near!r}?" if near else f"; there are {', '.join(settings.model_fields)}"
