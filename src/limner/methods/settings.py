"""A training's settings as a person gives them: those of the run and those of its methods side by side."""

from collections.abc import Mapping
from typing import Any

from limner.config import METHOD_NAMES, Learning, Settings, TrainSettings, names, nearest
from limner.errors import UserError
from limner.methods.method import find_methods, methods

OF_THE_RUN = {*TrainSettings.model_fields, *names(TrainSettings)}


def with_tables(values: Mapping[str, Any], origin: str) -> dict[str, Any]:
    """The values with each setting that is a method's own in the table of that method: rank = 4 as [lora] rank = 4.

    Raises UserError, with the nearest right name, for what is a setting of neither the run nor its methods, and for
    what is given twice.
    """
    flat = {name: value for name, value in values.items() if name not in OF_THE_RUN and not _is_table(name, values)}
    rest = {name: value for name, value in values.items() if name not in flat}
    for name in flat:
        tables = [table for table, own in rest.items() if isinstance(own, dict) and name in own]
        if tables:
            raise UserError(f"{origin}: {name} is given twice, by itself and in [{tables[0]}]; leave one out")
    return in_tables(rest, flat, origin)


def in_tables(values: Mapping[str, Any], own: Mapping[str, Any], origin: str) -> dict[str, Any]:
    """The values with the methods' `own` settings laid over what their tables say. Raises UserError as with_tables."""
    placed = {name: dict(value) if isinstance(value, dict) else value for name, value in values.items()}
    configs = _configs(values) if own else {}
    for name, value in own.items():
        if name in configs:
            raise UserError(
                f"{origin}: {name} = {value!r} will not do: it is a table, of settings of the method {name}"
            )
        owners = [method for method, config in configs.items() if name in config.model_fields]
        if not owners:
            raise UserError(f"{origin}: unknown setting {name!r}{_instead(name, configs)}")
        if len(owners) > 1:
            meant = " or ".join(f"{owner}.{name}" for owner in owners)
            raise UserError(f"{origin}: {name} can be meant for {' and '.join(owners)}; say {meant}")
        placed.setdefault(owners[0], {})[name] = value
    return placed


def _is_table(name: str, values: Mapping[str, Any]) -> bool:
    """Whether a value is a method's table, and not a setting which is a table itself, as ranks by layer are."""
    if not isinstance(values[name], dict):
        return False
    fields = (config.model_fields for method, config in _configs(values).items() if method != name)
    return not any(name in each for each in fields)


def _configs(values: Mapping[str, Any]) -> dict[str, type[Settings]]:
    """The classes of the methods' settings, by name. Raises UserError."""
    method = values.get("method", Learning.model_fields["method"].default)
    if not isinstance(method, str):
        return {}
    return {name: each.Config for name, each in find_methods(METHOD_NAMES.get(method, method)).items()}


def _instead(name: str, configs: Mapping[str, type[Settings]]) -> str:
    """What is meant by a name that nothing has."""
    near = nearest(
        name, [*names(TrainSettings), *(field for config in configs.values() for field in config.model_fields)]
    )
    others = [method for method, found in sorted(methods().items()) if name in found.Config.model_fields]
    if others:
        return f" of the method {'+'.join(configs)}; {', '.join(others)} {'have' if len(others) > 1 else 'has'} it"
    return f"; did you mean {near!r}?" if near else "; see --help"
