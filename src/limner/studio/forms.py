"""Forms, from the one declaration of each setting: what the page asks under "More"."""

import re
from collections.abc import Container
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo

from limner.config import Machine, PrepareSettings, Settings, TrainSettings, usual_range

FORMS: dict[str, type[Settings]] = {"train": TrainSettings, "prepare": PrepareSettings}
# What the page asks in words of its own, or knows itself.
ASKED: frozenset[str] = frozenset(
    {"images", "out", "keyword", "class_word", "base", "method", "models", "run", "config", "overwrite", "quiet"}
)
# Models that are a folder or on the hub; the page may only mean the latter.
OF_THE_HUB = ("mask_model", "caption_model")
HUB_ID = re.compile(r"[A-Za-z0-9][\w-]*/[A-Za-z0-9][\w.-]*", re.ASCII)


def form(settings: type[Settings], known: Container[str] = ASKED) -> list[dict[str, Any]]:
    """[{title, fields: [{name, label, help, type, choices, minimum, maximum, usual, off,
    default}]}], in the help's order.

    known: fields that are asked for elsewhere. Tables have no place in a form.

    type: "number", "integer", "switch", "choice", "list" (of texts) or "text". Settings that
    name places on this machine are left out: no request holds a path.
    """
    sections: dict[str, list[dict[str, Any]]] = {}
    for name, field in settings.model_fields.items():
        if name in known or name in Machine.model_fields or _holds(field.annotation, Path):
            continue
        if any(get_origin(option) is dict for option in _options(field.annotation)):
            continue
        sections.setdefault(settings.section(name), []).append(_field(field.alias or name, field))
    return [{"title": title, "fields": fields} for title, fields in sections.items()]


def no_places(settings: type[Settings], values: dict[str, Any]) -> dict[str, Any]:
    """The values of a form, sent back. Raises ValueError for one that names a place on this machine: such are the
    studio's to choose, and a model of the hub is asked for as OWNER/NAME."""
    known = {field.alias or name: field for name, field in settings.model_fields.items()}
    for name, value in values.items():
        field = known.get(name) or settings.model_fields.get(name)
        if field is None or not isinstance(value, str):
            continue
        if _holds(field.annotation, Path) or (name in OF_THE_HUB and not HUB_ID.fullmatch(value)):
            raise ValueError(f"{name} = {value!r} names a place on this machine, which the page may not; leave it out")
    return values


def in_words_of_forms(sentence: str) -> str:
    """A sentence that names options of the command line, with the names that they have in a form."""
    sentence = re.sub(r" \(see --help\)|; see --help", "", sentence)
    sentence = re.sub(r'--set [\w.]*?(\w+)=("[^"]*"|\S*)', r'"\1", such as \2, under More', sentence)
    return re.sub(r"(?<![\w-])--([a-z][a-z-]*[a-z])", lambda found: f'"{found[1].replace("-", " ")}"', sentence)


def _field(name: str, field: FieldInfo) -> dict[str, Any]:
    plain = {
        "name": name,
        "label": name.replace("_", " "),
        "help": field.description or "",
        "type": _type(field.annotation),
        "choices": _choices(field.annotation),
        "default": field.default if isinstance(field.default, str | int | float | bool) else None,
        **({"required": True} if field.is_required() else {}),
    }
    if (usual := usual_range(field)) is not None:
        plain["usual"] = [usual.low, usual.high]
        plain["off"] = usual.off
    for limit in field.metadata:
        for kind, side in ((Ge, "minimum"), (Gt, "minimum"), (Le, "maximum"), (Lt, "maximum")):
            if isinstance(limit, kind):
                plain[side] = getattr(limit, kind.__name__.lower())
    return plain


def _options(annotation: Any) -> list[Any]:
    """The types that an annotation allows, None left out."""
    if get_origin(annotation) is Union or type(annotation).__name__ == "UnionType":
        return [each for option in get_args(annotation) for each in _options(option) if each is not type(None)]
    if hasattr(annotation, "__metadata__"):
        return _options(get_args(annotation)[0])
    return [annotation]


def _type(annotation: Any) -> str:
    options = _options(annotation)
    if any(get_origin(option) is Literal for option in options):
        return "choice"
    if any(get_origin(option) is tuple for option in options):
        return "list"
    for kind, name in ((bool, "switch"), (float, "number"), (int, "integer")):
        if kind in options:
            return name
    return "text"


def _choices(annotation: Any) -> list[Any]:
    """What can be chosen, of a choice."""
    options = _options(annotation)
    named = [value for option in options if get_origin(option) is Literal for value in get_args(option)]
    return [*([False, True] if named and bool in options else []), *named]


def _holds(annotation: Any, kind: type) -> bool:
    return any(isinstance(option, type) and issubclass(option, kind) for option in _options(annotation))
