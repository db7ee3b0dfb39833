"""What the tests of training share: a few random examples, and a run from start to end."""

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from limner.base.model import BaseModel
from limner.base.open import Opening
from limner.data.batch import Batches, Example
from limner.device import generator
from limner.events import Event, Step
from limner.methods.lora import LoRA, LoRAConfig
from limner.methods.method import Method
from limner.train import Plan, train


def small_run(folder: Path, sizes: Sequence[tuple[int, int]], base: Path, cache: Path, **others: Any) -> dict[str, Any]:
    """Settings of a short training on pictures of noise of these sizes, drawn into the new folder; `others` on top."""
    folder.mkdir()
    for index, size in enumerate(sizes):
        Image.effect_noise(size, 60 + index).convert("RGB").save(folder / f"{index}.png")
    names = {"images": str(folder), "keyword": "zqvx", "class": "dog", "base": str(base), "cache": str(cache)}
    small = {"steps": 6, "batch_size": 2, "crops": 0, "previews": 0, "precision": "fp32", "device": "cpu"}
    return names | small | others


def examples(model: BaseModel, count: int = 6, live_text: bool = False, keyword: str = "") -> list[Example]:
    """Random latents with captions; without conditioning if the text is to be encoded as the run goes."""
    captions = [
        " ".join(f"a drawing of a {keyword} {noun}".split()) for noun in ("cat", "dog", "boat", "house", "tree", "car")
    ][:count]
    with torch.no_grad():
        told = [None if live_text else model.encode_prompts([caption]) for caption in captions]
    latents = torch.randn(count, model.channels, 8, 8, generator=generator(7))
    return [Example(one, caption, states) for one, caption, states in zip(latents, captions, told, strict=True)]


def already(model: BaseModel) -> Generator[Opening, None, BaseModel]:
    """In the place of `limner.base.open.opening`: a base that is open."""
    yield Opening(1, 1)
    return model


def run(
    model: BaseModel,
    plan: Plan,
    methods: Sequence[Method] | None = None,
    live_text: bool = False,
    batch_size: int = 2,
    keyword: str = "",
) -> tuple[list[Event], dict[str, torch.Tensor]]:
    """The events of a whole run and the tensors it learned, with a small LoRA unless told otherwise."""
    methods = methods or [LoRA(LoRAConfig(rank=4))]
    batches = Batches(examples(model, live_text=live_text, keyword=keyword), batch_size=batch_size, seed=plan.seed)
    events = list(train(model, batches, methods, plan))
    return events, {f"{i}.{n}": t for i, m in enumerate(methods) for n, t in m.weights().tensors.items()}


def losses(events: list[Event]) -> list[float]:
    return [event.loss for event in events if isinstance(event, Step)]


def snapshot(model: BaseModel) -> dict[str, torch.Tensor]:
    """Copies of all weights of all networks."""
    return {f"{n}.{k}": v.clone() for n, net in model.networks.items() for k, v in net.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Whether two sets of tensors are the same bit for bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
