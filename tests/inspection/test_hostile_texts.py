"""Whatever a file of weights or a picture's text says, it is told or refused, and never more."""

import json
import string
import tempfile
from contextlib import suppress
from pathlib import Path

import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from limner.container.header import serialize
from limner.errors import UserError
from limner.infotext import save_png
from limner.inspection import examine, explain

PIECES = [
    "lora_unet_",
    "lora_te_",
    "lora_te1_",
    "lora_te2_",
    "lycoris_",
    "unet.",
    "text_encoder.",
    "text_encoder_2.",
    "base_model.model.",
    "diffusion_model.",
    "model.diffusion_model.",
    "bundle_emb.",
    "first_stage_model.",
    "down_blocks",
    "input_blocks",
    "mid_block",
    "middle_block",
    "up_blocks",
    "text_model_encoder_layers",
    "attentions",
    "resnets",
    "transformer_blocks",
    "attn2",
    "to_k",
    "to_out",
    "proj_in",
    "conv1",
    "_",
    ".",
    "0",
    "1",
    "11",
    "99999999999999999999",
    "lora_down.weight",
    "lora_up.weight",
    "lora_mid.weight",
    "lora_A.weight",
    "lora_B.default.weight",
    "alpha",
    "dora_scale",
    "hada_w1_a",
    "hada_w1_b",
    "lokr_w1",
    "lokr_w2_b",
    "oft_blocks",
    "on_input",
    "weight",
    "diff",
    "w_norm",
    "a1.weight",
    "emb_params",
    "clip_l",
    "clip_g",
    "string_to_param.*",
    "v_pred",
    "double_blocks",
    "control_model.",
]
WORDS = ["settings", "method", "keyword", "a", "unet.lora_alpha", "algo"]
KEYS = [
    "ss_base_model_version", "modelspec.architecture", "ss_tag_frequency", "ss_network_args", "ss_network_module",
    "lora_adapter_metadata", "limner.run_card", "limner.architecture", "sshs_model_hash", "modelspec.hash_sha256",
    "modelspec.trigger_phrase", "modelspec.prediction_type", "ss_v2",
]  # fmt: skip
names = st.lists(st.sampled_from(PIECES), min_size=1, max_size=8).map("".join)
shapes = st.lists(st.sampled_from([0, 1, 2, 3, 16, 768]), max_size=4).map(tuple)
values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=10) | st.just(10**400),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=3)
    ),
    max_leaves=8,
)  # fmt: skip
texts = (
    st.text(max_size=40) | values.map(json.dumps) | st.sampled_from(["True", "sdxl_base_v1-0", "sd_v2_v", "[" * 5000])
)
SETTINGS = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@SETTINGS
@given(st.dictionaries(names, shapes, max_size=6), st.dictionaries(st.sampled_from(KEYS), texts, max_size=4))
def test_files_of_weights(tensors: dict[str, tuple[int, ...]], metadata: dict[str, str]) -> None:
    small = {name: torch.zeros([min(side, 16) for side in shape]) for name, shape in tensors.items()}
    plain = {key: text.encode(errors="replace").decode() for key, text in metadata.items()}
    with tempfile.TemporaryDirectory() as folder:
        path, other = Path(folder) / "x.safetensors", Path(folder) / "y.safetensors"
        path.write_bytes(serialize(small, plain))
        other.write_bytes(serialize({name: tensor + 1 for name, tensor in small.items()}, {}))
        with suppress(UserError):
            json.dumps(examine(path).as_dict())
            json.dumps(explain(path, other).as_dict())


@SETTINGS
@given(
    st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0") | st.sampled_from('<>:,"\\{}\n'))
    | st.lists(
        st.sampled_from(
            ["<lora:", "a", ":", ">", "Lora hashes: ", '"', ", ", "\n", "Steps: 1", "Hashes: ", "{", "}", "TI hashes: ",
             "Negative prompt:", "Model: x", "Seed: 1", string.punctuation]
        ),
        max_size=30,
    ).map("".join)
)  # fmt: skip
def test_texts_of_pictures(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.png"
        save_png(Image.new("RGB", (4, 4)), text, path)
        json.dumps(examine(path).as_dict())
