"""What settings are: typed fields, each with a default and one sentence, strict about their names."""

import difflib
import tomllib
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

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


@dataclass(frozen=True)
class Usual:
    """The range in which a number usually lies, declared beside its bounds: `Annotated[int, Usual(1, 64)]`. What lies
    outside is possible, and questioned. off: a value outside the range that is fine too, for it turns something off."""

    low: float
    high: float
    off: float | None = None

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high or value == self.off

    def __str__(self) -> str:
        return f"{_plain(self.low)} to {_plain(self.high)}"


class Settings(BaseModel):
    """Base of every class of settings: immutable, validated, and strict about names."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_by_name=True, validate_by_alias=True)
    title: ClassVar[str] = "Settings"

    @classmethod
    def read(cls, values: Mapping[str, Any], origin: str, table: str = "") -> Self:
        """Settings from plain values, as of a TOML table or the command line; `origin` names where they came from.

        table: in which these stand, as a method's own do; they are given with --set then.

        Raises UserError in one sentence that names the first wrong setting and, for a misspelt one, the nearest.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
            path = ".".join(_place(cls, first["loc"]))
            same = [each["msg"] for each in error.errors() if _place(cls, each["loc"]) == _place(cls, first["loc"])]
            reason = ", or ".join([same[0].removeprefix("Value error, "), *(_choice(each) for each in same[1:])])
            if first["type"] == "extra_forbidden":
                raise UserError(f"{origin}: unknown setting {path!r}{_instead(cls, first['loc'])}") from error
            if first["type"] == "missing":
                raise UserError(f"{origin}: {path} is missing; give {cls.option(path, table)} (see --help)") from error
            if not path:
                raise UserError(f"{origin}: {reason}") from error
            raise UserError(f"{origin}: {path} = {first['input']!r} will not do: {reason}") from error

    def questions(self, ranges: Mapping[str, Usual] | None = None) -> Iterator[str]:
        """A sentence for each number that somebody gave and that lies outside its usual range.

        ranges: by a field's name, those that depend on more than the setting itself; they go before the declared ones.
        """
        for name, field in type(self).model_fields.items():
            usual = (ranges or {}).get(name) or usual_range(field)
            value = getattr(self, name)
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if usual and is_number and name in self.model_fields_set and not usual.holds(value):
                yield f"{field.alias or name} = {_plain(value)} is far from the usual {usual}; check that you mean it"

    @classmethod
    def option(cls, name: str, table: str = "") -> str:
        """How a field is given on the command line, with an example where the field has one."""
        if not table:
            return f"--{name.replace('_', '-')}"
        field = cls.model_fields.get(name)
        example = next(iter((field.examples if field is not None else None) or ()), "VALUE")
        return f'--set {table}.{name}="{example}"'

    @classmethod
    def section(cls, name: str) -> str:
        """The heading of the section that declares a field."""
        classes = [each for each in reversed(cls.__mro__) if issubclass(each, Settings)]
        return next(each.title for each in classes if name in each.model_fields)


def usual_range(field: FieldInfo) -> Usual | None:
    """The range that a field declares, if it does."""
    return next((each for each in field.metadata if isinstance(each, Usual)), None)


def _plain(number: float) -> str:
    """10000, 0.001, 1e-06."""
    return str(number) if isinstance(number, int) else f"{number:g}"


def nearest(name: str, options: Iterable[str]) -> str | None:
    """The option that a misspelt name most likely meant, in whatever case it is written; None if none is like it."""
    return next(iter(nearest_few(name, options, most=1)), None)


def nearest_few(name: str, options: Iterable[str], most: int = 3) -> list[str]:
    """The options that are most like a misspelt name, the nearest first, in whatever case they are written."""
    by_fold: dict[str, str] = {}
    for option in options:
        by_fold.setdefault(option.casefold(), option)
    found = difflib.get_close_matches(name.casefold(), list(by_fold), n=most, cutoff=0.5)
    return [by_fold[each] for each in found]


def names(settings: type[BaseModel]) -> list[str]:
    """The names under which a class's fields are written outside of Python."""
    return [field.alias or name for name, field in settings.model_fields.items()]


def _place(settings: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """The names and numbers of a location, without those of the types that a value may have."""
    place: list[str] = []
    table: type[BaseModel] | None = settings
    for part in location:
        if isinstance(part, int):
            place.append(str(part))
        elif table is not None:
            place.append(part)
            table = _table(table, part)
    return place


def _table(settings: type[BaseModel], name: str) -> type[BaseModel] | None:
    """The settings that a field holds, or may hold, as `Hires | None` and `tuple[Axis, ...]` do; None if none."""
    field = settings.model_fields.get(name)
    return None if field is None else next(_tables(field.annotation), None)


def _tables(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for each in get_args(annotation):
        yield from _tables(each)


def _choice(message: str) -> str:
    """What a value may be, of the message that it is not that."""
    return message.removeprefix("Value error, ").removeprefix("Input should be ")


def _instead(settings: type[BaseModel], location: tuple[int | str, ...]) -> str:
    """'; did you mean ...?' for a misspelt name, looked up among the fields of the table it stands in."""
    for part in location[:-1]:
        if isinstance(part, int):
            continue
        table = _table(settings, part)
        if table is None:
            return "; remove it"
        settings = table
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
