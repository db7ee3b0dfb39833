"""In what two trainings differ, by the run cards of their files: each setting in words, with its two values.

Not by limner.inspection, which compares tensors too and for that brings torch along.
"""

import hashlib
from typing import Any

from limner.config import TrainSettings
from limner.flat import flat
from limner.studio.jobs import Job

SECTIONS = {  # of a run card, and how people call them
    "settings": "Settings",
    "methods": "Settings of the method",
    "base": "Base",
    "data": "Pictures",
    "versions": "Versions",
}


def differences(one: Job, other: Job) -> list[dict[str, Any]]:
    """[{title, rows: [{name, help, values: the two, None where one says nothing}]}], without what is equal."""
    cards = [card for job in (one, other) if isinstance(card := (job.result or {}).get("card"), dict)]
    held = [_of_card(card) for card in cards]
    if len(held) < 2:  # one is not finished: what was asked for is known already
        held = [{"settings": _asked(job)} for job in (one, other)]
    found = []
    for section, title in SECTIONS.items():
        a, b = (each.get(section, {}) for each in held)
        rows = [
            {"name": _words(name), "help": _help(section, name), "values": [a.get(name), b.get(name)]}
            for name in {**a, **b}
            if a.get(name) != b.get(name)
        ]
        if rows:
            found.append({"title": title, "rows": rows})
    return found


def _asked(job: Job) -> dict[str, Any]:
    asked = {name: value for name, value in job.request.items() if name not in ("more", "preparing", "name")}
    return flat(asked | job.request.get("more", {}))


def _of_card(card: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found = {name: flat(card[name]) for name in SECTIONS if isinstance(card.get(name), dict)}
    pictures = {name: hashes for name, hashes in card.items() if name.endswith("_sha256") and isinstance(hashes, list)}
    found["data"] = {_of_pictures(name): f"{len(hashes)} pictures" for name, hashes in pictures.items()}
    found["data"]["which they are"] = _mark(pictures.get("images_sha256", []))
    return found


def _of_pictures(name: str) -> str:
    return {"images_sha256": "learned from", "held_out_sha256": "judged by"}.get(name, name.removesuffix("_sha256"))


def _mark(hashes: list[Any]) -> str:
    """A short sign that is the same for the same pictures."""
    return hashlib.sha256("".join(map(str, hashes)).encode()).hexdigest()[:8]


def _words(name: str) -> str:
    return name.replace("_", " ").replace(".", ": ")


def _help(section: str, name: str) -> str:
    """The sentence that a setting is declared with."""
    if section != "settings":
        return ""
    fields = {field.alias or each: field for each, field in TrainSettings.model_fields.items()}
    return (fields[name].description or "") if name in fields else ""
