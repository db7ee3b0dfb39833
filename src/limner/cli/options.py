"""From classes of settings to command-line options, and from options and TOML files back to settings."""

import inspect
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Optional

from cyclopts import Group, Parameter
from pydantic.fields import FieldInfo

from limner.config import (
    OF_ONE_RUN,
    RUN_HEADER,
    Base,
    Directions,
    Judging,
    Learning,
    Machine,
    Output,
    Pictures,
    Prior,
    Settings,
    Watching,
    read_toml,
)
from limner.errors import UserError
from limner.files import free_names
from limner.texts import read_text


def parameters(settings: type[Settings], positional: tuple[str, ...]) -> list[inspect.Parameter]:
    """The signature from which cyclopts makes a command's options: one optional parameter for each field.

    None stands for "not given", so that what is given can be laid over a TOML file; defaults are the fields' own.
    """
    ordered = [*positional, *(name for name in ordered_fields(settings) if name not in positional)]
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [_parameter(settings, name, kinds[name not in positional]) for name in ordered]


def ordered_fields(settings: type[Settings]) -> list[str]:
    """A class's fields in the order of their sections in the help."""
    return sorted(settings.model_fields, key=lambda name: group(settings.section(name)).sort_key)


def _parameter(settings: type[Settings], name: str, kind: Any) -> inspect.Parameter:
    field = settings.model_fields[name]
    option = Parameter(
        name="--" + (field.alias or name).replace("_", "-"),
        help=field.description,
        group=group(settings.section(name)),
        show_default=shown_default(field),
        required=False,
        negative="",  # a switch that a file turned on is turned off by --set name=false
    )
    annotation = Annotated[Optional[field.annotation], option]  # type: ignore[name-defined]  # noqa: UP045
    return inspect.Parameter(name, kind, default=None, annotation=annotation)


def group(title: str) -> Group:
    """The part of a command's help with this heading, in the order of a person's questions."""
    order = [each.title for each in (Pictures, Learning, Prior, Watching, Judging, Base, Directions, Output)]
    return Group(title, sort_key=9 if title == Machine.title else order.index(title) if title in order else 0)


def shown_default(field: FieldInfo) -> str | bool:
    """What help and docs say of a field's default; False where there is nothing to say."""
    if field.is_required():
        return "required"
    if (
        field.default_factory is not None
        or field.default is None
        or field.default is False
        or field.default in ("", ())
    ):
        return False
    return f"{field.default:g}" if isinstance(field.default, float) else str(field.default)


def read_settings(
    settings: type[Settings], given: Mapping[str, Any], config: Path | None, assignments: tuple[str, ...]
) -> tuple[dict[str, Any], str, str]:
    """The values of a TOML file, the options, and `a.b=v` assignments, later ones first; where they came from; and a
    remark on what the file says that was not taken over, "" if there is none.

    Raises UserError for a file that cannot be read, an assignment without "=", or what is given in two ways.
    """
    values = {} if config is None else read_toml(config)
    aliases = {name: field.alias or name for name, field in settings.model_fields.items()}
    given = {aliases.get(name, name): value for name, value in given.items()}
    remark = "" if config is None else _leave_out(values, config, given)
    for text in assignments:
        path, value = _assignment(text)
        if path[0] in given:
            raise UserError(f"{path[0]} is given twice, by --{path[0].replace('_', '-')} and by --set; leave one out")
        _put(values, path, value)
    return values | given, "the command line" if config is None else f"{config} and the command line", remark


def _leave_out(values: dict[str, Any], config: Path, given: Mapping[str, Any]) -> str:
    """Of a run's own run.toml, remove what is for that run alone: where its results are; and the cache and the models
    folder where there are none of these names, as on another machine. A new file goes beside that run's, under the next
    free name. Returns what a person should know of it."""
    if not read_text(config).startswith(f"# {RUN_HEADER}"):
        return ""
    elsewhere = [name for name in ("cache", "models") if not Path(str(values.get(name, "."))).is_dir()]
    left = {name: values.pop(name) for name in (*OF_ONE_RUN, *elsewhere) if name in values}
    told = [f"{name} = {value}" for name, value in left.items() if name not in given]
    remark = f"not taken over from {config}, for it belongs to that run: {', '.join(told)}" if told else ""
    out = Path(str(left.get("out", "")))
    if "out" in left and "out" not in given and out.parent.is_dir() and "models" not in given:
        values["out"] = str(next(path for path in free_names(out) if not path.exists()))
        remark += f"; this one goes to {values['out']}"
    return remark


def _assignment(text: str) -> tuple[list[str], Any]:
    """("a.b", "v") of "a.b=v"; the value is read as TOML, and as plain text if it is none."""
    name, equals, value = text.partition("=")
    path = [part.strip().replace("-", "_") for part in name.split(".")]
    if not equals or not all(path):
        raise UserError(f"--set {text} will not do: write it as name=value or table.name=value, as in lora.rank=8")
    try:
        return path, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return path, value


def _put(values: dict[str, Any], path: list[str], value: Any) -> None:
    """Set values["a"]["b"], making the tables on the way."""
    for part in path[:-1]:
        values = values.setdefault(part, {})
        if not isinstance(values, dict):
            raise UserError(f"{part} is a setting, not a table; write --set {part}=VALUE")
    values[path[-1]] = value
