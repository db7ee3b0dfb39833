"""What a pickle of torch.save holds, once its program has run: named tensors and plain values."""

from typing import Any

from limner.container.names import Global, Storage, View
from limner.container.places import MAX_TENSORS, Contents, Place, Refused, check_name

DEEPEST = 8  # dictionaries in one another
MAX_VISITS = 1_000_000
STATE = "state_dict"  # of a checkpoint by Lightning
_PLAIN = (str, int, float, bool, type(None))


def contents(top: Any) -> Contents:
    """The tensors under their names, and the plain values beside them. Raises Refused if no tensor has a name."""
    if type(top) is not dict:
        raise Refused("holds no tensors by name", "use another file")
    inner = top.get(STATE)
    named = top if type(inner) is not dict else inner
    places = _Flattened().flatten(named)
    if not places:
        raise Refused("holds no tensors by name", "use another file")
    return Contents(places, extras=_extras(top))


def require_storage(told: Any) -> tuple[Global, str, int, list[Any]]:
    """The class, key and number of elements that a program says of a storage, and what else it says."""
    match told:
        case ("storage", Global(is_storage=True) as kind, str() as key, _, int() as length, *more) if length >= 0:
            return kind, key, length, more
    raise Refused("holds a damaged pickle: it asks for something else than tensors' bytes")


class _Flattened:
    """Nested dictionaries of views as one. A dictionary may hang at several places, so that visits are counted."""

    def __init__(self) -> None:
        self.places: dict[str, Place] = {}
        self.visits = 0

    def flatten(self, values: dict[Any, Any], prefix: str = "", depth: int = 0) -> dict[str, Place]:
        self.visits += len(values)
        if self.visits > MAX_VISITS:
            raise Refused("holds a pickle of more parts than any model has", "do not trust it")
        for key, value in values.items():
            if isinstance(value, View):
                self._add(check_name(f"{prefix}{_name(key)}"), value)
            elif type(value) is dict and value:
                if depth == DEEPEST:
                    raise Refused("nests its tensors deeper than any model does", "do not trust it")
                self.flatten(value, check_name(f"{prefix}{_name(key)}."), depth + 1)
        return self.places

    def _add(self, name: str, view: View) -> None:
        if name in self.places:
            raise Refused(f"holds {name} twice", "do not trust it")
        if len(self.places) == MAX_TENSORS:
            raise Refused(f"holds more than {MAX_TENSORS:,} tensors, which no model needs", "do not trust it")
        storage: Storage = view.storage
        self.places[name] = Place(view.dtype, view.shape, view.stride, storage.start + view.start, storage.data)


def _name(key: Any) -> str:
    return check_name(key) if isinstance(key, str) else "" if isinstance(key, Global) else str(key)[:20]


def _extras(top: dict[Any, Any]) -> dict[str, Any]:
    """Plain values at the top, and dictionaries and lists of such."""
    left = MAX_VISITS
    found: dict[str, Any] = {}
    for key, value in top.items():
        left -= len(value) if isinstance(value, dict | list) else 1
        if left < 0:
            raise Refused("holds a pickle of more parts than any model has", "do not trust it")
        if isinstance(key, str) and key != STATE and _is_plain(value):
            found[key] = value
    return found


def _is_plain(value: Any) -> bool:
    if type(value) is dict:
        return all(isinstance(key, str) and isinstance(item, _PLAIN) for key, item in value.items())
    return isinstance(value, _PLAIN) or (type(value) is list and all(isinstance(item, _PLAIN) for item in value))
