"""Which pictures show the same, as it was found the last time: to compare them takes longer than all else."""

import hashlib
import json
from collections.abc import Generator, Sequence
from dataclasses import asdict
from pathlib import Path

from limner.checking.compared import COMPARED, Comparing
from limner.checking.facts import MEASURED
from limner.checking.findings import Wanted
from limner.checking.store import Store
from limner.checking.verdict import Group, Twin
from limner.files import write_text

GROUPS = "groups.json"


def remembered_groups(
    store: Store, rows: Sequence[int], wanted: Wanted, find: Generator[Comparing, None, tuple[Group, ...]]
) -> Generator[Comparing, None, tuple[Group, ...]]:
    """Returned at the end: the groups that `find` returns, which begins only if the pictures or what is wanted of them
    are others than when it was asked last. They are remembered in the store's folder."""
    path = store.folder / GROUPS
    digest = hashlib.sha256(json.dumps([COMPARED, MEASURED, asdict(wanted)]).encode())
    for row in rows:
        facts = store.facts(row)
        digest.update(json.dumps([facts.name, facts.sha256]).encode())
    key = digest.hexdigest()
    known = _read(path, key)
    if known is not None:
        return known
    groups = yield from find
    write_text(path, json.dumps({"key": key, "groups": [asdict(group) for group in groups]}))
    return groups


def _read(path: Path, key: str) -> tuple[Group, ...] | None:
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        if held["key"] != key:
            return None
        return tuple(Group(group["best"], tuple(Twin(**twin) for twin in group["twins"])) for group in held["groups"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
