"""Embedding files: `emb_params` (n, dim) as the webui and kohya have it, `clip_l` and `clip_g` for XL's two text
encoders, and what else is about (interop 2.1). A prompt calls an embedding by its file's name."""

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load
from torch import Tensor

from limner.base.families import FAMILIES
from limner.base.model import BaseModel
from limner.container.header import Header, all_finite, read_header, read_tensors, serialize
from limner.errors import UserError
from limner.formats.bundle import AT_OUTPUT
from limner.formats.embedding_readers import HALF, READERS, REFUSED, SINGLE_ONLY
from limner.formats.format import Format
from limner.formats.identify import judge_family, kind
from limner.formats.metadata import complete
from limner.formats.verify import ReaderReport
from limner.inventory import Inventory
from limner.texts import display
from limner.weights import Weights

WIDTHS = {768: "sd1", 1024: "sd2"}  # of the text encoder; a narrower base is of the first family
SECOND_WIDTH = 1280  # of XL's second text encoder
TENSOR = "emb_params"
# What the tensors for two text encoders are called: by everyone, and by diffusers' older training script.
PAIRS = [
    {"text_encoder": "clip_l", "text_encoder_2": "clip_g"},
    {"text_encoder": "text_encoders_0", "text_encoder_2": "text_encoders_1"},
]
# OneTrainer's names (one is misspelled there) of vectors that replace what a text encoder makes of a word.
OUTPUTS = {"emb_params_out", "emp_params_out", "clip_l_out", "clip_g_out"}
MAX_VECTORS = 75  # places of a prompt


class Embedding(Format):
    """`.safetensors`, read in every layout that is known and written in the one that most programs read."""

    name = "embedding"

    @staticmethod
    def sniff(header: Header) -> bool:
        sort = kind(header)
        return sort == "embedding" or (sort == "unknown" and _are_vectors(header))

    @staticmethod
    def serialize(weights: Weights, name: str, dtype: torch.dtype = torch.float16) -> bytes:
        """The file's bytes; `name` is the stem that it is saved under. Raises UserError if they do not fit."""
        known = FAMILIES.get(weights.family)
        if weights.kind != "embedding" or known is None:
            raise UserError(
                f"an embedding's file holds embeddings of {', '.join(FAMILIES)}, not a {weights.family} {weights.kind}"
            )
        if weights.tensors.keys() != {encoder.name for encoder in known.encoders}:
            raise UserError(
                f"the embedding {name} has vectors for {' and '.join(sorted(weights.tensors))}, and {known.title} has "
                f"{len(known.encoders)} text encoders; take one that was made for it"
            )
        names = {"text_encoder": TENSOR} if len(known.encoders) == 1 else PAIRS[0]
        tensors = {names[network]: vectors.detach().to("cpu", dtype) for network, vectors in weights.tensors.items()}
        if not all_finite(tensors):
            raise UserError(
                f"the embedding {name} holds numbers that {dtype} cannot; train again with a lower learning rate"
            )
        return serialize(tensors, complete(weights, known, name))

    @staticmethod
    def load(path: Path) -> Weights:
        """The vectors of a file. Raises UserError if it is damaged, no embedding, or holds several."""
        header = read_header(path)
        weights = of_tensors(read_tensors(path), path)
        judged = judge_family(header)
        weights.metadata = judged.believed(header.metadata)
        weights.warnings = (*weights.warnings, *(f"{display(path)} {doubt}" for doubt in judged.doubts))
        if len(weights.tensors) == 1 and judged.family != "sdxl":
            weights.family = judged.family
        return weights

    @staticmethod
    def verify(path: Path, model: BaseModel, weights: Weights, name: str | None = None) -> list[ReaderReport]:
        """Read `path` as every program would, and compare. Raises UserError if any would read other vectors."""
        tensors = read_tensors(path)
        trained = {network: vectors.detach().to("cpu", torch.float32) for network, vectors in weights.tensors.items()}
        info = torch.finfo(next(iter(tensors.values())).dtype)
        widths = {network: vectors.shape[1] for network, vectors in trained.items()}
        reports = []
        for reader, read in READERS.items():
            found = read(tensors, widths)
            if found is None and len(trained) > 1 and reader in REFUSED:
                reports.append(ReaderReport(reader, 0, tuple(tensors), 0.0, REFUSED[reader]))
                continue
            errors = [_error(trained[network], (found or {}).get(network), info) for network in trained]
            if any(error is None for error in errors):
                raise UserError(
                    f"{reader} would not read {name or path} as it was trained; save it again, and report it if this "
                    "recurs"
                )
            length = len(next(iter(trained.values())))
            fault = HALF if reader in SINGLE_ONLY and info.dtype != "float32" else ""
            largest = max(error for error in errors if error is not None)
            reports.append(ReaderReport(reader, 0 if fault else length, (), largest, fault))
        return reports


class Token(Embedding):
    """diffusers' own layout, whose tensor is called what prompts say: it needs not be told the word."""

    name = "token"

    @staticmethod
    def serialize(weights: Weights, name: str, dtype: torch.dtype = torch.float16) -> bytes:
        """As `Embedding.serialize`, of one text encoder's vectors."""
        whole = load(Embedding.serialize(weights, name, dtype))
        if len(whole) > 1:
            raise UserError(
                f"{name} has vectors for {len(whole)} text encoders, for which diffusers has no file of its own; write "
                f"it as {Embedding.name}, whose tensors it loads one by one"
            )
        return serialize({name: whole[TENSOR]}, complete(weights, FAMILIES[weights.family], name))


def _error(trained: Tensor, found: Tensor | None, info: torch.finfo) -> float | None:
    """How far what is read is from what was trained, relative to it; None if it is more than rounding."""
    # relative for normal numbers, absolute below the smallest of them
    allowed = info.eps / 2 * trained.abs() + info.smallest_normal * info.eps
    if found is None or found.shape != trained.shape or bool(((found - trained).abs() > allowed).any()):
        return None
    return float((found - trained).norm() / trained.norm().clamp(min=info.tiny))


def of_tensors(tensors: Mapping[str, Tensor], path: Path) -> Weights:
    """The embedding in a file's tensors. Raises UserError, with the reason, if there is none or more than one."""
    inventory = Inventory(tensors)
    at_output = [name for name in tensors if name in OUTPUTS]
    inventory.leave(AT_OUTPUT, *at_output)
    if at_output and len(at_output) == len(tensors):
        raise UserError(f"{display(path)} holds no embedding that can be used ({AT_OUTPUT}); use another file")
    chosen = _by_encoder({name: tensor for name, tensor in tensors.items() if name not in at_output}, path)
    used = {id(tensor) for parts in chosen.values() for tensor in parts}
    inventory.use(*(name for name, tensor in tensors.items() if id(tensor) in used))
    every = [part for parts in chosen.values() for part in parts]
    if not all(part.is_floating_point() for part in every):
        raise UserError(
            f"{display(path)} holds whole or complex numbers, not the vectors of an embedding; use another file"
        )
    if any(part.dim() not in (1, 2) or not part.numel() or not all_finite({"": part}) for part in every):
        raise UserError(f"{path} holds no vectors that could be used; copy or download it again")
    found = {network: torch.cat([_rows(part) for part in parts]) for network, parts in chosen.items()}
    if len({len(rows) for rows in found.values()}) > 1:
        counts = " and ".join(str(len(rows)) for rows in found.values())
        raise UserError(f"{path} has {counts} vectors for its two text encoders, not as many; use another file")
    width = next(iter(found.values())).shape[1]
    if len(found) == 1 and width == SECOND_WIDTH:
        raise UserError(f"{path} has vectors for one of XL's two text encoders only; use a file with both")
    known = "sdxl" if len(found) > 1 else WIDTHS.get(width, "sd1")
    warnings = tuple(inventory.remarks(path, "tensor", "tensors"))
    return Weights("embedding", known, found, name=path.stem, warnings=warnings)


def _by_encoder(tensors: Mapping[str, Tensor], path: Path) -> dict[str, list[Tensor]]:
    """{text encoder: the tensors whose rows are its vectors}. Raises UserError if there are none, or several words."""
    for pair in PAIRS:
        if set(pair.values()) <= tensors.keys():
            return {network: [tensors[name]] for network, name in pair.items()}
    if len(tensors) == 1:
        return {"text_encoder": list(tensors.values())}
    joined = _one_token(tensors)
    if joined is not None:
        return {"text_encoder": joined}
    if not tensors or any(tensor.dim() > 2 for tensor in tensors.values()):
        raise UserError(f"{path} is not an embedding: it holds {len(tensors)} tensors, not one; use another file")
    names = ", ".join(name.removeprefix("string_to_param.") for name in sorted(tensors))
    raise UserError(
        f"{path} holds {len(tensors)} tensors that could each be an embedding ({names}), and a prompt calls a file by "
        "its name; save each in a file of its own"
    )


def _one_token(tensors: Mapping[str, Tensor]) -> list[Tensor] | None:
    """The vectors of one word as diffusers numbers its tokens, `x`, `x_1`, `x_2` and so on; None if they are others."""
    first = min(tensors, key=len, default="")
    numbered = {int(match[1]): name for name in tensors if (match := re.fullmatch(rf"{re.escape(first)}_(\d+)", name))}
    if not numbered or set(numbered) != set(range(1, len(tensors))):
        return None
    parts = [tensors[name] for name in (first, *(numbered[at] for at in sorted(numbered)))]
    if any(part.numel() != parts[0].numel() or part.dim() > 2 for part in parts):
        return None
    return parts


def _rows(tensor: Tensor) -> Tensor:
    return (tensor[None] if tensor.dim() == 1 else tensor).detach().float()


def _are_vectors(header: Header) -> bool:
    """Whether a file holds nothing but a few vectors of one width, as embeddings of several words do."""
    shapes = list(header.shapes.values())
    widths = {shape[-1] for shape in shapes if shape}
    rows = [shape[0] if len(shape) == 2 else 1 for shape in shapes]
    flat = all(1 <= len(shape) <= 2 for shape in shapes)
    pair = any(set(pair.values()) <= header.shapes.keys() for pair in PAIRS)
    return bool(shapes) and flat and (pair or len(widths) == 1) and max(rows) <= MAX_VECTORS
