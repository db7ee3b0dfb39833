"""Which programs will load a file, and what each leaves out or gets wrong, told from its names and marks alone."""

import functools
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel

from limner.base.families import UNETS
from limner.base.folder import quiet
from limner.base.identify import Identity
from limner.base.published import published
from limner.container.header import Header
from limner.formats.embedding import TENSOR
from limner.formats.embedding_readers import HALF, SINGLE_ONLY
from limner.formats.embedding_readers import READERS as EMBEDDINGS
from limner.formats.identify import BUNDLE
from limner.formats.keys import COMFY_ROOTS
from limner.formats.layers import Layout, layout_of
from limner.formats.programs import (
    APPLIES_NOTHING,
    BY_LEAF,
    CORES_UNKNOWN,
    IGNORES,
    NO_ALPHA,
    NO_CORES,
    READERS,
    REFUSES,
    REMARKS,
    STOPS,
    faults,
)
from limner.formats.readers import READERS as READ
from limner.formats.readers import SETTINGS
from limner.formats.reading import Reading, Tensors, refusal

NEW_ZIP = "refuses it as possibly malicious, for newer versions of torch write entries into it that it does not know"
NO_TEXT_MODEL = "does not find its text encoder, whose names lack `text_model`"
NEEDS_YAML = "takes it to predict the noise unless a .yaml of its name beside it says v"
NEEDS_MARK = "takes it to predict the noise, for it has no tensor v_pred"
NEEDS_CONFIG = "takes it to predict the noise unless its scheduler or a config= folder says v"
NEEDS_BASE = "takes it to predict v, as 2.1 does, unless its scheduler or a config= folder says the noise"
TWO_ENCODERS = "refuses it; each of its two tensors has to be handed to its own text encoder"
BY_TENSORS_NAME = f'calls it {TENSOR} unless another word is given, as in load_textual_inversion(..., token="...")'
ONE_TENSOR = "does not find in it the one tensor, or clip_l and clip_g, of its text encoders' widths"
BY_NODE = "opens it by its node DiffusersLoader, from its folder models/diffusers"
ONLY_FILES = "opens single files, and this is a folder"
NOT_BY_ENDING = "looks for other endings than this file's name has"
BUNDLES = {
    "Forge": "leaves out the embeddings in it",
    "stable-diffusion.cpp": "leaves out the embeddings in it",
    "diffusers": f"{REFUSES}, for there are embeddings in it",
}
FINDS_NOTHING = "finds no layer of its own under these names"
EXPLAINED = (".dora_scale", ".rescale", ".diff_b")  # leaves of which FAULTS tells
_WEBUI = (".safetensors", ".pt", ".bin")
ENDINGS = {  # by which programs look for embeddings
    "A1111": _WEBUI,
    "Forge": _WEBUI,
    "ComfyUI": _WEBUI,
    "stable-diffusion.cpp": (".gguf", ".safetensors", ".pt", ".ckpt"),
}
_NEVER = (
    REFUSES,
    APPLIES_NOTHING,
    IGNORES,
    STOPS,
    FINDS_NOTHING,
    TWO_ENCODERS,
    ONE_TENSOR,
    ONLY_FILES,
    NOT_BY_ENDING,
    NEW_ZIP,
    NO_TEXT_MODEL,
)
MOST_KNOWN = 64  # structures whose verdicts are remembered


@dataclass(frozen=True)
class Verdict:
    """loads: whether a program makes any use of a file, None if that is not known. says: what it leaves out or gets
    wrong, "" if nothing."""

    loads: bool | None
    says: str = ""


_KNOWN: dict[Any, dict[str, Verdict]] = {}


def of_adapter(
    kind: str, header: Header, tensors: Tensors, layout: Layout | None, hides_alpha: bool = False
) -> dict[str, Verdict]:
    """Of a LoRA or its kin for a base of the layout; for a base of an unknown family nothing is known.

    tensors: the file's; those that no reader looks into may be on torch's meta device. hides_alpha: whether alphas that
    are not the ranks stand in PEFT's configuration alone. Readers go by names, shapes and settings, and the answers for
    the last few structures are remembered: most files of a shelf are built alike.
    """
    if layout is None:
        return not_known()
    told = header.metadata.get(SETTINGS)
    structure = frozenset((name, shape, header.dtypes[name]) for name, shape in header.shapes.items())
    numbers = kind in ("oft", "ia3")  # whose verdicts go by single numbers too
    marks = frozenset(name for name, each in tensors.items() if numbers and not each.is_meta and bool(each.any()))
    key = (kind, layout.family, structure, marks, told, hides_alpha)
    if key not in _KNOWN:
        if len(_KNOWN) >= MOST_KNOWN:
            _KNOWN.pop(next(iter(_KNOWN)))
        _KNOWN[key] = _of_adapter(kind, header, tensors, layout, hides_alpha)
    return dict(_KNOWN[key])


def _of_adapter(kind: str, header: Header, tensors: Tensors, layout: Layout, hides_alpha: bool) -> dict[str, Verdict]:
    kinds = _kinds(kind, tensors)
    known = [faults(each, _is_by_column(header)) for each in kinds]
    bundled = [name for name in tensors if name.startswith(BUNDLE)]
    plain = {name: tensor for name, tensor in tensors.items() if name not in bundled}
    found = {}
    for reader in READERS:
        words = list(dict.fromkeys(each[reader] for each in known if reader in each))
        reading = _reading(reader, dict(tensors) if reader == "Forge" else plain, layout, header.metadata)
        if reader == "diffusers" and bundled and not reading.refused:
            found[reader] = Verdict(False, BUNDLES[reader])
        elif not reading.patches and not reading.unsure:
            found[reader] = Verdict(False, _why_not(reader, reading.refused, words))
        else:
            words = [each for each in words if each not in _NEVER and reading.patches]
            remarks = [REMARKS[each][reader] for each in kinds if reader in REMARKS.get(each, {})]
            words += remarks if reading.patches else []
            words += _left_out(reading, plain, bool(words))
            words += [BUNDLES[reader]] if bundled and reader in BUNDLES else []
            said = "; ".join(words)
            if hides_alpha and reader != "diffusers":
                said = f"{said}{NO_ALPHA}".removeprefix(", and ")
            found[reader] = Verdict(None if reading.unsure or CORES_UNKNOWN in words else True, said)
    return found


def _kinds(kind: str, tensors: Tensors) -> list[str]:
    """Which entries of FAULTS a file comes under, the most telling last."""
    ends = {end for name in tensors for end in (name.rpartition(".")[2], name.partition(".")[2])}
    found = ["biases"] if "diff_b" in ends and kind not in ("full", "norm") else []
    is_boft = kind == "oft" and any(each.dim() == 4 for name, each in tensors.items() if name.endswith(".oft_blocks"))
    found.append("old glora" if kind == "glora" and _is_old_glora(tensors) else "boft" if is_boft else kind)
    if kind == "oft" and not is_boft and any(_is_bound(name, tensor) for name, tensor in tensors.items()):
        found.append("bounded oft")
    return found + [each for leaf, each in BY_LEAF.items() if leaf in ends and each != kind]


def _is_bound(name: str, alpha: Tensor) -> bool:
    """Whether a tensor is an OFT's bound as kohya and LyCORIS mean it, by the number of outputs."""
    is_theirs = name.endswith(".alpha") and not name.startswith(COMFY_ROOTS)
    return is_theirs and not alpha.is_meta and bool((alpha > 0).any())


def _is_old_glora(tensors: Tensors) -> bool:
    """Whether each layer's first factor is (rank, in), as older versions of LyCORIS have it."""
    shapes = [tensor.shape for name, tensor in tensors.items() if name.endswith(".a1.weight")]
    return all(len(shape) > 1 and shape[0] <= shape[1] for shape in shapes)


def _why_not(reader: str, refused: bool, words: list[str]) -> str:
    """Why a program makes no use of a file."""
    if refused and reader in ("A1111", "diffusers"):
        return REFUSES
    final = [each for each in words if each == NO_CORES or (each in _NEVER and each != REFUSES)]
    return final[-1] if final else APPLIES_NOTHING if refused else FINDS_NOTHING


def _left_out(reading: Reading, tensors: Tensors, is_explained: bool) -> list[str]:
    """What a program leaves lying of a file, in words, and of what that is not known."""
    cores = {name.removesuffix("lokr_t2") for name in tensors if name.endswith(".lokr_t2")} if is_explained else set()
    lost = [
        name
        for name in reading.unmatched
        if name in tensors
        and not (is_explained and name.endswith(EXPLAINED))
        and f"{name.partition('.')[0]}." not in cores
    ]
    said = [f"leaves out {len(lost)} of {len(tensors)} tensors, such as {lost[0]}"] if lost else []
    if reading.unsure:
        count = f"{len(reading.unsure)} of {len(tensors)} tensors"
        said.append(f"may use or leave out {count}, such as {reading.unsure[0]}: that is not known")
    return said


def _reading(reader: str, tensors: Tensors, layout: Layout, metadata: Mapping[str, str]) -> Reading:
    try:
        with quiet():
            return READ[reader](tensors, layout, metadata)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RuntimeError, ArithmeticError):
        return refusal(tensors)  # of a stranger's file, which the program's own converters do not understand either


def not_known() -> dict[str, Verdict]:
    """Of a file of which nothing is known."""
    return {reader: Verdict(None) for reader in READERS}


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
    """Of an embedding of one of the published widths; of others nothing is known."""
    widths = _widths(header)
    if widths is None:
        return not_known()
    hollow = {name: torch.empty(shape, device="meta") for name, shape in header.shapes.items()}
    said = {reader: "" if read(hollow, widths) is not None else ONE_TENSOR for reader, read in EMBEDDINGS.items()}
    if {"clip_l", "clip_g"} <= header.shapes.keys():
        said["diffusers"] = TWO_ENCODERS
    elif TENSOR in header.shapes and not said["diffusers"]:
        said["diffusers"] = BY_TENSORS_NAME
    if set(header.dtypes.values()) != {torch.float32}:
        said |= {reader: HALF for reader in SINGLE_ONLY if not said[reader]}
    ending = header.path.suffix.lower()
    said |= {reader: NOT_BY_ENDING for reader, endings in ENDINGS.items() if ending not in endings}
    if is_pickle and is_new_zip(header.path):
        said["A1111"] = NEW_ZIP
    found = {reader: _verdict(words) for reader, words in said.items()}
    is_half = "clip_g" in header.shapes and "clip_l" not in header.shapes  # which ComfyUI may give to its one encoder
    return found | {"ComfyUI": Verdict(None)} if is_half else found


def _widths(header: Header) -> dict[str, int] | None:
    """{text encoder: its width} of the family whose embedding a file is; None if it is of none's width."""
    if "clip_g" in header.shapes:
        return {"text_encoder": 768, "text_encoder_2": 1280}
    width = (0, *next(iter(header.shapes.values()), ()))[-1]
    return {"text_encoder": width} if width in (768, 1024) else None


def of_checkpoint(header: Header, identity: Identity, is_pickle: bool) -> dict[str, Verdict]:
    """Of a single file of a family that all the programs know; of others nothing is known."""
    if identity.family not in ("sd1", "sd2", "sdxl") or "no text encoder" in identity.refusal:
        return not_known()
    said = dict.fromkeys(READERS, "")
    unknown = set()
    is_v = identity.prediction_type == "v_prediction"
    if identity.family == "sdxl" and is_v:
        said["diffusers"] = NEEDS_CONFIG
        unknown.add("Forge")
        if not header.path.with_suffix(".yaml").is_file():
            said["A1111"] = NEEDS_YAML
        if "v_pred" not in header.shapes:
            said |= dict.fromkeys(("ComfyUI", "stable-diffusion.cpp"), NEEDS_MARK)
    elif identity.family == "sd2" and not is_v:
        said["diffusers"] = NEEDS_BASE
    text = [name for name in header.shapes if name.startswith("cond_stage_model.transformer.")]
    if text and not any(name.startswith("cond_stage_model.transformer.text_model.") for name in text):
        said |= dict.fromkeys(("stable-diffusion.cpp", "diffusers"), NO_TEXT_MODEL)
        unknown.add("Forge")
    if is_pickle and is_new_zip(header.path):
        said["A1111"] = NEW_ZIP
    return {reader: Verdict(None) if reader in unknown else _verdict(words) for reader, words in said.items()}


def of_folder() -> dict[str, Verdict]:
    """Of a folder in diffusers' layout."""
    found = not_known()
    found |= {reader: Verdict(False, ONLY_FILES) for reader in ("A1111", "Forge")}
    return found | {"ComfyUI": Verdict(True, BY_NODE), "diffusers": Verdict(True)}


def is_new_zip(path: Path) -> bool:
    """Whether a file has the entries that torch.save writes since 2.x; of a file that was found to be torch's."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith((".format_version", ".storage_alignment")) for name in archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError):
        return False


def _verdict(said: str) -> Verdict:
    return Verdict(said not in _NEVER, said)


def _is_by_column(header: Header) -> bool:
    lengths = [shape for name, shape in header.shapes.items() if name.endswith("dora_scale")]
    return any(shape[:1] == (1,) for shape in lengths)
