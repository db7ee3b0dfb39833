"""The embedding file of the webui and kohya: one tensor `emb_params` (n, dim), called in prompts by the file's name."""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from limner.base.families import FAMILIES
from limner.base.model import BaseModel
from limner.container.header import Header, all_finite, read_header, read_tensors, serialize
from limner.errors import UserError
from limner.formats.identify import family, kind
from limner.formats.metadata import complete
from limner.formats.verify import ReaderReport
from limner.weights import Weights

WIDTHS = {768: "sd1", 1024: "sd2"}  # of the text encoder; a narrower base is of the first family
TENSOR = "emb_params"


class Embedding:
    """`.safetensors`, read in every layout that is known and written in the one that every program reads."""

    name = "embedding"

    @staticmethod
    def sniff(header: Header) -> bool:
        return kind(header) == "embedding"

    @staticmethod
    def serialize(weights: Weights, name: str, dtype: torch.dtype = torch.float16) -> bytes:
        """The file's bytes; `name` is the stem that it is saved under. Raises UserError if they do not fit."""
        if weights.kind != "embedding" or weights.family not in FAMILIES:
            raise UserError(
                f"an embedding's file holds embeddings of {', '.join(FAMILIES)}, not a {weights.family} {weights.kind}"
            )
        (vectors,) = weights.tensors.values()
        tensors = {TENSOR: vectors.detach().to("cpu", dtype)}
        if not all_finite(tensors):
            raise UserError(
                f"the embedding {name} holds numbers that {dtype} cannot; train again with a lower learning rate"
            )
        return serialize(tensors, complete(weights, FAMILIES[weights.family], name))

    @staticmethod
    def load(path: Path) -> Weights:
        """The vectors of a file. Raises UserError if it is damaged or no embedding."""
        header = read_header(path)
        weights = _of_tensors(read_tensors(path), path)
        weights.metadata = header.metadata
        weights.family = family(header)
        return weights

    @staticmethod
    def verify(path: Path, model: BaseModel, weights: Weights, name: str | None = None) -> list[ReaderReport]:
        """Read `path` as every program would, and compare. Raises UserError if any would read other vectors."""
        tensors = read_tensors(path)
        (trained,) = (vectors.detach().to("cpu", torch.float32) for vectors in weights.tensors.values())
        # relative for normal numbers, absolute below the smallest of them
        info = torch.finfo(next(iter(tensors.values())).dtype)
        allowed = info.eps / 2 * trained.abs() + info.smallest_normal * info.eps
        reports = []
        for reader, read in READERS.items():
            found = read(tensors, trained.shape[1])
            if found is None or found.shape != trained.shape or bool(((found - trained).abs() > allowed).any()):
                raise UserError(
                    f"{reader} would not read {name or path} as it was trained; save it again, and report it if this "
                    "recurs"
                )
            error = float((found - trained).norm() / trained.norm().clamp(min=info.tiny))
            reports.append(ReaderReport(reader, len(trained), (), error))
        return reports


def _of_tensors(tensors: Mapping[str, Tensor], path: Path) -> Weights:
    """The embedding in a file: `clip_l` and `clip_g`, or one tensor of any name; the webui's is `string_to_param.*`."""
    if tensors.keys() >= {"clip_l", "clip_g"}:
        found = {"text_encoder": tensors["clip_l"], "text_encoder_2": tensors["clip_g"]}
    elif len(tensors) == 1:
        found = {"text_encoder": next(iter(tensors.values()))}
    else:
        raise UserError(f"{path} is not an embedding: it holds {len(tensors)} tensors, not one; use another file")
    found = {name: (t[None] if t.dim() == 1 else t).detach().float() for name, t in found.items()}
    if any(t.dim() != 2 or not t.numel() for t in found.values()) or not all_finite(found):
        raise UserError(f"{path} holds no vectors that could be used; copy or download it again")
    known = "sdxl" if len(found) > 1 else WIDTHS.get(found["text_encoder"].shape[1], "sd1")
    return Weights("embedding", known, found, name=path.stem)


Reader = Callable[[Mapping[str, Tensor], int], Tensor | None]


def _webui(tensors: Mapping[str, Tensor], width: int) -> Tensor | None:
    """A1111 and Forge: exactly one tensor under any name, of the model's width, one vector or several."""
    if len(tensors) != 1:
        return None
    (only,) = tensors.values()
    rows = only.float().reshape(1, -1) if only.dim() == 1 else only.float()
    return rows if rows.shape[-1] == width else None


def _comfyui(tensors: Mapping[str, Tensor], width: int) -> Tensor | None:
    """ComfyUI: the tensor of its text encoder's name, else the first; flattened to rows of the encoder's width."""
    chosen = tensors.get("clip_l", next(iter(tensors.values()), None))
    return None if chosen is None or chosen.numel() % width else chosen.float().reshape(-1, width)


def _by_width(tensors: Mapping[str, Tensor], width: int) -> Tensor | None:
    """stable-diffusion.cpp: whichever tensor has the text encoder's width, the last one if several have."""
    fitting = [t.float().reshape(-1, width) for t in tensors.values() if t.shape[-1] == width]
    return fitting[-1] if fitting else None


def _diffusers(tensors: Mapping[str, Tensor], width: int) -> Tensor | None:
    """diffusers: one tensor, whose name is the token unless `token=` is given; a row a token."""
    if len(tensors) != 1:
        return None
    rows = [row.float() for row in torch.atleast_2d(*tensors.values()).unbind()]
    return torch.stack(rows) if rows[0].shape == (width,) else None


# How each program reads a safetensors embedding, as their sources have it; written apart from what is above.
READERS: dict[str, Reader] = {
    "A1111": _webui,
    "Forge": _webui,
    "ComfyUI": _comfyui,
    "stable-diffusion.cpp": _by_width,
    "diffusers": _diffusers,
}
