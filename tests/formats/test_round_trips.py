"""Whatever a LoRA is made of, its file of either layout holds exactly that; and no names crash the readers."""

import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from limner.base.families import FAMILIES
from limner.errors import UserError
from limner.formats import load_weights, save_weights
from limner.formats.dotted_names import ROOTS
from limner.formats.keys import layer_of, owner_of, split_key
from limner.formats.names import PREFIXES
from limner.weights import Weights

LEVELS = {"sd1": 4, "sd2": 4, "sdxl": 3}
WITH_ATTENTION = {"sd1": ((0, 1, 2), (1, 2, 3)), "sd2": ((0, 1, 2), (1, 2, 3)), "sdxl": ((1, 2), (0, 1))}
ATTENTION = [f"attn{n}.{part}" for n in (1, 2) for part in ("to_q", "to_k", "to_v", "to_out.0")]
TEXT = [*(f"self_attn.{part}_proj" for part in ("q", "k", "v", "out")), "mlp.fc1", "mlp.fc2"]


@st.composite
def layer_names(draw: st.DrawFn, family: str) -> str:
    """A layer of that family's networks at full size."""
    down, up = WITH_ATTENTION[family]
    at = {"down": st.sampled_from(down), "up": st.sampled_from(up)}
    side = draw(st.sampled_from(["down", "up"]))
    last = 1 if side == "down" else 2
    inner = st.one_of(
        st.sampled_from(["proj_in", "proj_out"]),
        st.builds(
            "transformer_blocks.{}.{}".format,
            st.integers(0, 9),
            st.sampled_from([*ATTENTION, "ff.net.0.proj", "ff.net.2"]),
        ),
    )
    kinds = [
        st.builds(f"unet.{side}_blocks.{{}}.attentions.{{}}.{{}}".format, at[side], st.integers(0, last), inner),
        st.builds("unet.mid_block.attentions.0.{}".format, inner),
        st.builds(
            f"unet.{side}_blocks.{{}}.resnets.{{}}.{{}}".format,
            st.integers(0, LEVELS[family] - 1),
            st.integers(0, last),
            st.sampled_from(["conv1", "conv2", "conv_shortcut", "time_emb_proj"]),
        ),
        st.builds("unet.mid_block.resnets.{}.conv1".format, st.integers(0, 1)),
        st.builds(f"unet.{side}_blocks.{{}}.{side}samplers.0.conv".format, st.integers(0, LEVELS[family] - 2)),
        st.sampled_from(["unet.conv_in", "unet.conv_out", "unet.time_embedding.linear_1"]),
    ]
    kinds += [
        st.builds(f"{encoder.name}.encoder.layers.{{}}.{{}}".format, st.integers(0, 31), st.sampled_from(TEXT))
        for encoder in FAMILIES[family].encoders
    ]
    return draw(st.one_of(kinds))


@st.composite
def loras(draw: st.DrawFn) -> Weights:
    family = draw(st.sampled_from(sorted(FAMILIES.keys() & LEVELS.keys())))
    tensors: dict[str, torch.Tensor] = {}
    for name in draw(st.lists(layer_names(family), min_size=1, max_size=6, unique=True)):
        rank, out, into = (draw(st.integers(1, 5)) for _ in range(3))
        is_end = name.startswith("unet.") and name.endswith(("proj_in", "proj_out"))
        kernel = (1, 1) if is_end and family == "sd1" else (3, 3) if ".conv" in name and "resnets" in name else ()
        tensors[f"{name}.lora_down"] = torch.randn(rank, into, *kernel)
        tensors[f"{name}.lora_up"] = torch.randn(out, rank, *([1, 1] if kernel else []))
        alpha = draw(st.floats(2**-10, 2**10, width=32))
        tensors[f"{name}.alpha"] = torch.tensor(alpha)
    return Weights("lora", family, tensors)


@settings(deadline=None, max_examples=60)
@given(loras(), st.sampled_from(["kohya", "diffusers"]))
def test_a_file_holds_what_was_put_in(weights: Weights, layout: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fox.safetensors"
        save_weights(weights, path, layout, torch.float32)
        read = load_weights(path)
    assert read.family == weights.family
    assert read.tensors.keys() == weights.tensors.keys()
    for name, tensor in weights.tensors.items():
        assert torch.equal(read.tensors[name], tensor), name


words = st.sampled_from(
    ["down_blocks", "0", "1", "12", "attentions", "to_q", "processor", "input_blocks", "output_blocks", "conv", "op",
     "middle_block", "text_model", "encoder", "layers", "out", "lora_A", "weight", "alpha", "proj_in", "", "x", "é"]
)  # fmt: skip


prefixes = st.sampled_from([*PREFIXES, *ROOTS, "", "base_model.model."])


@given(prefixes, st.lists(words, max_size=7), st.sampled_from("._"))
def test_no_name_crashes_the_readers(prefix: str, parts: list[str], joint: str) -> None:
    name = prefix + joint.join(parts)
    slot = split_key(name)
    for layer in (layer_of(name)[0], owner_of(name), "" if slot is None else slot.layer):
        assert layer.partition(".")[0] in ("", "unet", "text_encoder", "text_encoder_2")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_what_half_precision_holds_comes_back(tmp_path: Path, dtype: torch.dtype) -> None:
    name = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    tensors = {f"{name}.lora_down": torch.randn(2, 8), f"{name}.lora_up": torch.randn(8, 2)}
    for layout in ("kohya", "diffusers"):
        path = tmp_path / f"{layout}.safetensors"
        save_weights(Weights("lora", "sd2", tensors | {f"{name}.alpha": torch.tensor(0.1)}), path, layout, dtype)
        read = load_weights(path).tensors
        assert float(read[f"{name}.alpha"]) == pytest.approx(0.1, abs=1e-8)
        assert all(torch.equal(read[key].float(), tensor.to(dtype).float()) for key, tensor in tensors.items())


def test_a_file_of_no_tensors_is_no_adapter(tmp_path: Path) -> None:
    save_file({}, tmp_path / "x.safetensors")
    with pytest.raises(UserError):
        load_weights(tmp_path / "x.safetensors")
