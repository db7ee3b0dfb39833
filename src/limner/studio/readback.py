"""From a picture's text back to a request, with a sentence for whatever of it cannot be had here."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from limner.base import pocket
from limner.config import Settings
from limner.errors import UserError
from limner.infotext import Infotext, parse_infotext
from limner.library.scan import shelf_root
from limner.library.shelf import ShelfFile
from limner.library.store import Store
from limner.samplers import AUTOMATIC, find_sampler
from limner.studio.requests import GenerateRequest
from limner.upscalers import find_upscaler
from limner.used import Used, used_embeddings, used_loras, used_model

SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")
DIGITS = re.compile(r"[0-9a-f]{8,64}")
NUMBERS = {
    "steps": "Steps",
    "cfg_scale": "CFG scale",
    "seed": "Seed",
    "clip_skip": "Clip skip",
    "subseed": "Variation seed",
    "subseed_strength": "Variation seed strength",
}
HIRES = {
    "scale": "Hires upscale",
    "upscaler": "Hires upscaler",
    "steps": "Hires steps",
    "strength": "Denoising strength",
}
# What the webui can do to a picture and Limner does not, by the name in the text.
ELSEWHERE = {
    "Hires checkpoint": "another checkpoint for its second pass",
    "Hires sampler": "another sampler for its second pass",
    "Hires schedule type": "another schedule for its second pass",
    "Hires prompt": "another prompt for its second pass",
    "Hires negative prompt": "another negative prompt for its second pass",
    "Face restoration": "face restoration",
    "Refiner": "a refiner",
    "ENSD": "an offset of the sampler's seed",
    "Tiling": "tiling",
}


@dataclass
class ReadBack:
    """settings: values of GenerateRequest, as far as the text gives them. notes: sentences about what it does not."""

    settings: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def take(self, name: str, value: Any) -> None:
        """Keep a value, unless no request can have it."""
        try:
            read = getattr(GenerateRequest.read({name: value}, "the picture"), name)
            self.settings[name] = read.model_dump() if isinstance(read, Settings) else read
        except UserError as problem:
            self.notes.append(str(problem))


def read_back(text: str, models: Path) -> ReadBack:
    """The request that a `parameters` text tells of; models, LoRAs and embeddings are those of the shelf."""
    told = parse_infotext(text)
    found = ReadBack()
    with Store() as store:
        shelf = _Shelf(store, shelf_root(models), found.notes)
        found.take("prompt", shelf.renamed(told))
        found.take("negative_prompt", told.negative_prompt)
        base = used_model(told)
        name = None if base is None else shelf.base(base)
        if name is not None:
            found.take("base", name)
        for embedding in used_embeddings(told):
            shelf.embedding(embedding)
    _numbers(told, found)
    _sampler(told, found)
    _hires(told, found)
    _elsewhere(told, found)
    return found


def _numbers(told: Infotext, found: ReadBack) -> None:
    for name, title in NUMBERS.items():
        if title in told.settings:
            found.take(name, told.settings[title])
    size = SIZE.fullmatch(told.settings.get("Size", ""))
    if size is not None:
        found.take("width", int(size[1]))
        found.take("height", int(size[2]))


def _sampler(told: Infotext, found: ReadBack) -> None:
    if "Sampler" not in told.settings:
        return
    try:
        sampler, schedule = find_sampler(told.settings["Sampler"], told.settings.get("Schedule type", AUTOMATIC))
    except UserError as problem:
        found.notes.append(str(problem))
    else:
        found.settings |= {"sampler": sampler, "schedule": schedule or AUTOMATIC}


def _hires(told: Infotext, found: ReadBack) -> None:
    """The second pass, if there was one."""
    size = SIZE.fullmatch(told.settings.get("Hires resize", ""))
    values: dict[str, Any] = {title: told.settings[name] for title, name in HIRES.items() if name in told.settings}
    if size is not None:
        values |= {"width": int(size[1]) or None, "height": int(size[2]) or None}
    if size is None and "scale" not in values:
        return
    try:
        find_upscaler(values.setdefault("upscaler", "Latent"))
    except UserError:
        found.notes.append(
            f"the upscaler {values['upscaler']} of its second pass is none of Limner's; Lanczos takes its place"
        )
        values["upscaler"] = "Lanczos"
    found.take("hires", values)


def _elsewhere(told: Infotext, found: ReadBack) -> None:
    others = [what for title, what in ELSEWHERE.items() if told.settings.get(title, "0") not in ("0", "False")]
    if others:
        found.notes.append(f"the picture was also made with {' and '.join(others)}, which Limner leaves out")
    elif "Denoising strength" in told.settings and not {"Hires upscale", "Hires resize"} & told.settings.keys():
        found.notes.append("the picture was made from another one, which its text does not hold; choose a start image")
    if told.settings and told.settings.get("RNG", "GPU") != "CPU":
        found.notes.append("its noise was drawn on a GPU: the same seed gives another picture here")


class _Shelf:
    """Files by the names and hashes that a text tells, with a note for each that is missing or another."""

    def __init__(self, store: Store, root: Path, notes: list[str]) -> None:
        self.store, self.root, self.notes = store, root, notes

    def base(self, used: Used) -> str | None:
        """The name of a base on the shelf, or None."""
        if used.name == pocket.NAME:
            return pocket.NAME
        return self._find("checkpoint", "base", used)

    def embedding(self, used: Used) -> None:
        self._find("embedding", "embedding", used)

    def renamed(self, told: Infotext) -> str:
        """The prompt, in which a LoRA that has another name here is called by that, as in the webui."""
        prompt = told.prompt
        for used in used_loras(told):
            name = self._find("lora", "LoRA", used)
            if name is not None and not _is_called(self.store.get(self.root, name), used.name):
                here = Path(name).stem
                tag = re.compile(rf"<lora:{re.escape(used.name)}(?=[:>])")
                prompt = f"<lora:{here}".join(tag.split(prompt))
                self.notes.append(f"the LoRA {used.name} is called {here} on this shelf")
        return prompt

    def _find(self, kind: str, title: str, used: Used) -> str | None:
        """By hash, else by name."""
        digits = used.hash.lower()
        by_hash = self.store.find(self.root, digits, [kind]) if DIGITS.fullmatch(digits) else []
        known = [each for each in by_hash if _has(each, digits)]
        named = [each for each in self._of_name(kind, used.name) if each not in known]
        if known:
            return next((each.name for each in known if _is_called(each, used.name)), known[0].name)
        if not named:
            shown = f"{used.name} ({digits})" if used.name and digits else used.name or digits
            self.notes.append(f"the {title} {shown} is not on the shelf; look for it under Models")
            return None
        if digits and named[0].hashes is not None:
            self.notes.append(f"the {title} {used.name} on this shelf is another file than the picture's ({digits})")
        return named[0].name

    def _of_name(self, kind: str, name: str) -> Iterable[ShelfFile]:
        return (each for each in self.store.find(self.root, name, [kind]) if _is_called(each, name)) if name else ()


def _is_called(file: ShelfFile | None, name: str) -> bool:
    return file is not None and name in (Path(file.name).stem, file.details.get("alias"))


def _has(file: ShelfFile, digits: str) -> bool:
    if file.hashes is None:
        return False
    return file.hashes.sha256.startswith(digits) or (bool(file.hashes.autov3) and file.hashes.autov3 == digits[:12])
