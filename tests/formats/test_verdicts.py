"""What `inspect` says each program does with a file: a row a kind of file, each with where that is known from.

Sources, facts only:
  A    AUTOMATIC1111's webui: extensions-builtin/Lora, networks.py and network_*.py; read in copies before 1.10.1 and in
       forks, and as known of 1.10.1 (July 2024) without that version at hand
  F    Forge, June 2025: packages_3rdparty/comfyui_lora_collection/lora.py, backend/patcher/lora.py
  C    ComfyUI, October 2025 and later: comfy/lora.py, comfy/weight_adapter/lokr.py, oft.py and base.py
  C245 ComfyUI's issue 11245 (December 2025), and torch.kron itself, below
  S    stable-diffusion.cpp, 2026: src/model/adapter/lora.hpp, and the table of suffixes in its name conversion
  D    diffusers 0.42, whose own converters run here
  T    tests/formats/test_stable_diffusion_cpp.py, which runs the program
Where none of these says it, the row says None: not known.
"""

import inspect as python
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from diffusers.loaders import single_file, single_file_utils
from safetensors.torch import save_file
from torch import Tensor

from limner.cli import main
from limner.formats import inspect, verdicts
from limner.formats.embedding_readers import HALF
from limner.formats.programs import (
    APPLIES_NOTHING,
    AUTOCAST,
    CORES_UNKNOWN,
    FAULTS,
    IGNORES,
    NO_ALPHA,
    NO_BIASES,
    NO_CORES,
    NO_LENGTHS,
    NO_RESCALING,
    OLD_LENGTHS,
    OLD_ORDER,
    OTHER_BOUND,
    READERS,
    REFUSES,
    REMARKS,
    SQUARES,
    STOPS,
    WRONG_AXIS,
)
from limner.formats.verdicts import (
    BUNDLES,
    BY_NODE,
    BY_TENSORS_NAME,
    FINDS_NOTHING,
    NEEDS_BASE,
    NEEDS_CONFIG,
    NEEDS_MARK,
    NEEDS_YAML,
    NEW_ZIP,
    NO_TEXT_MODEL,
    NOT_BY_ENDING,
    ONE_TENSOR,
    ONLY_FILES,
    TWO_ENCODERS,
    Verdict,
)

Tensors = dict[str, Tensor]
Row = tuple[Tensors, tuple[Verdict | str | None, ...]]  # of A1111, Forge, ComfyUI, stable-diffusion.cpp, diffusers
YES, NOT_KNOWN = Verdict(True), Verdict(None)

PLACE = "mid_block.attentions.0.transformer_blocks.0.attn2.to_k"  # (1280, 768) in SD 1.x
LDM = "middle_block.1.transformer_blocks.0.attn2.to_k"
CONV, NORM = "mid_block.resnets.0.conv1", "mid_block.attentions.0.norm"
TEXT = "text_model.encoder.layers.0.mlp.fc1"  # (3072, 768)


def kohya(path: str, prefix: str = "lora_unet") -> str:
    return f"{prefix}_{path.replace('.', '_')}"


KEY, CONV_KEY, NORM_KEY = kohya(PLACE), kohya(CONV), kohya(NORM)


def leaves(layer: str, **shapes: tuple[int, ...]) -> Tensors:
    """Leaves of a layer, `__` for a dot: alpha is a number and not a shape."""
    return {f"{layer}.{leaf.replace('__', '.')}": torch.ones(shape) for leaf, shape in shapes.items()}


def lora(layer: str, outputs: int = 1280, inputs: int = 768) -> Tensors:
    return leaves(layer, lora_up__weight=(outputs, 4), lora_down__weight=(4, inputs), alpha=())


def peft(layer: str) -> Tensors:
    return leaves(layer, lora_A__weight=(4, 768), lora_B__weight=(1280, 4))


def lokr(layer: str) -> Tensors:
    return leaves(layer, lokr_w1=(8, 8), lokr_w2=(160, 96), alpha=())


LOHA = leaves(KEY, hada_w1_a=(1280, 4), hada_w1_b=(4, 768), hada_w2_a=(1280, 4), hada_w2_b=(4, 768), alpha=())
TUCKER = leaves(CONV_KEY, lokr_w1=(8, 8), lokr_w2_a=(4, 160), lokr_w2_b=(4, 160), lokr_t2=(4, 4, 3, 3))
UP = {"lora_up__weight": (1280, 4, 1, 1)}
CORE = leaves(CONV_KEY, **UP, lora_down__weight=(4, 1280, 1, 1), lora_mid__weight=(4, 4, 3, 3))
OFT = leaves(KEY, oft_blocks=(80, 16, 16)) | {f"{KEY}.alpha": torch.tensor(0.0)}
BOUND = {f"{KEY}.alpha": torch.tensor(0.001)}
IA3 = {f"{KEY}.weight": torch.ones(1280), f"{KEY}.on_input": torch.tensor(False)}
OLD = leaves(KEY, a1__weight=(4, 768), a2__weight=(768, 4), b1__weight=(4, 768), b2__weight=(1280, 4), alpha=())
NEW = leaves(KEY, a1__weight=(768, 4), a2__weight=(4, 768), b1__weight=(1280, 4), b2__weight=(4, 768), alpha=())
WORD = {"bundle_emb.zqvx.string_to_param.*": torch.ones(1, 768)}
ROWS = leaves(KEY, dora_scale=(1280, 1))
BIAS = {f"{KEY}.diff_b": torch.ones(1280)}


def lost(count: int, of: int, name: str) -> str:
    return f"leaves out {count} of {of} tensors, such as {name}"


def unsure(count: int, of: int, name: str) -> Verdict:
    return Verdict(None, f"may use or leave out {count} of {of} tensors, such as {name}: that is not known")


ALL = (YES,) * 5
NO, NOTHING, UNREAD, FOUND_NONE = (Verdict(False, says) for says in (REFUSES, APPLIES_NOTHING, IGNORES, FINDS_NOTHING))
ADAPTERS: dict[str, Row] = {
    # interop 1.7; A, F, C, S, D: the plain case
    "lora": (lora(KEY), ALL),
    # D passes on the UNet's configuration, by which the original's blocks are known, for XL alone
    "lora, the original's blocks": (lora(kohya(LDM)), (YES, YES, YES, YES, NO)),
    "lora of a convolution": (leaves(CONV_KEY, **UP, lora_down__weight=(4, 1280, 3, 3)), ALL),
    # interop 1.6, C: lycoris_ is in ComfyUI's table and Forge's; A knows no such prefix, D wants its own
    "lora, lycoris_": (lora(kohya(PLACE, "lycoris")), (FOUND_NONE, YES, YES, YES, NO)),
    # A: a name up to its first dot is the UNet itself, whose leaves are of no kind: it raises, and skips the file
    "lora, ComfyUI's names": (lora(f"diffusion_model.{LDM}"), (NO, YES, YES, YES, NO)),
    # C: text_encoders. and any weight's own name; not in F's table; nobody has followed it through S
    "text encoder, ComfyUI's names": (
        lora(f"text_encoders.clip_l.transformer.{TEXT}", 3072),
        (FOUND_NONE, FOUND_NONE, YES, unsure(3, 3, f"text_encoders.clip_l.transformer.{TEXT}.alpha"), NO),
    ),
    # interop 1.6 (ComfyUI's 9753, 1144), S, D
    "lora, PEFT's names": (peft(f"unet.{PLACE}"), (FOUND_NONE, FOUND_NONE, FOUND_NONE, YES, YES)),
    # interop 1.2 and A, S: `scale` takes alpha's place; F, C do not look for it; D renames no such key
    "lora with a scale": (
        lora(KEY) | {f"{KEY}.scale": torch.tensor(1.0)},
        (YES, lost(1, 4, f"{KEY}.scale"), lost(1, 4, f"{KEY}.scale"), YES, NO),
    ),
    # A: alpha, dora_scale and the factors are all that a LoRA uses; F, C: diff_b is a patch of its own; S: .bias.diff
    "lora with biases": (lora(KEY) | BIAS, (NO_BIASES, YES, YES, YES, NO)),
    "loha with biases": (LOHA | BIAS, (NO_BIASES, YES, YES, YES, NO)),
    "lokr with biases": (lokr(KEY) | BIAS, (NO_BIASES, YES, YES, YES, NO)),
    "oft with biases": (
        OFT | BIAS,
        (
            f"{NO_BIASES}; {AUTOCAST}",
            lost(1, 3, f"{KEY}.oft_blocks"),
            SQUARES,
            lost(1, 3, f"{KEY}.oft_blocks"),
            NO,
        ),
    ),
    # interop 1.7
    "loha": (LOHA, (YES, YES, YES, YES, NO)),
    "lokr": (lokr(KEY), (YES, YES, YES, YES, NO)),
    "lora with a core": (CORE, (YES, YES, YES, YES, NO)),
    # C245: torch.kron refuses what einsum left; ComfyUI logs it and goes on, Forge raises; S: reads no lokr_t2
    "lokr with cores": (TUCKER | lokr(KEY), (YES, Verdict(False, STOPS), NO_CORES, Verdict(None, CORES_UNKNOWN), NO)),
    "lokr with cores alone": (
        TUCKER, (YES, Verdict(False, STOPS), Verdict(False, NO_CORES), Verdict(None, CORES_UNKNOWN), NO),
    ),
    # A: finalize_updown by columns; F, C: by the old rows (weight_decompose); S: dora_scale ignored; D: dropped
    "dora": (lora(KEY) | ROWS, (WRONG_AXIS, OLD_LENGTHS, OLD_LENGTHS, NO_LENGTHS, NO_LENGTHS)),
    "dora by column": (lora(KEY) | leaves(KEY, dora_scale=(1, 768)), (YES, YES, YES, NO_LENGTHS, NO_LENGTHS)),
    "dora of a loha": (LOHA | ROWS, (WRONG_AXIS, OLD_LENGTHS, OLD_LENGTHS, NO_LENGTHS, NO)),
    # nobody is known to train it
    "oft with lengths": (
        OFT | ROWS,
        (unsure(3, 3, f"{KEY}.alpha"), FOUND_NONE, unsure(3, 3, f"{KEY}.alpha"), FOUND_NONE, NO),
    ),
    # A: R is single precision, the weight may be half (einsum); C: calculate_weight has the strength twice; T: S
    "oft": (OFT, (AUTOCAST, NOTHING, SQUARES, UNREAD, NO)),
    # C: q_norm > alpha, without the outputs' number; rescale is read, cast, and not used
    "oft with a bound": (OFT | BOUND, (AUTOCAST, NOTHING, f"{OTHER_BOUND}; {SQUARES}", UNREAD, NO)),
    "oft with rescaling": (
        OFT | leaves(KEY, rescale=(1280, 1)), (AUTOCAST, NOTHING, f"{NO_RESCALING}; {SQUARES}", UNREAD, NO),
    ),
    # A: oft_unet_ is replaced by diffusion_model_, so that the original's blocks are found; C and F have no such prefix
    "oft, kohya's own names": (
        leaves(kohya(LDM, "oft_unet"), oft_blocks=(80, 16, 16), alpha=()), (AUTOCAST, NOTHING, FOUND_NONE, UNREAD, NO),
    ),
    # A's bound is by outputs, C's own file's is the bound; the A1111 row as of every name with diffusion_model.
    "oft, ComfyUI's names": (
        leaves(f"diffusion_model.{LDM}", oft_blocks=(80, 16, 16), alpha=()), (NO, NOTHING, SQUARES, UNREAD, NO),
    ),
    # interop 1.6: BOFT in ComfyUI. Of A it is not known
    "boft": (
        leaves(KEY, oft_blocks=(2, 80, 16, 16)) | {f"{KEY}.alpha": torch.tensor(0.0)},
        (unsure(2, 2, f"{KEY}.alpha"), NOTHING, YES, UNREAD, NO),
    ),
    "oft, LyCORIS's older leaf": (
        leaves(KEY, oft_diag=(80, 16, 16)), (unsure(1, 1, f"{KEY}.oft_diag"), NOTHING, FOUND_NONE, UNREAD, NO),
    ),
    # none of them has a leaf oft_R; A raises at a layer that it knows with leaves that it does not
    "OneTrainer's oft": (leaves(KEY, oft_R__weight=(80, 120)), (NO, NOTHING, FOUND_NONE, UNREAD, NO)),
    "PEFT's oft": (
        leaves(f"base_model.model.{PLACE}", oft_R__weight=(80, 120)), (FOUND_NONE, NOTHING, FOUND_NONE, UNREAD, NO),
    ),
    # interop 1.7 (ComfyUI's 6397)
    "ia3": (IA3, (YES, NOTHING, UNREAD, UNREAD, NO)),
    # A: numbers of outputs become a column, which of (out, in, 3, 3) is not the outputs'; the layer stays as it was
    "ia3 of a convolution's outputs": (
        {f"{CONV_KEY}.weight": torch.ones(1, 1280, 1, 1), f"{CONV_KEY}.on_input": torch.tensor(False)} | IA3,
        (lost(2, 4, f"{CONV_KEY}.on_input"), NOTHING, UNREAD, UNREAD, NO),
    ),
    # interop 1.4, 1.7: A has the older order; F, C tell them apart by shape
    "glora": (NEW, (OLD_ORDER, YES, YES, UNREAD, NO)),
    "glora of older versions": (OLD, (YES, YES, YES, UNREAD, NO)),
    # A: network_full (diff and diff_b); S: raw diffs
    "full": (leaves(KEY, diff=(1280, 768), diff_b=(1280,)), (YES, YES, YES, YES, NO)),
    "full, lycoris_": (leaves(kohya(PLACE, "lycoris"), diff=(1280, 768)), (FOUND_NONE, YES, YES, YES, NO)),
    "full, ComfyUI's names": (leaves(f"diffusion_model.{LDM}", diff=(1280, 768)), (NO, YES, YES, YES, NO)),
    # A: no kind takes a bias alone
    "biases alone": (BIAS, (NO, YES, YES, YES, NO)),
    # A patches GroupNorm and LayerNorm too; S: over all of a model's tensors, but its names of norms nobody followed
    "full, of a normalisation": (
        leaves(NORM_KEY, diff=(1280,)), (YES, YES, YES, unsure(1, 1, f"{NORM_KEY}.diff"), NO),
    ),
    # A: network_norm wants both; F, C: w_norm, and b_norm beside it
    "norm": (leaves(NORM_KEY, w_norm=(1280,), b_norm=(1280,)), (YES, YES, YES, UNREAD, NO)),
    "norm without a bias": (leaves(NORM_KEY, w_norm=(1280,)), (NO, YES, YES, UNREAD, NO)),
    # what lies beside layers that are used
    "a name of no layer": (
        lora(KEY) | {"lora_unet_nowhere.lora_up.weight": torch.ones(4, 4)},
        (*(lost(1, 4, "lora_unet_nowhere.lora_up.weight"),) * 4, NO),
    ),
    # interop 1.7, bundle_emb; BUNDLES
    "an embedding inside": (
        lora(KEY) | WORD,
        (YES, BUNDLES["Forge"], YES, BUNDLES["stable-diffusion.cpp"], Verdict(False, BUNDLES["diffusers"])),
    ),
    "many embeddings inside": (
        lora(KEY) | {f"bundle_emb.w{number}.string_to_param.*": torch.ones(1, 768) for number in range(13)},
        (YES, NOTHING, YES, BUNDLES["stable-diffusion.cpp"], Verdict(False, BUNDLES["diffusers"])),
    ),
    # no layer list of these families is known here
    "another family's": (peft("transformer.single_transformer_blocks.0.attn.to_q"), (None,) * 5),
}  # fmt: skip


def told(path: Path, tensors: Tensors, **metadata: str) -> dict[str, Verdict]:
    save_file({name: tensor.clone() for name, tensor in tensors.items()}, path, metadata)
    return inspect(path, hashed=False).programs


def row(*cells: Verdict | str | None) -> dict[str, Verdict]:
    """None is not known, and words are what a program does wrongly that loads it."""
    return {
        reader: NOT_KNOWN if cell is None else Verdict(True, cell) if isinstance(cell, str) else cell
        for reader, cell in zip(READERS, cells, strict=True)
    }


@pytest.mark.parametrize("sort", ADAPTERS)
def test_adapters(tmp_path: Path, sort: str) -> None:
    tensors, cells = ADAPTERS[sort]
    assert told(tmp_path / "x.safetensors", tensors) == row(*cells)


def test_openclip_attention(tmp_path: Path) -> None:
    """interop 1.6: A1111 needs q, k, v and out; so (IA)^3, which has numbers of k and v, loses them in 2.x and XL."""
    path = "lora_te_text_model_encoder_layers_0"
    numbers = {f"{path}_self_attn_{part}_proj.weight": torch.ones(1024) for part in "kv"}
    numbers |= {f"{path}_mlp_fc2.weight": torch.ones(4096)}
    sides = {name.replace(".weight", ".on_input"): torch.tensor("fc2" in name) for name in numbers}
    found = told(tmp_path / "x.safetensors", numbers | sides, ss_v2="True")["A1111"]
    assert (found.loads, found.says.startswith("leaves out 4 of 6 tensors")) == (True, True)


def test_an_alpha_in_pefts_configuration_alone(tmp_path: Path) -> None:
    """interop 1.6: the native format has no alpha tensor; only diffusers reads the configuration."""
    settings = '{"unet.lora_alpha": 2, "unet.r": 4, "unet.target_modules": ["to_k"], "unet.rank_pattern": {}, '
    settings += '"unet.alpha_pattern": {}}'
    found = told(tmp_path / "x.safetensors", peft(f"unet.{PLACE}"), lora_adapter_metadata=settings)
    assert found["stable-diffusion.cpp"] == Verdict(True, NO_ALPHA.removeprefix(", and "))
    assert found["diffusers"] == YES


def test_what_torch_itself_says_of_a_lokrs_core() -> None:
    """C245: what einsum leaves is not contiguous, and torch.kron does not take it."""
    core = torch.einsum("ijkl,jr,ip->prkl", torch.ones(2, 2, 3, 3), torch.ones(2, 5), torch.ones(2, 4))
    small = torch.ones(2, 3)[:, :, None, None]
    with pytest.raises(RuntimeError, match="view size"):
        torch.kron(small, core)
    assert torch.kron(small, core.contiguous()).shape == (8, 15, 3, 3)


TWO = {"clip_l": torch.ones(2, 768), "clip_g": torch.ones(2, 1280)}
ONE = {"emb_params": torch.ones(2, 768)}
NO_TENSOR, ENDING = Verdict(False, ONE_TENSOR), Verdict(False, NOT_BY_ENDING)
EMBEDDINGS: dict[str, tuple[str, Tensors, tuple[Verdict | str | None, ...]]] = {  # interop 2.2, 2.3
    "one": ("x.safetensors", ONE, (YES, YES, YES, YES, BY_TENSORS_NAME)),
    "diffusers'": ("x.safetensors", {"<fox>": torch.ones(768)}, ALL),
    "XL": ("x.safetensors", TWO, (YES, YES, YES, YES, Verdict(False, TWO_ENCODERS))),
    "half of XL's": (
        "x.safetensors", {"clip_g": TWO["clip_g"]}, (NO_TENSOR, NO_TENSOR, None, NO_TENSOR, NO_TENSOR),
    ),
    "half precision": (  # T
        "x.safetensors", {"emb_params": torch.ones(2, 768).half()}, (YES, YES, YES, HALF, BY_TENSORS_NAME),
    ),
    "two tensors": (
        "x.safetensors", ONE | {"more": torch.ones(1, 768)}, (NO_TENSOR, NO_TENSOR, YES, YES, NO_TENSOR),
    ),
    "another width": ("x.safetensors", {"emb_params": torch.ones(2, 320)}, (None,) * 5),
    ".bin": ("x.bin", ONE, (YES, YES, YES, ENDING, BY_TENSORS_NAME)),
    ".ckpt": ("x.ckpt", ONE, (ENDING, ENDING, ENDING, YES, BY_TENSORS_NAME)),
}  # fmt: skip


@pytest.mark.parametrize("sort", EMBEDDINGS)
def test_embeddings(tmp_path: Path, sort: str) -> None:
    name, tensors, cells = EMBEDDINGS[sort]
    found = told(tmp_path / name, tensors)
    assert {reader: found[reader] for reader in READERS} == row(*cells)


UNET = "model.diffusion_model."


def single(width: int, text: str, *more: str) -> Tensors:
    flat = () if width == 768 else (8, 8)
    shapes: dict[str, tuple[int, ...]] = {
        f"{UNET}input_blocks.0.0.weight": (8, 4, 3, 3),
        f"{UNET}input_blocks.1.1.proj_in.weight": flat or (8, 8, 1, 1),
        f"{UNET}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (8, width),
        f"{UNET}middle_block.1.proj_in.weight": flat or (8, 8, 1, 1),
        "first_stage_model.decoder.conv_in.weight": (8, 4, 3, 3),
        text: (8,),
    }
    shapes |= {f"{UNET}label_emb.0.0.weight": (8, 2816)} if width == 2048 else {}
    return {name: torch.ones(shape) for name, shape in shapes.items()} | {name: torch.empty(0) for name in more}


V = {"modelspec.prediction_type": "v"}
CLIP, OPEN, XL_TEXT = (
    "cond_stage_model.transformer.text_model.x.weight", "cond_stage_model.model.ln_final.weight",
    "conditioner.embedders.1.model.ln_final.weight",
)  # fmt: skip
CHECKPOINTS: dict[str, tuple[Tensors, dict[str, str], tuple[Verdict | str | None, ...]]] = {
    "1.x": (single(768, CLIP), {}, ALL),
    # interop 0.3, 3.1; of Forge it is not known
    "1.x without text_model": (
        single(768, CLIP.replace("text_model.", "")), {},
        (YES, None, YES, Verdict(False, NO_TEXT_MODEL), Verdict(False, NO_TEXT_MODEL)),
    ),
    # interop 3.2: A, C, S try the network; D takes 2.1's configuration (below)
    "2.x": (single(1024, OPEN), {}, (YES, YES, YES, YES, NEEDS_BASE)),
    "2.x that predicts v": (single(1024, OPEN), V, ALL),
    "XL": (single(2048, XL_TEXT), {}, ALL),
    # interop 3.2: A needs a .yaml, C and S the mark; of Forge it is not known; D has no look at it (below)
    "XL that predicts v": (single(2048, XL_TEXT), V, (NEEDS_YAML, None, NEEDS_MARK, NEEDS_MARK, NEEDS_CONFIG)),
    "XL that predicts v, marked": (single(2048, XL_TEXT, "v_pred"), {}, (NEEDS_YAML, None, YES, YES, NEEDS_CONFIG)),
}  # fmt: skip


@pytest.mark.parametrize("sort", CHECKPOINTS)
def test_checkpoints(tmp_path: Path, sort: str) -> None:
    tensors, metadata, cells = CHECKPOINTS[sort]
    assert told(tmp_path / "x.safetensors", tensors, **metadata) == row(*cells)


def test_diffusers_takes_a_single_files_prediction_from_a_configuration() -> None:
    """D: that of 2.1 for all of 2.x, and no look at XL's mark."""
    assert single_file_utils.DIFFUSERS_DEFAULT_PIPELINE_PATHS["v2"]["pretrained_model_name_or_path"].endswith("-2-1")
    assert "v_pred" not in python.getsource(single_file)
    assert '"v_pred"' not in python.getsource(single_file_utils)


def test_folders_and_pickles(tmp_path: Path) -> None:
    """ComfyUI's nodes.py (DiffusersLoader); of stable-diffusion.cpp, which opens folders, it was not tried."""
    only = Verdict(False, ONLY_FILES)
    assert verdicts.of_folder() == row(only, only, BY_NODE, None, YES)
    path = tmp_path / "x.pt"
    for zipped in (True, False):  # interop 0.4
        torch.save({"string_to_param": {"*": torch.ones(2, 768)}}, path, _use_new_zipfile_serialization=zipped)
        found = inspect(path, hashed=False).programs
        assert found["A1111"] == (Verdict(False, NEW_ZIP) if zipped else YES)


def test_every_verdict_has_a_row() -> None:
    """Whatever FAULTS, REMARKS, BUNDLES and the words of other files say, a row above has tried."""
    rows = [*ADAPTERS.values(), *((None, cells) for *_, cells in (*EMBEDDINGS.values(), *CHECKPOINTS.values()))]
    said = [cell.says if isinstance(cell, Verdict) else cell or "" for _, cells in rows for cell in cells]
    words = {each for found in (*FAULTS.values(), *REMARKS.values(), BUNDLES) for each in found.values()}
    words |= {text for name, text in vars(verdicts).items() if name.isupper() and isinstance(text, str)}
    elsewhere = {ONLY_FILES, BY_NODE, NEW_ZIP, NO_ALPHA, verdicts.TENSOR, verdicts.SETTINGS, verdicts.BUNDLE}
    assert {each for each in words - elsewhere if not any(each in text for text in said)} == set()


def test_not_known_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.safetensors"
    assert asdict(told(path, {"a": torch.ones(4), "b": torch.ones(4)})["A1111"]) == {"loads": None, "says": ""}
    assert main(["inspect", str(path)]) == 0
    assert "not known" in capsys.readouterr().out
