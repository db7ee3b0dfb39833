"""How two of a kind differ: in what they were asked for and made from, by which versions, and in their weights."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from limner.errors import UserError
from limner.flat import flat
from limner.formats import Summary
from limner.formats.metadata import RUN_CARD
from limner.formats.verdicts import Verdict
from limner.inspection.examine import Facts, examine
from limner.inspection.folder import Folder, weights_of
from limner.inspection.picture import Picture
from limner.inspection.run import Run
from limner.inspection.tensors import TensorDifference, compare_files

SAME_FILE = "they are the same, byte for byte"
SAME_WEIGHTS = "the same weights, other metadata"
ROUNDED = "the same weights in another number format"
SAME_RUN = "the same settings, pictures and versions"
DIFFERENT = "they differ"
_HASHES = ("sha256", "autov1", "autov2", "autov3", "webui_hash", "hash_matches", "modelspec_hash", "modelspec_matches")
_ELSEWHERE = ("path", "metadata", "run_card", "extras", "blocks", "programs", "settings")


@dataclass(frozen=True)
class Difference:
    """files: the two paths. says: the difference in a sentence. sections: {"settings", "data", "versions", "facts",
    "metadata", "hashes": {name: the two values, None where one says nothing}}, without those that are equal. tensors:
    {what they are of: how they differ}; one entry for two files, one a component for two folders."""

    files: tuple[str, str]
    says: str
    sections: dict[str, dict[str, list[Any]]]
    tensors: dict[str, TensorDifference]

    def as_dict(self) -> dict[str, Any]:
        found = asdict(self)
        for name, each in self.tensors.items():
            found["tensors"][name] |= {"differing": each.differing, "is_same": each.is_same}
        return found


def explain(first: Path, second: Path) -> Difference:
    """How two files or folders differ. Raises UserError if one of them cannot be read."""
    one, other = examine(first), examine(second)
    sections = {
        name: different
        for name, (a, b) in _sections(one, other).items()
        if (different := {key: [a.get(key), b.get(key)] for key in {**a, **b} if a.get(key) != b.get(key)})
    }
    if isinstance(one, Picture) and isinstance(other, Picture):
        sections.setdefault("facts", {}).update(_pixels(first, second, one, other))
    tensors = _tensors(first, second, one, other)
    return Difference((str(first), str(second)), _sentence(one, other, sections, tensors), sections, tensors)


def _sections(one: Facts, other: Facts) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    held = [_facts_of(each) for each in (one, other)]
    return {name: (held[0].get(name, {}), held[1].get(name, {})) for name in {**held[0], **held[1]}}


def _facts_of(facts: Facts) -> dict[str, dict[str, Any]]:
    """A path's facts, flat, by what they are about."""
    held = facts.as_dict()
    found = {"settings": flat(held.get("settings") or {})}
    if isinstance(facts, Summary):
        card = facts.run_card or {}
        found["settings"] = flat(_table(card, "settings")) | flat(_table(card, "methods"), "methods.")
        found["data"] = {key: value for key, value in card.items() if key.endswith("_sha256")}
        found["data"] |= flat(_table(card, "base"), "base.")
        found["versions"] = flat(_table(card, "versions"))
        found["figures"] = flat(_table(card, "figures"))
        found["metadata"] = {key: text for key, text in facts.metadata.items() if key != RUN_CARD} | facts.extras
        found["programs"] = {name: _in_words(verdict) for name, verdict in facts.programs.items()}
        found["blocks"] = {name: asdict(block) for name, block in facts.blocks.items()}
    elif isinstance(facts, Run):
        found["data"] = {"base": held.pop("base")}
        for name in ("pictures", "held_out", "class_pictures"):
            found["data"][name] = held.pop(name)
        found["versions"] = held.pop("versions")
    found["hashes"] = {name: held[name] for name in _HASHES if name in held}
    found["facts"] = {key: value for key, value in held.items() if key not in (*_HASHES, *_ELSEWHERE)}
    return found


def _in_words(verdict: Verdict) -> str:
    if verdict.loads is None:
        return f"not known {verdict.says}".rstrip()
    return verdict.says or "loads it"


def _table(card: Mapping[str, Any], name: str) -> dict[str, Any]:
    held = card.get(name)
    return held if isinstance(held, dict) else {}


def _tensors(first: Path, second: Path, one: Facts, other: Facts) -> dict[str, TensorDifference]:
    if isinstance(one, Summary) and isinstance(other, Summary) and one.sha256 != other.sha256:
        return {"file": compare_files(first, second)}
    if isinstance(one, Folder) and isinstance(other, Folder):
        files, others = weights_of(first), weights_of(second)
        return {
            name: compare_files(files[name], others[name], name.partition("/")[0]) for name in files if name in others
        }
    return {}


def _pixels(first: Path, second: Path, one: Picture, other: Picture) -> dict[str, list[Any]]:
    """The largest difference of two pictures of one size, in 255ths, and the share of pixels that differ."""
    if (one.width, one.height) != (other.width, other.height):
        return {}
    try:
        pixels = [np.asarray(Image.open(path).convert("RGB"), dtype=np.int16) for path in (first, second)]
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read the pixels of {first} or {second} ({error}); copy them again") from error
    apart = np.abs(pixels[0] - pixels[1]).max(axis=2)
    if not apart.any():
        return {}
    return {"pixels": [f"up to {apart.max()} of 255 apart", f"{(apart > 0).mean():.1%} of them differ"]}


def _sentence(one: Facts, other: Facts, sections: Mapping[str, Any], tensors: Mapping[str, TensorDifference]) -> str:
    if one.kind != other.kind:
        return f"the first is a {one.kind}, the second a {other.kind}"
    digests = [each.as_dict().get("sha256") for each in (one, other)]
    if digests[0] is not None and digests[0] == digests[1]:
        return SAME_FILE
    if isinstance(one, Run):
        return DIFFERENT if sections.keys() & {"settings", "data", "versions"} else SAME_RUN
    if tensors and all(each.is_same for each in tensors.values()):
        return ROUNDED if any(each.rounded for each in tensors.values()) else SAME_WEIGHTS
    return DIFFERENT
