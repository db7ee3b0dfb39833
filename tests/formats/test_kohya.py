"""Files written and read: names, metadata, hashes, atomicity, and what bad files get."""

import hashlib
import json
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save, save_file

from limner.base.sd1 import SD1
from limner.container.safetensors import MAX_HEADER_BYTES
from limner.errors import UserError
from limner.formats import Description, formats, inspect, load_weights, save_weights
from limner.formats.names import file_name, neutral_name
from limner.weights import Weights

MakeLora = Callable[..., Weights]

index = st.integers(0, 31)
unet_block = st.one_of(
    st.builds("{}_blocks.{}.{}.{}".format, st.sampled_from(["down", "up"]), index, st.just("attentions"), index),
    st.builds("mid_block.attentions.{}".format, index),
)
inner = st.one_of(
    st.sampled_from(["proj_in", "proj_out"]),
    st.builds(
        "transformer_blocks.{}.{}".format,
        index,
        st.sampled_from(
            [f"attn{n}.{part}" for n in (1, 2) for part in ("to_q", "to_k", "to_v", "to_out.0")]
            + ["ff.net.0.proj", "ff.net.2"]
        ),
    ),
)
resnet = st.builds(
    "{}.{}.resnets.{}.{}".format,
    st.sampled_from(["down_blocks", "up_blocks"]),
    index,
    index,
    st.sampled_from(["conv1", "conv2", "conv_shortcut", "time_emb_proj"]),
)
text_layer = st.builds(
    "encoder.layers.{}.{}".format,
    index,
    st.sampled_from([f"self_attn.{part}_proj" for part in ("q", "k", "v", "out")] + ["mlp.fc1", "mlp.fc2"]),
)
modules = st.one_of(
    st.builds("unet.{}.{}".format, unet_block, inner),
    st.builds("unet.{}".format, resnet),
    st.sampled_from(["unet.conv_in", "unet.conv_out", "unet.down_blocks.0.downsamplers.0.conv"]),
    st.builds("text_encoder.{}".format, text_layer),
)


@given(modules)
def test_names_survive_the_way_out_and_back(module: str) -> None:
    name = file_name(module, SD1)
    assert "." not in name
    assert name.startswith(("lora_unet_", "lora_te_text_model_"))
    assert neutral_name(name) == module


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=40))
def test_strange_names_are_refused_or_read_but_never_crash(name: str) -> None:
    found = neutral_name(f"lora_unet_{name}")
    assert not found or found.startswith("unet.")


def test_the_file_is_kohyas(tmp_path: Path, random_lora: MakeLora) -> None:
    path = tmp_path / "fox.safetensors"
    saved = save_weights(random_lora(rank=2, alpha=1.0), path)
    tensors = load_file(path)
    assert saved.size_bytes == path.stat().st_size
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    key = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_out_0"
    assert tensors[f"{key}.lora_down.weight"].shape == (2, 32)
    assert tensors[f"{key}.lora_up.weight"].shape == (32, 2)
    assert tensors[f"{key}.alpha"].shape == ()
    assert tensors["lora_unet_mid_block_attentions_0_proj_in.lora_down.weight"].shape == (2, 64, 1, 1)
    assert "lora_te_text_model_encoder_layers_1_mlp_fc2.lora_up.weight" in tensors
    modules = {name.partition(".")[0] for name in tensors}
    assert all(f"{module}.alpha" in tensors for module in modules)


def test_weights_come_back(tmp_path: Path, random_lora: MakeLora) -> None:
    weights = random_lora("all")
    save_weights(weights, tmp_path / "fox.safetensors", dtype=torch.float32)
    read = load_weights(tmp_path / "fox.safetensors")
    assert (read.kind, read.family) == ("lora", "sd1")
    assert read.tensors.keys() == weights.tensors.keys()
    assert all(torch.equal(read.tensors[name], tensor) for name, tensor in weights.tensors.items())


def test_an_alpha_that_half_precision_would_change_stays_exact(tmp_path: Path, random_lora: MakeLora) -> None:
    save_weights(random_lora(alpha=0.1), tmp_path / "fox.safetensors")
    read = load_weights(tmp_path / "fox.safetensors")
    assert all(tensor == torch.tensor(0.1) for name, tensor in read.tensors.items() if name.endswith("alpha"))


def test_metadata_and_run_card(tmp_path: Path, random_lora: MakeLora) -> None:
    card = {"base": "pocket", "images": ["ab12"], "seed": 3}
    description = Description(
        title="My fox ü", keyword="sks", resolution=(128, 128), seed=3, steps=40, learning_rate=1e-4, num_images=24,
        base_name="pocket", clip_skip=1, run_card=card,
    )  # fmt: skip
    weights = random_lora()
    weights.metadata = description.metadata(SD1)
    path = tmp_path / "fox.safetensors"
    save_weights(weights, path)
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    expected = {
        "ss_v2": "False", "ss_base_model_version": "sd_v1", "ss_network_module": "networks.lora", "ss_network_dim": "4",
        "ss_network_alpha": "3.0", "ss_network_args": "{}", "ss_output_name": "fox", "ss_seed": "3", "ss_steps": "40",
        "ss_learning_rate": "0.0001", "ss_num_train_images": "24", "ss_sd_model_name": "pocket", "ss_clip_skip": "1",
        "ss_resolution": "(128, 128)", "modelspec.sai_model_spec": "1.0.1", "modelspec.title": "My fox ü",
        "modelspec.architecture": "stable-diffusion-v1/lora", "modelspec.implementation": "diffusers",
        "modelspec.resolution": "128x128", "modelspec.trigger_phrase": "sks", "modelspec.prediction_type": "epsilon",
        "modelspec.hash_sha256": "0x" + metadata["sshs_model_hash"],
    }  # fmt: skip
    assert expected.items() <= metadata.items()
    assert json.loads(metadata["limner.run_card"]) == card
    summary = inspect(path)
    assert (summary.keyword, summary.run_card, summary.kind, summary.naming) == ("sks", card, "lora", "kohya")
    assert load_weights(path).metadata == metadata


def test_every_description_setting_reaches_the_file() -> None:
    """A field that is set adds an entry, and each adds its own."""
    from dataclasses import fields

    bare = Description(title="x").metadata(SD1)
    for item in fields(Description):
        if "ss" in item.metadata:
            entries = Description(title="x", **{item.name: 7}).metadata(SD1)
            assert entries.items() - bare.items() >= {(f"ss_{item.metadata['ss']}", "7")}


def test_hashes_are_those_of_kohya_a1111_and_civitai(tmp_path: Path, random_lora: MakeLora) -> None:
    path = tmp_path / "fox.safetensors"
    weights = random_lora("all", rank=64)
    save_weights(weights, path)
    data = path.read_bytes()
    after_header = data[8 + struct.unpack("<Q", data[:8])[0] :]
    summary = inspect(path)
    model_hash = hashlib.sha256(after_header).hexdigest()
    assert summary.metadata["sshs_model_hash"] == model_hash
    assert summary.webui_hash == summary.autov3 == model_hash[:12]
    assert summary.sha256 == hashlib.sha256(data).hexdigest()
    assert summary.autov2 == summary.sha256[:10]
    assert summary.hash_matches is True
    # kohya: the library's own serialisation with nothing but the `ss_` entries
    trainer = {key: text for key, text in summary.metadata.items() if key.startswith("ss_")}
    plain = save(load_file(path), trainer)
    assert len(plain) > 0x110000
    assert summary.metadata["sshs_legacy_hash"] == hashlib.sha256(plain[0x100000:0x110000]).hexdigest()[:8]


def test_small_files_have_the_hash_of_nothing(tmp_path: Path, random_lora: MakeLora) -> None:
    save_weights(random_lora(text=False, rank=1), tmp_path / "fox.safetensors")
    assert inspect(tmp_path / "fox.safetensors").metadata["sshs_legacy_hash"] == "e3b0c442"


def test_an_edited_tensor_is_noticed(tmp_path: Path, random_lora: MakeLora) -> None:
    path = tmp_path / "fox.safetensors"
    save_weights(random_lora(), path)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert inspect(path).hash_matches is False


@pytest.mark.slow
def test_the_same_weights_are_the_same_file_in_another_process(tmp_path: Path) -> None:
    program = (
        "import sys, torch; from pathlib import Path; from limner.formats import save_weights, Description\n"
        "from limner.base.sd1 import SD1; from limner.weights import Weights\n"
        "t = {f'unet.mid_block.attentions.0.{n}.{leaf}': torch.ones(()) if leaf == 'alpha' else torch.ones(2, 2)\n"
        "     for n in ('proj_in', 'proj_out') for leaf in ('lora_down', 'lora_up', 'alpha')}\n"
        "w = Weights('lora', 'sd1', t, Description('x', seed=1, steps=2, run_card={'b': 1, 'a': 2}).metadata(SD1))\n"
        "save_weights(w, Path(sys.argv[1]) / 'fox.safetensors')"
    )
    files = []
    for folder in ("a", "b"):
        subprocess.run([sys.executable, "-c", program, str(tmp_path / folder)], check=True)
        files.append((tmp_path / folder / "fox.safetensors").read_bytes())
    assert files[0] == files[1]


def test_summary_counts(tmp_path: Path, random_lora: MakeLora) -> None:
    path = tmp_path / "fox.safetensors"
    weights = random_lora(rank=4, alpha=3.0)
    save_weights(weights, path)
    summary = inspect(path)
    assert summary.family == "sd1"
    assert summary.ranks == {4: len(weights.modules())}
    assert summary.alphas == {3.0: len(weights.modules())}
    assert summary.modules["text_encoder"] == 12
    assert summary.modules["unet"] + 12 == len(weights.modules())
    assert json.loads(json.dumps(summary.as_dict()))["sha256"] == summary.sha256


def _header(entries: object) -> bytes:
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text)) + text


BAD_FILES = {
    "empty": b"",
    "picture": b"\x89PNG\r\n\x1a\n" + b"\0" * 64,
    "length only": struct.pack("<Q", 2**40),
    "huge header": struct.pack("<Q", MAX_HEADER_BYTES + 1) + b"{" * (MAX_HEADER_BYTES + 8),
    "not json": struct.pack("<Q", 8) + b"notjson!",
    "nested": struct.pack("<Q", 200_000) + b"[" * 200_000,
    "list": _header([1, 2]),
    "no shape": _header({"lora_unet_conv_in.alpha": {"dtype": "F32"}}),
    "past the end": _header({"lora_unet_conv_in.alpha": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}),
    "nothing": _header({}),
}


@pytest.mark.parametrize("sort", BAD_FILES)
def test_damaged_files_are_named_in_one_sentence(tmp_path: Path, sort: str) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(BAD_FILES[sort])
    with pytest.raises(UserError, match=r"bad\.safetensors") as caught:
        load_weights(path)
    assert "\n" not in str(caught.value)


@given(st.binary(max_size=300))
def test_no_bytes_crash_the_reader(data: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bad.safetensors"
        path.write_bytes(struct.pack("<Q", min(len(data), 200)) + data)
        with pytest.raises(UserError):
            load_weights(path)


DOWN, UP = torch.ones(2, 32), torch.ones(32, 2)
FOX = "lora_unet_mid_block_attentions_0_proj_in"


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({f"{FOX}.lora_down.weight": DOWN}, "lacks lora_up"),
        ({f"{FOX}.lora_down.weight": DOWN, f"{FOX}.lora_up.weight": torch.ones(32, 3)}, "do not fit"),
        ({f"{FOX}.lora_down.weight": DOWN, f"{FOX}.lora_up.weight": UP, f"{FOX}.alpha": DOWN}, "do not fit"),
        ({f"{FOX}.lora_down.weight": DOWN * torch.nan, f"{FOX}.lora_up.weight": UP}, "not finite"),
        ({f"{FOX}.hada_w1_a": DOWN}, "lacks hada_w1_b"),
        ({f"{FOX}.lora_down.weight": DOWN, f"{FOX}.lora_up.weight": UP, f"{FOX}.dora_scale": UP}, "do not fit"),
        ({f"{FOX}.lokr_w1": DOWN, f"{FOX}.lokr_w2_a": UP}, "lacks lokr_w2_b"),
        ({f"{FOX}.lora_down.weight": DOWN, f"{FOX}.lora_up.weight": UP, f"{FOX}.hada_t1": UP}, "has hada_t1"),
        ({f"{FOX}.oft_blocks": torch.ones(2, 4, 3)}, "do not fit"),
        ({f"{FOX}.weight": UP, f"{FOX}.on_input": UP}, "do not fit"),
        ({f"{FOX}.a1.weight": DOWN, f"{FOX}.a2.weight": DOWN}, "lacks b1"),
        ({f"{FOX}.diff": DOWN, f"{FOX}.diff_b": torch.ones(3)}, "do not fit"),
        ({f"{FOX}.alpha": torch.tensor(1.0)}, "makes no change"),
        ({"lora_unet_double_blocks_0.lora_down.weight": DOWN}, "for flux"),
        ({"model.diffusion_model.out.2.weight": DOWN}, "checkpoint"),
    ],
)
def test_other_adapters_are_refused_by_name(tmp_path: Path, tensors: dict[str, torch.Tensor], words: str) -> None:
    save_file({name: tensor.clone() for name, tensor in tensors.items()}, tmp_path / "fox.safetensors")
    with pytest.raises(UserError, match=words):
        load_weights(tmp_path / "fox.safetensors")


def test_a_missing_alpha_is_the_rank(tmp_path: Path) -> None:
    save_file({f"{FOX}.lora_down.weight": DOWN, f"{FOX}.lora_up.weight": UP}, tmp_path / "fox.safetensors")
    assert load_weights(tmp_path / "fox.safetensors").tensors["unet.mid_block.attentions.0.proj_in.alpha"] == 2.0


def test_unwritable_places_and_wrong_names_are_refused(tmp_path: Path, random_lora: MakeLora) -> None:
    weights = random_lora()
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder.safetensors").mkdir()
    places = {
        tmp_path / "fox.ckpt": "does not end in",
        tmp_path / "file" / "fox.safetensors": "cannot write",
    }
    for path, words in places.items():
        with pytest.raises(UserError, match=words):
            save_weights(weights, path)
    with pytest.raises(UserError, match="no format"):
        save_weights(weights, tmp_path / "fox.safetensors", format="pickle")
    with pytest.raises(UserError, match="nothing to save"):
        save_weights(Weights("lora", "sd1", {}), tmp_path / "fox.safetensors")
    with pytest.raises(UserError, match="cannot read"):
        load_weights(tmp_path / "missing.safetensors")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.safetensors"]
    assert save_weights(weights, tmp_path / "folder.safetensors").path.name == "folder-2.safetensors"
    assert list((tmp_path / "folder.safetensors").iterdir()) == []


def test_kohya_is_registered() -> None:
    assert {"kohya", "diffusers"} <= formats().keys()
