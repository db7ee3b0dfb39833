"""What a file is: kind, family, size, keyword, training record and hashes, without loading its weights."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from limner.formats.hashes import hash_file
from limner.formats.header import read_header, read_tensors
from limner.formats.identify import family, kind, naming
from limner.formats.metadata import run_card

_PARTS = {
    "model.diffusion_model.": "unet",
    "first_stage_model.": "vae",
    "cond_stage_model.": "text_encoder",
    "conditioner.": "text_encoder",
}
_DOWN = ("lora_down.weight", "lora_A.weight", "lora.down.weight", "lora_linear_layer.down.weight")


@dataclass(frozen=True)
class Summary:
    """A file's facts. ranks, alphas: {value: number of modules}. modules: {network: number of modules, or of a
    checkpoint's tensors}.

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

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def inspect(path: Path) -> Summary:
    """Facts about any safetensors file; UserError if it is not one or is damaged."""
    header = read_header(path)
    downs = {name: shape for name, shape in header.shapes.items() if name.endswith(_DOWN)}
    alphas = read_tensors(path, header, ending=".alpha")
    hashes = hash_file(path, header.data_start)
    claimed = header.metadata.get("sshs_model_hash")
    return Summary(
        path=str(path),
        size_bytes=path.stat().st_size,
        kind=kind(header),
        naming=naming(header),
        family=family(header),
        keyword=header.metadata.get("modelspec.trigger_phrase"),
        ranks=dict(Counter(shape[0] for shape in downs.values() if shape)),
        alphas=dict(Counter(round(float(alpha), 6) for alpha in alphas.values() if alpha.numel() == 1)),
        modules=dict(Counter(map(_network, downs)) or _parts(header.shapes)),
        dtypes=dict(Counter(header.dtypes.values())),
        metadata=dict(sorted(header.metadata.items())),
        run_card=run_card(header.metadata),
        sha256=hashes.sha256,
        autov2=hashes.autov2,
        autov3=hashes.autov3,
        webui_hash=hashes.autov2 if kind(header) == "checkpoint" else (claimed or hashes.tensors)[:12],
        hash_matches=None if claimed is None else claimed == hashes.tensors,
    )


def _parts(names: Iterable[str]) -> Counter[str]:
    """How many of a checkpoint's tensors each network has."""
    found = (part for name in names for prefix, part in _PARTS.items() if name.startswith(prefix))
    return Counter(found)


def _network(name: str) -> str:
    prefixes = {"lora_te2_": "text_encoder_2", "text_encoder_2.": "text_encoder_2", "lora_te": "text_encoder"}
    prefixes |= {"text_encoder.": "text_encoder", "lora_unet_": "unet", "unet.": "unet"}
    return next((network for prefix, network in prefixes.items() if name.startswith(prefix)), "other")
