"""What settings are: typed fields, each with a default and one sentence, strict about their names."""

import difflib
import tomllib
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from limner.errors import UserError
from limner.texts import display, read_text

MOST_NAMED = 10  # settings that an error lists


def _expand(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise ValueError("there is no such user") from error


def _one_line(text: str) -> str:
    """Words as prompts and captions have them. Raises ValueError for what is no text."""
    text = unicodedata.normalize("NFC", " ".join(text.split()))
    if not all(each.isprintable() or each in JOINERS for each in text):
        raise ValueError("it has characters that are not printable; write plain words")
    return text


JOINERS = "\u200c\u200d"  # within emoji and words of some scripts
Words = Annotated[str, AfterValidator(_one_line)]
FilePath = Annotated[Path, AfterValidator(_expand)]


class Settings(BaseModel):
    """Base of every class of settings: immutable, validated, and strict about names."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_by_name=True, validate_by_alias=True)
    title: ClassVar[str] = "Settings"

    @classmethod
    def read(cls, values: Mapping[str, Any], origin: str) -> Self:
        """Settings from plain values, as of a TOML table or the command line; `origin` names where they came from.

        Raises UserError in one sentence that names the first wrong setting and, for a misspelt one, the nearest.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
            path = ".".join(str(part) for part in first["loc"])
            reason = first["msg"].removeprefix("Value error, ")
            if first["type"] == "extra_forbidden":
                raise UserError(f"{origin}: unknown setting {path!r}{_instead(cls, first['loc'])}") from error
            if first["type"] == "missing":
                raise UserError(f"{origin}: {path} is missing; give --{path} (see --help)") from error
            if not path:
                raise UserError(f"{origin}: {reason}") from error
            raise UserError(f"{origin}: {path} = {first['input']!r} will not do: {reason}") from error

    @classmethod
    def section(cls, name: str) -> str:
        """The heading of the section that declares a field."""
        classes = [each for each in reversed(cls.__mro__) if issubclass(each, Settings)]
        return next(each.title for each in classes if name in each.model_fields)


def nearest(name: str, options: Iterable[str]) -> str | None:
    """The option that a misspelt name most likely meant, or None if none is like it."""
    found = difflib.get_close_matches(name, list(options), n=1, cutoff=0.5)
    return found[0] if found else None


def names(settings: type[BaseModel]) -> list[str]:
    """The names under which a class's fields are written outside of Python."""
    return [field.alias or name for name, field in settings.model_fields.items()]


def _instead(settings: type[BaseModel], location: tuple[int | str, ...]) -> str:
    """'; did you mean ...?' for a misspelt name, looked up among the fields of the table it stands in."""
    for part in location[:-1]:
        field = settings.model_fields.get(str(part))
        if field is None or not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
            return "; remove it"
        settings = field.annotation
    near = nearest(str(location[-1]), names(settings))
    if near:
        return f"; did you mean {near!r}?"
    return f"; there are {', '.join(names(settings))}" if len(settings.model_fields) <= MOST_NAMED else "; see --help"


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file's contents. Raises UserError."""
    try:
        return tomllib.loads(read_text(path, is_data=True))
    except OSError as error:
        raise UserError(f"cannot read {display(path)}: {error.strerror}; check the path") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UserError(f"{display(path)} is not a TOML file ({error}); correct it there") from error
