"""What a person decides: choices.toml in the prepared folder, written once with comments, then only read."""

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import tomlkit
import tomlkit.items

from limner.checking.facts import Facts
from limner.config import nearest, read_toml
from limner.errors import UserError
from limner.files import atomic_path, write_text
from limner.texts import read_text
from limner.vision.region import Region

NAME = "choices.toml"
MOST_LISTED = 1000  # pictures that get a place of their own in the file; others are added by hand
NO_MASK = "none"
MOST_KEPT = 1 << 15  # tables of pictures that stay read: those of some large files

HEAD = """\
# What you decide yourself. Change this file, give the same command again, and it is done as you say; what you leave out
# is decided by Limner. It is written once; from then on only you change it, here or in the studio.
#
# For each picture, by its path in the folder or zip of pictures:
#   keep = true           keep it whatever speaks against it, or with false leave it out
#   crop = [left, top, right, bottom]
#                         what is kept lies inside: in shares of the picture's sides, as in [0.1, 0, 0.9, 0.8], or in
#                         its pixels, upright, as in [120, 0, 1080, 800]
#   caption = "text"      what it is called
#   mask = "file"         an image of its size, white where it counts; relative to this file; or "none"
#
# Take away the # in front of what you want to say.

"""


@dataclass(frozen=True)
class Choice:
    """What is said of one picture; None leaves it open. crop: as written, see region(). mask: a path, or NO_MASK."""

    keep: bool | None = None
    crop: tuple[float, float, float, float] | None = None
    caption: str | None = None
    mask: str | None = None

    @property
    def said(self) -> tuple[str, ...]:
        """The names of what is not left open."""
        return tuple(name for name in KINDS if getattr(self, name) is not None)

    def region(self, facts: Facts) -> Region | None:
        """The crop in shares of a picture. Raises UserError if it is not inside of it."""
        if self.crop is None:
            return None
        left, top, right, bottom = self.crop
        if max(self.crop) > 1:
            left, right = left / facts.width, right / facts.width
            top, bottom = top / facts.height, bottom / facts.height
        if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
            size = f"{facts.width}x{facts.height}"
            raise UserError(
                f"{NAME}: the crop {list(self.crop)} of {facts.name!r} will not do; write [left, top, right, bottom] "
                f"inside the picture, which is {size}"
            )
        return Region(left, top, right, bottom)


NOTHING = Choice()
TABLE = re.compile(r"^(?=\[pictures\.)", re.MULTILINE)
OF_MANY_LINES = ('"""', "'''")  # strings in which a line may look like the beginning of a table


def _is_crop(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 4 and all(_is_number(side) for side in value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e6


KINDS = {
    "keep": (lambda value: isinstance(value, bool), "true or false"),
    "crop": (_is_crop, "four numbers in brackets: left, top, right, bottom"),
    "caption": (lambda value: isinstance(value, str) and bool(value.strip()), "text in quotes"),
    "mask": (lambda value: isinstance(value, str) and bool(value), "the name of a file in quotes"),
}


def read_choices(path: Path) -> dict[str, Choice]:
    """What a file says, by the names of pictures; empty if there is none. Raises UserError for what it cannot mean."""
    if not path.exists():
        return {}
    if (divided := _divided(path)) is not None:
        return {name: choice for name, choice in divided[1].items() if choice != NOTHING}
    values = read_toml(path)
    for name in values:
        if name != "pictures":
            raise UserError(f'{path}: unknown table {name!r}; what you decide stands in [pictures."NAME"]')
    pictures = values.get("pictures", {})
    if not isinstance(pictures, dict):
        raise UserError(f'{path}: pictures is no table; what you decide stands in [pictures."NAME"]')
    return {name: _choice(path, name, said) for name, said in pictures.items() if said != {}}


def _divided(path: Path) -> tuple[list[str], dict[str, Choice]] | None:
    """A file's text in parts, what stands before the first picture's table and then each picture's, and what those say.

    None if it is not made of such tables alone, or something is wrong in it. Of ten thousand tables only those are
    parsed that were not seen before.
    """
    try:
        text = read_text(path, is_data=True)
        head, *tables = TABLE.split(text)
        if any(marks in text for marks in OF_MANY_LINES) or tomllib.loads(head):
            return None
        choices = dict(map(_read, tables))
    except (OSError, ValueError, UserError):
        return None
    return ([head, *tables], choices) if len(choices) == len(tables) else None


@lru_cache(maxsize=MOST_KEPT)
def _read(table: str) -> tuple[str, Choice]:
    """The picture that a table is about, and what it says. Raises ValueError and UserError if it is none, or wrong."""
    values = tomllib.loads(table)
    pictures = values.get("pictures")
    if len(values) != 1 or not isinstance(pictures, dict) or len(pictures) != 1:
        raise ValueError("this is no table of a picture")
    name, said = next(iter(pictures.items()))
    return name, _choice(Path(NAME), name, said)


def _choice(path: Path, picture: str, said: Any) -> Choice:
    if not isinstance(said, dict):
        raise UserError(f'{path}: {picture!r} is no table; write [pictures."{picture}"] and the settings below it')
    for name, value in said.items():
        if name not in KINDS:
            near = nearest(name, KINDS)
            hint = f"did you mean {near!r}?" if near else f"there are {', '.join(KINDS)}"
            raise UserError(f"{path}: unknown setting {name!r} of {picture!r}; {hint}")
        check, kind = KINDS[name]
        if not check(value):
            raise UserError(f"{path}: {name} = {value!r} of {picture!r} will not do; write {kind}")
    crop = tuple(float(side) for side in said["crop"]) if "crop" in said else None
    caption = " ".join(said["caption"].split()) if "caption" in said else None
    return Choice(said.get("keep"), crop, caption, said.get("mask"))  # type: ignore[arg-type]


def check_names(choices: Mapping[str, Choice], missing: set[str], names: Iterable[str], path: Path) -> None:
    """Raise UserError for the first picture that is named but not there. names: of all that are."""
    for picture in choices:
        if picture in missing:
            near = nearest(picture, names)
            hint = f"did you mean {near!r}?" if near else "correct its name, or remove it"
            raise UserError(f"{path}: there is no picture {picture!r}; {hint}")


def write_choices(path: Path, decisions: Iterable[tuple[str, str]]) -> None:
    """Write the file with a place for each picture, with what was decided as a comment. decisions: (name, words)."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", errors="backslashreplace") as stream:
        stream.write(HEAD)
        for number, (name, words) in enumerate(decisions):
            if number == MOST_LISTED:
                stream.write(
                    f"# There are more pictures; write what you want of them as above, from {quoted(name)} on.\n"
                )
                break
            stream.write(f"# {''.join(c if c.isprintable() else ' ' for c in words)}\n[pictures.{quoted(name)}]\n")
            stream.write('# keep = true\n# crop = [0.0, 0.0, 1.0, 1.0]\n# caption = ""\n\n')


def change_choices(path: Path, changes: Mapping[str, Mapping[str, Any]]) -> None:
    """Say anew what is decided of pictures; comments, and what is said of others, stay as they are.

    changes: by picture, its settings as in the file, None for one that is left open from now on. A picture whose
    settings are all left open is as good as not named. Raises UserError for what the file or a change cannot mean.
    """
    read_choices(path)
    for name, said in changes.items():
        _choice(path, name, {key: value for key, value in said.items() if value is not None})
    parts, known = _divided(path) or ([read_text(path, is_data=True) if path.exists() else HEAD], {})
    at = {name: number for number, name in enumerate(known, start=1)}
    together: dict[int, dict[str, Mapping[str, Any]]] = {}
    for name, said in changes.items():
        together.setdefault(at.get(name, len(parts) - 1), {})[name] = said
    for number, some in together.items():
        parts[number] = _edited(parts[number], some)
    write_text(path, "".join(parts))


def _edited(text: str, changes: Mapping[str, Mapping[str, Any]]) -> str:
    """A part of the file, with other settings of its pictures, and with new pictures at its end."""
    document = tomlkit.parse(text)
    if "pictures" not in document:
        document["pictures"] = tomlkit.table(is_super_table=True)
    pictures: Any = document["pictures"]
    for name, said in changes.items():
        if name in pictures:
            pictures[name] = _changed(pictures[name], said)
        elif any(value is not None for value in said.values()):
            table = tomlkit.table()
            table.update({key: value for key, value in said.items() if value is not None})
            table.add(tomlkit.nl())
            pictures[name] = table
    return tomlkit.dumps(document)


def _changed(table: Any, said: Mapping[str, Any]) -> Any:
    """A picture's table with other settings; new ones come first, for the comment at its end is about the next."""
    new = tomlkit.inline_table() if isinstance(table, tomlkit.items.InlineTable) else tomlkit.table()
    new.update({key: value for key, value in said.items() if value is not None and key not in table})
    for key, item in table.value.body:
        if key is None:
            new.add(item)
        elif key.key not in said:
            new.add(key, item)
        elif said[key.key] is not None:
            value = tomlkit.item(said[key.key])
            value.trivia.comment_ws, value.trivia.comment = item.trivia.comment_ws, item.trivia.comment
            new.add(key.key, value)
    return new


def quoted(text: str) -> str:
    """A TOML string of one line."""
    marks = {'"': '\\"', "\\": "\\\\"}
    return '"' + "".join(marks.get(c) or (c if c.isprintable() else f"\\U{ord(c):08x}") for c in text) + '"'
