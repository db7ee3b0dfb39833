"""What a file is: kind, family, size, keyword, training record and hashes, without loading its weights."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from limner.container.header import Header, read_header, read_tensors
from limner.container.places import DTYPE_NAMES
from limner.formats.factors import spellings
from limner.formats.hashes import hash_file
from limner.formats.identify import BUNDLE, family, kind, naming
from limner.formats.metadata import run_card
from limner.formats.programs import FAULTS, faults
from limner.methods.form import form_of, forms

_PARTS = {
    "model.diffusion_model.": "unet",
    "first_stage_model.": "vae",
    "cond_stage_model.": "text_encoder",
    "conditioner.": "text_encoder",
}
_DOWN = ("lora_down.weight", "lora_A.weight", "lora.down.weight", "lora_linear_layer.down.weight")
_RANKED = dict.fromkeys((*_DOWN, "hada_w1_b", "lokr_w2_b"), 0) | {"oft_blocks": 1}  # the axis that is the rank


@dataclass(frozen=True)
class Summary:
    """A file's facts. ranks, alphas: {value: number of modules}; an OFT's rank is the size of its blocks. modules:
    {network: number of modules, or of a checkpoint's tensors}. faults: {program: what it does instead of what was
    trained} of a LoRA or its kin.

    webui_hash: what A1111 shows, which of a LoRA believes the file's own `sshs_model_hash`; hash_matches: whether that
    is true, None if the file claims none.
    """

    path: str
    size_bytes: int
    kind: str
    naming: str
    family: str
    keyword: str | None
    ranks: dict[int, int]
    alphas: dict[float, int]
    modules: dict[str, int]
    dtypes: dict[str, int]
    metadata: dict[str, str]
    run_card: dict[str, Any] | None
    sha256: str
    autov2: str
    autov3: str
    webui_hash: str
    hash_matches: bool | None
    faults: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def inspect(path: Path) -> Summary:
    """Facts about any file of tensors; UserError if it is not one or is damaged."""
    header = read_header(path)
    sort = _kind(header)
    ranks = [shape[axis] for name, shape in header.shapes.items() if (axis := _axis(name)) is not None and shape[axis:]]
    alphas = read_tensors(path, ending=".alpha")
    hashes = hash_file(path, header.data_start)
    claimed = header.metadata.get("sshs_model_hash")
    return Summary(
        path=str(path),
        size_bytes=path.stat().st_size,
        kind=sort,
        naming=naming(header),
        family=family(header),
        keyword=header.metadata.get("modelspec.trigger_phrase"),
        ranks=dict(Counter(ranks)),
        alphas=dict(Counter(round(float(alpha), 6) for alpha in alphas.values() if alpha.numel() == 1)),
        modules=dict(Counter(_network(module) for module in _modules(header)) or _parts(header.shapes)),
        dtypes=dict(Counter(DTYPE_NAMES[dtype] for dtype in header.dtypes.values())),
        metadata=dict(sorted(header.metadata.items())),
        run_card=run_card(header.metadata),
        sha256=hashes.sha256,
        autov2=hashes.autov2,
        autov3=hashes.autov3,
        webui_hash=hashes.autov2 if kind(header) == "checkpoint" else (claimed or hashes.tensors)[:12],
        hash_matches=None if claimed is None else claimed == hashes.tensors,
        faults=faults(sort, _is_by_column(header)) if _is_kin(header, sort) else {},
    )


def _parts(names: Iterable[str]) -> Counter[str]:
    """How many of a checkpoint's tensors each network has."""
    found = (part for name in names for prefix, part in _PARTS.items() if name.startswith(prefix))
    return Counter(found)


def _is_kin(header: Header, sort: str) -> bool:
    """Whether a file is of the LoRA family, in the names that the webuis read."""
    return naming(header) == "kohya" and (sort in FAULTS or sort in forms())


def _is_by_column(header: Header) -> bool:
    lengths = [shape for name, shape in header.shapes.items() if name.endswith("dora_scale")]
    return any(shape[:1] == (1,) for shape in lengths)


def _axis(name: str) -> int | None:
    return next((axis for leaf, axis in _RANKED.items() if name.endswith(leaf)), None)


def _modules(header: Header) -> list[str]:
    """The layers that a LoRA or its kin is for."""
    if naming(header) == "kohya":
        return sorted({name.partition(".")[0] for name in header.shapes if not name.startswith(BUNDLE)})
    return [name for name in header.shapes if name.endswith(_DOWN)]


def _kind(header: Header) -> str:
    """Its kind, of which those from outside of Limner are known by their leaves."""
    known = kind(header)
    if known != "unknown" or naming(header) != "kohya":
        return known
    spelled, first = spellings(), _modules(header)[0]
    leaves = [spelled.get(name.partition(".")[2], "") for name in header.shapes if name.startswith(f"{first}.")]
    form = form_of(leaves)
    return known if form is None else form.name


def _network(name: str) -> str:
    prefixes = {"lora_te2_": "text_encoder_2", "text_encoder_2.": "text_encoder_2", "lora_te": "text_encoder"}
    prefixes |= {"text_encoder.": "text_encoder", "lora_unet_": "unet", "unet.": "unet"}
    return next((network for prefix, network in prefixes.items() if name.startswith(prefix)), "other")
