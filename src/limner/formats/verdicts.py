"""Which programs will load a file, and what each leaves out or gets wrong, told from its names and marks alone."""

import functools
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from limner.base.families import UNETS
from limner.base.folder import quiet
from limner.base.identify import Identity
from limner.base.published import published
from limner.container.header import Header
from limner.formats.embedding import TENSOR
from limner.formats.embedding_readers import HALF, SINGLE_ONLY
from limner.formats.identify import BUNDLE
from limner.formats.layers import Layout, layout_of
from limner.formats.programs import APPLIES_NOTHING, IGNORES, NO_ALPHA, READERS, REFUSES, faults
from limner.formats.readers import READERS as READ
from limner.formats.readers import SETTINGS
from limner.formats.reading import Tensors
from limner.formats.webuis import FORGIVEN

NEW_ZIP = "refuses it as possibly malicious, for newer versions of torch write entries into it that it does not know"
NO_TEXT_MODEL = "does not find its text encoder, whose names lack `text_model`"
NEEDS_YAML = "takes it to predict the noise unless a .yaml of its name beside it says v"
NEEDS_MARK = "takes it to predict the noise, for it has no tensor v_pred"
TWO_ENCODERS = "refuses it; each of its two tensors has to be handed to its own text encoder"
BY_TENSORS_NAME = f'calls it {TENSOR} unless another word is given, as in load_textual_inversion(..., token="...")'
ONLY_FILES = "opens single files, and this is a folder"
NOT_BY_ENDING = "looks for other endings than this file's name has"
BUNDLES = {
    "Forge": "leaves out the embeddings in it",
    "stable-diffusion.cpp": "leaves out the embeddings in it",
    "diffusers": REFUSES + ", for there are embeddings in it",
}
FINDS_NOTHING = "finds no layer of its own under these names"
OLD_ORDER = "multiplies the factors in the order of older files, so that its pictures are wrong for newer ones"
OTHERS: dict[str, dict[str, str]] = {  # which Limner reads and never writes (interop 1.4, 1.7)
    "glora": {"A1111": OLD_ORDER, "stable-diffusion.cpp": IGNORES, "diffusers": REFUSES},
    "full": {"diffusers": REFUSES},
    "norm": {"stable-diffusion.cpp": IGNORES, "diffusers": REFUSES},
}
_EMBEDDINGS_OF_CPP = (".gguf", ".safetensors", ".pt", ".ckpt")
_NEVER = (
    REFUSES,
    APPLIES_NOTHING,
    IGNORES,
    FINDS_NOTHING,
    TWO_ENCODERS,
    ONLY_FILES,
    NOT_BY_ENDING,
    NEW_ZIP,
    NO_TEXT_MODEL,
)
MOST_KNOWN = 64  # structures whose verdicts are remembered


@dataclass(frozen=True)
class Verdict:
    """loads: whether a program makes any use of a file. says: what it leaves out or gets wrong, "" if nothing."""

    loads: bool
    says: str = ""


_KNOWN: dict[Any, dict[str, Verdict]] = {}


def of_adapter(
    kind: str, header: Header, tensors: Tensors, layout: Layout | None, hides_alpha: bool = False
) -> dict[str, Verdict]:
    """Of a LoRA or its kin for a base of the layout; for a base of an unknown family nothing is claimed.

    tensors: the file's; those that no reader looks into may be on torch's meta device. hides_alpha: whether alphas that
    are not the ranks stand in PEFT's configuration alone. Readers go by names, shapes and settings, and the answers for
    the last few structures are remembered: most files of a shelf are built alike.
    """
    if layout is None:
        return {}
    told = header.metadata.get(SETTINGS)
    structure = frozenset((name, shape, header.dtypes[name]) for name, shape in header.shapes.items())
    key = (kind, layout.family, structure, told, hides_alpha)
    if key not in _KNOWN:
        if len(_KNOWN) >= MOST_KNOWN:
            _KNOWN.pop(next(iter(_KNOWN)))
        _KNOWN[key] = _of_adapter(kind, header, tensors, layout, hides_alpha)
    return dict(_KNOWN[key])


def _of_adapter(kind: str, header: Header, tensors: Tensors, layout: Layout, hides_alpha: bool) -> dict[str, Verdict]:
    known = faults(kind, _is_by_column(header)) if kind not in OTHERS else OTHERS[kind]
    bundled = [name for name in tensors if name.startswith(BUNDLE)]
    plain = {name: tensor for name, tensor in tensors.items() if not name.startswith(BUNDLE)}
    found = {}
    for reader in READERS:
        said = known.get(reader, "")
        if said not in _NEVER and kind not in OTHERS:
            read = _of_reading(reader, plain, layout, header.metadata)
            said = said if said and read not in _NEVER else read
        if bundled and reader in BUNDLES and said not in _NEVER:
            drops = reader == "Forge" and len(bundled) > FORGIVEN
            said = APPLIES_NOTHING if drops else "; ".join(filter(None, (said, BUNDLES[reader])))
        if hides_alpha and reader != "diffusers" and said not in _NEVER:
            said = f"{said}{NO_ALPHA}".removeprefix(", and ")
        found[reader] = _verdict(said)
    return found


def _of_reading(reader: str, tensors: Tensors, layout: Layout, metadata: Mapping[str, str]) -> str:
    """What a program leaves lying of a file, in words."""
    try:
        with quiet():
            reading = READ[reader](tensors, layout, metadata)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RuntimeError, ArithmeticError):
        return REFUSES  # of a stranger's file, which the program's own converters do not understand either
    if not reading.patches:
        return REFUSES if reader == "diffusers" else FINDS_NOTHING
    lost = reading.unmatched
    return f"leaves out {len(lost)} of {len(tensors)} tensors, such as {lost[0]}" if lost else ""


@functools.cache
def layout_for(family: str) -> Layout | None:
    """The layers of a family's published model, without weights; None of a family whose files Limner does not know."""
    if family not in UNETS:
        return None
    known, configs = UNETS[family], published(family)
    with torch.device("meta"):
        networks: dict[str, Any] = {"unet": UNet2DConditionModel.from_config(configs["unet"])}
        for encoder in known.encoders:
            networks[encoder.name] = CLIPTextModel(CLIPTextConfig(**configs[encoder.name]))
    return layout_of(known, networks)


def of_embedding(header: Header, is_pickle: bool) -> dict[str, Verdict]:
    said = dict.fromkeys(READERS, "")
    if {"clip_l", "clip_g"} <= header.shapes.keys():
        said["diffusers"] = TWO_ENCODERS
    elif TENSOR in header.shapes:
        said["diffusers"] = BY_TENSORS_NAME
    if header.path.suffix.lower() not in _EMBEDDINGS_OF_CPP:
        said["stable-diffusion.cpp"] = NOT_BY_ENDING
    elif set(header.dtypes.values()) != {torch.float32}:
        said |= dict.fromkeys(SINGLE_ONLY, HALF)
    if is_pickle and is_new_zip(header.path):
        said["A1111"] = NEW_ZIP
    return {reader: _verdict(words) for reader, words in said.items()}


def of_checkpoint(header: Header, identity: Identity, is_pickle: bool) -> dict[str, Verdict]:
    """Of a single file of a family that all the programs know; of others nothing is claimed."""
    if identity.family not in ("sd1", "sd2", "sdxl") or "no text encoder" in identity.refusal:
        return {}
    said = dict.fromkeys(READERS, "")
    if identity.family == "sdxl" and identity.prediction_type == "v_prediction":
        if not header.path.with_suffix(".yaml").is_file():
            said["A1111"] = NEEDS_YAML
        if "v_pred" not in header.shapes:
            said |= dict.fromkeys(("ComfyUI", "stable-diffusion.cpp"), NEEDS_MARK)
    text = [name for name in header.shapes if name.startswith("cond_stage_model.transformer.")]
    if text and not any(name.startswith("cond_stage_model.transformer.text_model.") for name in text):
        said |= dict.fromkeys(("stable-diffusion.cpp", "diffusers"), NO_TEXT_MODEL)
    if is_pickle and is_new_zip(header.path):
        said["A1111"] = NEW_ZIP
    return {reader: _verdict(words) for reader, words in said.items()}


def of_folder() -> dict[str, Verdict]:
    """Of a folder in diffusers' layout."""
    return {reader: _verdict("" if reader == "diffusers" else ONLY_FILES) for reader in READERS}


def is_new_zip(path: Path) -> bool:
    """Whether a file has the entries that torch.save writes since 2.x; of a file that was found to be torch's."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith((".format_version", ".storage_alignment")) for name in archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError):
        return False


def _verdict(said: str) -> Verdict:
    return Verdict(said not in _NEVER and not said.startswith(REFUSES), said)


def _is_by_column(header: Header) -> bool:
    lengths = [shape for name, shape in header.shapes.items() if name.endswith("dora_scale")]
    return any(shape[:1] == (1,) for shape in lengths)
