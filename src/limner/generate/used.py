"""The files that a request uses: LoRAs by its prompt's tags, embeddings by its words."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from limner.base.model import BaseModel
from limner.errors import UserError
from limner.files import sha256_file
from limner.formats import load_weights
from limner.methods.method import apply_weights
from limner.named import HASH_LENGTH, PromptFiles, short_hash
from limner.prompt import LoraTag
from limner.weights import Weights


@dataclass(frozen=True)
class UsedLora:
    """A prompt's tag, what is in its file, cut to the rank that the tag asks for, and the webui's hash of the file.

    remarks: on what of the tag changes nothing in this file.
    """

    tag: LoraTag
    weights: Weights
    hash: str
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class UsedEmbedding:
    """What is in the file of an embedding that a prompt says, and the webui's hash of the file."""

    weights: Weights
    hash: str


def use_lora(model: BaseModel, tag: LoraTag, path: Path) -> UsedLora:
    """Read the file that a tag means. Raises UserError if it is not a LoRA of the model's family."""
    weights = _read(model, path)
    if weights.kind == "embedding":
        raise UserError(
            f"{path} is an embedding, not a LoRA; leave its tag out, give it with limner generate --embedding, and say "
            f"{path.stem} in the prompt"
        )
    if weights.kind == "checkpoint":
        raise UserError(f"{path} is a whole model, not a LoRA; use it as the base, and leave its tag out")
    remarks: tuple[str, ...] = ()
    if tag.rank is not None:
        weights, uncut = _cut(weights, tag.rank)
        if uncut:
            remarks = (
                f"{path}: {uncut} of {len(weights.modules())} layers are not cut to rank {tag.rank}, as "
                f"<lora:{tag.name}> asks: they have no more than that, or are no LoRA",
            )
    return UsedLora(tag, weights, short_hash(path), remarks)


def said_embeddings(model: BaseModel, files: PromptFiles, texts: Iterable[str]) -> list[UsedEmbedding]:
    """The embeddings that the texts say; a word that the model knows already, as one in training, is that one."""
    new = [name for name in files.embeddings() if name not in model.words]
    used = []
    for path in (files.find_embedding(name) for name in model.words.said(new, texts)):
        weights = _read(model, path)
        if weights.kind != "embedding":
            raise UserError(f"{path} is a {weights.kind}, not an embedding; move it to where those are")
        used.append(UsedEmbedding(replace(weights, name=path.stem), sha256_file(path)[:HASH_LENGTH]))
    return used


def _read(model: BaseModel, path: Path) -> Weights:
    """A file's weights. Raises UserError if they are of another family than the model."""
    weights = load_weights(path)
    if weights.family != model.family.name:
        raise UserError(
            f"{path} was made for {weights.family}, not for {model.family.title} as {model.name} is; use another base"
        )
    return weights


def _cut(weights: Weights, rank: int) -> tuple[Weights, int]:
    """The first `rank` rows and columns of each LoRA pair, at the strength per rank that the whole has; others of its
    family stay whole, as in the webui. With it, how many layers stay as they are."""
    uncut = 0
    tensors = dict(weights.tensors)
    for name, leaves in weights.modules().items():
        if not {"lora_down", "lora_up"} <= leaves.keys() <= {"lora_down", "lora_up", "alpha", "diff_b"}:
            uncut += 1
            continue
        down, up = leaves["lora_down"], leaves["lora_up"]
        whole = down.shape[0]
        kept = min(rank, whole)
        uncut += whole <= rank
        tensors[f"{name}.lora_down"], tensors[f"{name}.lora_up"] = down[:kept], up[:, :kept]
        tensors[f"{name}.alpha"] = leaves.get("alpha", torch.tensor(float(whole))) * (kept / whole)
    return replace(weights, tensors=tensors), uncut


@contextmanager
def applied(
    model: BaseModel, loras: Iterable[UsedLora] = (), embeddings: Iterable[UsedEmbedding] = ()
) -> Iterator[None]:
    """The LoRAs in the model, added up, the embeddings among its words, and all as it was afterwards in any case."""
    with ExitStack() as undo:
        for word in embeddings:
            undo.callback(apply_weights(model, word.weights))
        for used in loras:
            undo.callback(apply_weights(model, used.weights, used.tag.unet_strength, used.tag.text_strength))
        yield
