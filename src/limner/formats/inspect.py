"""What a file of tensors is: kind, family, rank by block, keyword, training record, hashes, and which programs load it.

Nothing in a file is run, and of its tensors only single numbers are read, but for the hashes, which read its bytes.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limner.base import single
from limner.base.identify import Identity
from limner.base.original import VAE, places, with_wrapper
from limner.base.weight_reader import not_finite, open_weights
from limner.container import open_tensors
from limner.container.hashes import Hashes, hash_file
from limner.container.header import Header, all_finite
from limner.container.places import DTYPE_NAMES
from limner.errors import UserError
from limner.formats import verdicts
from limner.formats.adapter import of_tensors
from limner.formats.blocks import Block, blocks_of, counted, layers_of, network_of
from limner.formats.embedding import Embedding
from limner.formats.factors import spellings
from limner.formats.identify import ADAPTERS, BUNDLE, judge_family, kind, naming
from limner.formats.metadata import run_card
from limner.formats.verdicts import Verdict
from limner.inventory import named
from limner.methods.form import form_of, forms

_PARTS = {
    "model.diffusion_model.": "unet",
    "model_ema.": "running average of the unet",
    "first_stage_model.": "vae",
    "cond_stage_model.": "text_encoder",
    "conditioner.embedders.0.": "text_encoder",
    "conditioner.embedders.1.": "text_encoder_2",
}
_SETTINGS = "lora_adapter_metadata"  # PEFT's configuration, a JSON text, keys prefixed by the network
_MOST_TAGS = 10
_MOST_ALPHA = 1e9  # of what is taken for one
_MOST_OF_EMBEDDING = 2**22  # numbers of a file that is read whole to say what of it is not used
_SMALL = 16  # numbers in a tensor that is read to tell what a file is


@dataclass(frozen=True)
class Summary:
    """A file's facts.

    container: "safetensors" or "pickle". reasons: how the family is known. method: what made it, as the file says.
    ranks, alphas: {value: number of layers}; an OFT's rank is the size of its blocks. blocks: the same by part of the
    network. modules: {network: number of layers, or of a checkpoint's tensors}. vectors: of an embedding, {tensor: how
    many vectors}. words: names of the embeddings that a LoRA's file brings along. prediction_type: None of anything but
    a checkpoint. refusal: why Limner does not open it, "" if it does. warnings: what of it is not used, and what it
    says of itself that is not so. tags: the commonest of its captions.

    webui_hash: what A1111 shows, which of a LoRA believes the file's own `sshs_model_hash`; hash_matches: whether that
    is true, and modelspec_matches whether its modelspec.hash_sha256 is; None if the file claims none.
    """

    path: str
    size_bytes: int
    container: str
    kind: str
    naming: str
    family: str
    reasons: tuple[str, ...]
    method: str | None
    keyword: str | None
    ranks: dict[int, int]
    alphas: dict[float, int]
    blocks: dict[str, Block]
    modules: dict[str, int]
    vectors: dict[str, int]
    words: tuple[str, ...]
    dtypes: dict[str, int]
    prediction_type: str | None
    refusal: str
    warnings: tuple[str, ...]
    tags: tuple[str, ...]
    metadata: dict[str, str]
    extras: dict[str, Any]
    run_card: dict[str, Any] | None
    sha256: str
    autov1: str
    autov2: str
    autov3: str
    webui_hash: str
    hash_matches: bool | None
    modelspec_hash: str | None
    modelspec_matches: bool | None
    programs: dict[str, Verdict]

    @property
    def faults(self) -> dict[str, str]:
        """{program: what it leaves out or gets wrong}, of those that do."""
        return {program: verdict.says for program, verdict in self.programs.items() if verdict.says}

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def inspect(path: Path, hashed: bool = True) -> Summary:
    """Facts about any file of tensors; UserError if it is not one or is damaged.

    hashed: whether to read all of it for its hashes, which are "" or None otherwise.
    """
    with open_tensors(path) as file:
        small = {name: file.get(name) for name, shape in file.shapes.items() if _is_small(name, shape)}
        header: Header = file
        sort = _kind(header)
        is_adapter = sort in ADAPTERS or sort in forms()
        refusal, warnings = _reading(header, small, sort) if is_adapter or sort == "embedding" else ("", ())
        if hashed and not refusal and (is_adapter or sort == "embedding"):
            spoilt = next((name for name in file.shapes if not all_finite({name: file.get(name)})), None)
            refusal = "" if spoilt is None else f"{spoilt} holds numbers that are not finite (NaN or infinity)"
    judged = judge_family(header)
    identity = single.identify_file(path) if sort == "checkpoint" else None
    if identity:
        refusal, warnings = identity.refusal, identity.warnings
        if hashed and not refusal:
            warnings = (*warnings, *_about_weights(path, identity))
    alphas = _alphas(header, small) if is_adapter else {}
    blocks = blocks_of(header, alphas) if is_adapter else {}
    hashes = hash_file(path, header.data_start) if hashed else Hashes("", "", "")
    claimed = header.metadata.get("sshs_model_hash")
    spec = header.metadata.get("modelspec.hash_sha256")
    card = run_card(header.metadata)
    return Summary(
        path=str(path),
        size_bytes=path.stat().st_size,
        container="safetensors" if header.data_start else "pickle",
        kind=sort,
        naming=naming(header),
        family=judged.family if identity is None else identity.family,
        reasons=judged.reasons if identity is None else identity.reasons,
        method=_method(header.metadata, card),
        keyword=_keyword(header, sort, card),
        ranks=_summed(block.ranks for block in blocks.values()),
        alphas=_summed(block.alphas for block in blocks.values()),
        blocks=blocks,
        modules=counted(map(network_of, layers_of(header))) if is_adapter else _parts(header.shapes),
        vectors=_vectors(header) if sort == "embedding" else {},
        words=tuple(sorted({name.split(".")[1] for name in header.shapes if name.startswith(BUNDLE)})),
        dtypes=counted(DTYPE_NAMES[dtype] for dtype in header.dtypes.values()),
        prediction_type=identity.prediction_type if identity else None,
        refusal=refusal,
        warnings=warnings or judged.doubts,
        tags=_tags(header.metadata),
        metadata=dict(sorted(header.metadata.items())),
        extras=header.extras,
        run_card=card,
        sha256=hashes.sha256,
        autov1=hashes.autov1,
        autov2=hashes.autov2,
        autov3=hashes.autov3,
        webui_hash=_webui_hash(sort, hashes.sha256, claimed or hashes.tensors),
        hash_matches=None if claimed is None or not hashed else claimed.removeprefix("0x") == hashes.tensors,
        modelspec_hash=spec,
        modelspec_matches=None if spec is None or not hashed else spec.lower().removeprefix("0x") == hashes.tensors,
        programs=_programs(header, sort, judged.family, identity, small, _hides_alpha(header, blocks)),
    )


def _about_weights(path: Path, identity: Identity) -> list[str]:
    """What is wrong with a checkpoint's tensors, and which of them are not used; reads all of them."""
    try:
        configs = single.read_configs(path, identity)
    except UserError as error:
        return [str(error)]
    names = [name for part in single.networks_of(configs) for name in single.names_of(part, configs)]
    found = []
    with open_weights(path) as file:
        if lost := not_finite(file):
            found.append(f"{len(lost)} of its tensors hold numbers that are not finite (NaN): {named(lost)}")
        there = {with_wrapper(key) for key in file.shapes}
        has_vae = any(key.startswith(VAE) for key in there)
        missing = [key for key in places(names, configs) if key not in there and (has_vae or not key.startswith(VAE))]
        if missing:
            found.append(
                f"it lacks {len(missing)} of its networks' tensors, so that it cannot be opened: {named(missing)}"
            )
        return found + single.inventory(file, configs, names).remarks(path.name, "tensor", "tensors")


def _is_small(name: str, shape: tuple[int, ...]) -> bool:
    return name.endswith((".alpha", ".scale", "on_input", "scaled_oft")) and math.prod(shape) <= _SMALL


def _reading(header: Header, small: Mapping[str, Tensor], sort: str) -> tuple[str, tuple[str, ...]]:
    """Why an adapter's or an embedding's file is refused, "" if it is not, and the warnings with which it is read."""
    shapes, dtypes = header.shapes, header.dtypes
    try:
        if sort == "embedding":
            is_small = sum(math.prod(shape) for shape in shapes.values()) <= _MOST_OF_EMBEDDING
            return "", Embedding.load(header.path).warnings if is_small else ()
        hollow = {name: torch.empty(shapes[name], dtype=dtypes[name], device="meta") for name in shapes}
        return "", of_tensors(header, {**hollow, **small}).warnings
    except UserError as error:
        return str(error), ()


def _kind(header: Header) -> str:
    """Its kind, of which those from outside of Limner are known by their leaves."""
    known = kind(header)
    if known != "unknown" or naming(header) != "kohya":
        return known
    spelled = spellings()
    first = next(iter(layers_of(header).values()), [])
    form = form_of([spelled.get(name.partition(".")[2], "") for name in first])
    return known if form is None else form.name


def _alphas(header: Header, small: Mapping[str, Tensor]) -> dict[str, float]:
    """{layer: alpha}: tensors of that name, or what PEFT's configuration says of a network."""
    found = {
        name.removesuffix(".alpha"): round(float(tensor), 6)
        for name, tensor in small.items()
        if name.endswith(".alpha") and tensor.numel() == 1 and not tensor.is_complex() and math.isfinite(float(tensor))
    }
    settings = _json(header.metadata.get(_SETTINGS, ""))
    for layer in layers_of(header) if settings else ():
        alpha = settings.get(f"{network_of(layer)}.lora_alpha")
        if isinstance(alpha, int | float) and not isinstance(alpha, bool) and abs(alpha) < _MOST_ALPHA:
            found.setdefault(layer, float(alpha))
    return found


def _summed(counts: Iterable[Mapping[Any, int]]) -> dict[Any, int]:
    total: dict[Any, int] = {}
    for each in counts:
        for value, count in each.items():
            total[value] = total.get(value, 0) + count
    return dict(sorted(total.items(), key=lambda item: -item[1]))


def _parts(names: Iterable[str]) -> dict[str, int]:
    """How many of a checkpoint's tensors each network has."""
    return counted(part for name in names for prefix, part in _PARTS.items() if name.startswith(prefix))


def _vectors(header: Header) -> dict[str, int]:
    return {name: shape[0] if len(shape) > 1 else 1 for name, shape in header.shapes.items() if shape}


def _method(metadata: Mapping[str, str], card: Mapping[str, Any] | None) -> str | None:
    """What the run card says, or sd-scripts' words for it."""
    settings = (card or {}).get("settings")
    if isinstance(settings, dict) and isinstance(settings.get("method"), str):
        return settings["method"]
    module = metadata.get("ss_network_module")
    algorithm = _json(metadata.get("ss_network_args", "")).get("algo")
    return f"{module}, {algorithm}" if module and algorithm else module


def _keyword(header: Header, sort: str, card: Mapping[str, Any] | None) -> str | None:
    """By what a prompt calls it, as far as the file says it: an embedding goes by its file's name."""
    settings = (card or {}).get("settings")
    told = header.metadata.get("modelspec.trigger_phrase")
    if told is None and isinstance(settings, dict):
        told = settings.get("keyword")
    return (told if isinstance(told, str) else None) or (header.path.stem if sort == "embedding" else None)


def _tags(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """The commonest words of its captions, which sd-scripts counts by folder."""
    counts: dict[str, int] = {}
    for folder in _json(metadata.get("ss_tag_frequency", "")).values():
        for tag, count in folder.items() if isinstance(folder, dict) else ():
            counts[tag] = counts.get(tag, 0) + (count if isinstance(count, int) else 0)
    return tuple(sorted(counts, key=lambda tag: -counts[tag])[:_MOST_TAGS])


def _json(text: str) -> dict[str, Any]:
    """A stranger's JSON as a table; an empty one for whatever is none."""
    try:
        held = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    return held if isinstance(held, dict) else {}


def _webui_hash(sort: str, whole: str, tensors: str) -> str:
    if sort in ("checkpoint", "vae"):
        return whole[:10]
    return (whole if sort == "embedding" else tensors or whole)[:12]


def _programs(
    header: Header,
    sort: str,
    family: str,
    identity: Identity | None,
    small: Mapping[str, Tensor],
    hides_alpha: bool,
) -> dict[str, Verdict]:
    is_pickle = not header.data_start
    if identity is not None:
        return verdicts.of_checkpoint(header, identity, is_pickle)
    if sort == "embedding":
        return verdicts.of_embedding(header, is_pickle)
    if sort not in ADAPTERS and sort not in forms():
        return verdicts.not_known()
    empty = {name: small.get(name, torch.empty(shape, device="meta")) for name, shape in header.shapes.items()}
    return verdicts.of_adapter(sort, header, empty, verdicts.layout_for(family), hides_alpha)


def _hides_alpha(header: Header, blocks: Mapping[str, Block]) -> bool:
    """Whether only PEFT's configuration says an alpha, and it is not the rank."""
    if _SETTINGS not in header.metadata or any(name.endswith(".alpha") for name in header.shapes):
        return False
    return any(block.alphas and block.alphas.keys() != block.ranks.keys() for block in blocks.values())
