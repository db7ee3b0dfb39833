"""Plug-ins: classes that a package brings by an entry point, and what such a class may declare."""

import inspect
import sys
from collections.abc import Iterable
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

from limner.config.settings import nearest
from limner.errors import UserError

Kind = TypeVar("Kind")
_FUNCTIONS = (staticmethod, classmethod, property, cached_property)


class PlugIn:
    """Base of the classes that plug-ins derive from: what a subclass declares has to be something that is read.

    A public name that no base class has is an error, since nothing would ever read it. Names that begin with an
    underscore are the subclass's own, and so are annotations without a value. A class that still has abstract methods
    is a base class itself: it may add functions, and attributes with an annotation.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        check_names(cls, cls.__mro__[1:])


def check_names(cls: type, bases: Iterable[type]) -> None:
    """Raise TypeError if a class declares a public name that none of these bases has, as PlugIn says."""
    known = {name for base in bases for name in (*vars(base), *_annotated(base))}
    own = {name: value for name, value in vars(cls).items() if not name.startswith("_") and name not in known}
    if _is_abstract(cls):
        annotated = _annotated(cls)
        own = {name: value for name, value in own.items() if not (_is_function(value) or name in annotated)}
    for name in own:
        near = nearest(name, (each for each in known if not each.startswith("_")))
        meant = f"did you mean {near!r}? If it is your own" if near else "if it is your own"
        raise TypeError(f"{cls.__name__}.{name} is read by nothing; {meant}, call it '_{name}'")


def _is_abstract(cls: type) -> bool:
    """Before ABCMeta has noted it."""
    return any(getattr(getattr(cls, name, None), "__isabstractmethod__", False) for name in dir(cls))


def _is_function(value: object) -> bool:
    return callable(value) or isinstance(value, _FUNCTIONS)


def _annotated(cls: type) -> Iterable[str]:
    if sys.version_info >= (3, 14):  # where annotations are evaluated when they are asked for
        import annotationlib

        return annotationlib.get_annotations(cls, format=annotationlib.Format.FORWARDREF)
    return inspect.get_annotations(cls)


def registered(group: str) -> dict[str, EntryPoint]:
    """The entry points of a group by name. Raises UserError if two packages bring one of the same name."""
    found: dict[str, EntryPoint] = {}
    for entry in entry_points(group=group):
        other = found.setdefault(entry.name, entry)
        if other.value != entry.value:
            raise UserError(
                f"the packages {_package(other)} and {_package(entry)} both bring {entry.name!r} for {group}; "
                "uninstall one of them"
            )
    return found


def load(entry: EntryPoint, base: type[Kind]) -> type[Kind]:
    """The class of an entry point, derived from `base` and complete.

    Raises UserError that names the package if it is not, declares what is read by nothing, or cannot be imported.
    """
    try:
        found = entry.load()
        _check_class(found, base)
    except Exception as error:  # a package may do anything while it is imported
        raise UserError(
            f"{entry.name} of the package {_package(entry)} cannot be used ({type(error).__name__}: {error}); "
            "update, correct or uninstall the package"
        ) from error
    return found


def _check_class(found: Any, base: type) -> None:
    name = getattr(found, "__name__", repr(found))
    if not (isinstance(found, type) and issubclass(found, base)):
        raise TypeError(f"{name} is not a subclass of {base.__module__}.{base.__name__}")
    missing = sorted(getattr(found, "__abstractmethods__", ()))
    if missing:
        raise TypeError(f"{name} has no {' and no '.join(missing)}")


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else entry.value.partition(":")[0]
