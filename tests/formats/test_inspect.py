"""What `inspect` says of files of tensors of every kind, and which programs it says will load them."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from loras import lora_for
from safetensors.torch import save_file

from limner.base.model import BaseModel
from limner.container.header import serialize
from limner.formats import inspect, save_weights
from limner.formats.programs import READERS
from limner.formats.verdicts import NEEDS_CONFIG, NEEDS_MARK, NEEDS_YAML, NEW_ZIP, TWO_ENCODERS
from limner.weights import Weights

MakeLora = Callable[..., Weights]
UNET, VAE, TEXT = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.transformer."
XL_TEXT, XL_TEXT_2 = "conditioner.embedders.0.transformer.text_model.", "conditioner.embedders.1.model."


def model(width: int, channels: int = 4, flat: bool = False, **more: tuple[int, ...]) -> dict[str, torch.Tensor]:
    """The tensors by which a single file's family is known, of the published shapes where these decide."""
    shapes: dict[str, tuple[int, ...]] = {
        f"{UNET}input_blocks.0.0.weight": (8, channels, 3, 3),
        f"{UNET}input_blocks.1.1.proj_in.weight": (8, 8) if flat else (8, 8, 1, 1),
        f"{UNET}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (8, width),
        f"{UNET}middle_block.1.proj_in.weight": (8, 8) if flat else (8, 8, 1, 1),
        f"{VAE}decoder.conv_in.weight": (8, 4, 3, 3),
    } | more
    return {name: torch.ones(shape) for name, shape in shapes.items()}


SD1 = model(768) | {f"{TEXT}text_model.final_layer_norm.weight": torch.ones(8)}
XL = model(2048, flat=True) | {
    f"{UNET}label_emb.0.0.weight": torch.ones(8, 2816),
    f"{XL_TEXT}final_layer_norm.weight": torch.ones(8),
    f"{XL_TEXT_2}ln_final.weight": torch.ones(8),
}
CHECKPOINTS: dict[str, tuple[dict[str, torch.Tensor], str, str, str]] = {
    "1.x": (SD1, "sd1", "epsilon", ""),
    "inpainting": (model(768, 9) | {f"{TEXT}text_model.x.weight": torch.ones(8)}, "sd1", "epsilon", "inpainting"),
    "2.x": (
        model(1024, flat=True) | {"cond_stage_model.model.ln_final.weight": torch.ones(8)}, "sd2", "epsilon", "",
    ),
    "XL": (XL, "sdxl", "epsilon", ""),
    "XL that predicts v": (XL | {"v_pred": torch.empty(0)}, "sdxl", "v_prediction", ""),
    "refiner": (
        model(1280, flat=True)
        | {f"{UNET}label_emb.0.0.weight": torch.ones(8, 2560), "conditioner.embedders.0.model.x": torch.ones(8)},
        "sdxl-refiner", "epsilon", "refines",
    ),
}  # fmt: skip


def written(path: Path, tensors: dict[str, torch.Tensor], **metadata: str) -> Path:
    save_file({name: tensor.clone() for name, tensor in tensors.items()}, path, metadata)
    return path


@pytest.mark.parametrize("sort", CHECKPOINTS)
def test_checkpoints_of_every_family(tmp_path: Path, sort: str) -> None:
    tensors, family, predicts, refused = CHECKPOINTS[sort]
    summary = inspect(written(tmp_path / "x.safetensors", tensors))
    assert (summary.kind, summary.naming, summary.family) == ("checkpoint", "original", family)
    assert summary.prediction_type == predicts
    assert refused in summary.refusal
    assert bool(summary.refusal) == bool(refused)
    assert summary.reasons
    assert summary.modules["unet"] >= 4
    assert summary.webui_hash == summary.sha256[:10]
    if family != "sdxl-refiner":
        assert summary.programs.keys() == set(READERS)
        assert all(verdict.loads is not False for verdict in summary.programs.values())


def test_marks_that_some_programs_need(tmp_path: Path) -> None:
    """XL's v-prediction: A1111 wants a .yaml beside the file, ComfyUI and stable-diffusion.cpp an empty tensor."""
    path = written(tmp_path / "x.safetensors", XL, **{"modelspec.prediction_type": "v"})
    assert inspect(path).prediction_type == "v_prediction"
    assert inspect(path).faults == {
        "A1111": NEEDS_YAML,
        "ComfyUI": NEEDS_MARK,
        "stable-diffusion.cpp": NEEDS_MARK,
        "diffusers": NEEDS_CONFIG,
    }
    path.with_suffix(".yaml").write_text("parameterization: v")
    written(path, XL | {"v_pred": torch.empty(0)})
    assert inspect(path).faults == {"diffusers": NEEDS_CONFIG}
    written(path, {name.replace("text_model.", ""): tensor for name, tensor in SD1.items()})
    assert inspect(path).faults.keys() == {"stable-diffusion.cpp", "diffusers"}


def test_a_distilled_model_is_warned_of(tmp_path: Path) -> None:
    assert any("LCM" in each for each in inspect(written(tmp_path / "my_lcm.safetensors", SD1)).warnings)


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["first_stage_model.decoder.conv_in.weight"], "vae"),
        (["encoder.down.0.block.0.conv1.weight", "decoder.mid.attn_1.q.weight"], "vae"),
        (["control_model.input_blocks.0.0.weight", "control_model.zero_convs.0.0.weight"], "controlnet"),
        (["controlnet_cond_embedding.conv_in.weight", "controlnet_down_blocks.0.weight"], "controlnet"),
        (["down_blocks.0.resnets.0.conv1.weight", "conv_in.weight"], "unet"),
        (["model.0.weight", "model.1.sub.0.RDB1.conv1.0.weight"], "upscaler"),
        (["body.0.rdb1.conv1.weight", "conv_first.weight"], "upscaler"),
        (["image_proj.proj.weight", "ip_adapter.1.to_k_ip.weight"], "ip-adapter"),
        (["text_model.embeddings.token_embedding.weight", "text_model.final_layer_norm.bias"], "text encoder"),
        (["down_blocks.0.motion_modules.0.norm.weight", "x"], "motion module"),
        (["vision_model.embeddings.class_embedding", "vision_model.x"], "image encoder"),
        (["768.0.linear.0.weight", "768.1.linear.0.weight"], "hypernetwork"),
        (["a", "b"], "unknown"),
    ],
)  # fmt: skip
def test_foreign_files_are_named_as_what_they_look_like(tmp_path: Path, names: list[str], kind: str) -> None:
    path = written(tmp_path / "x.safetensors", {name: torch.ones(4, 4, 3, 3) for name in names})
    assert inspect(path).kind == kind
    assert {verdict.loads for verdict in inspect(path).programs.values()} == {None}


def test_rank_and_alpha_by_block(tmp_path: Path, random_lora: MakeLora) -> None:
    weights = random_lora(rank=4, alpha=3.0)
    for name in list(weights.tensors):
        if name.startswith("unet.mid_block") and "lora_" in name:
            tensor = weights.tensors[name]
            weights.tensors[name] = tensor[:2] if name.endswith("down") else tensor[:, :2]
        if name.startswith("text_encoder") and name.endswith("alpha"):
            weights.tensors[name] = torch.tensor(0.5)
    summary = inspect(save_weights(weights, tmp_path / "fox.safetensors").path)
    assert list(summary.blocks) == ["down", "mid", "up", "text_encoder"]
    assert {name: block.ranks.keys() for name, block in summary.blocks.items()} == {
        "down": {4}, "mid": {2}, "up": {4}, "text_encoder": {4},
    }  # fmt: skip
    assert summary.blocks["text_encoder"].alphas == {0.5: 12}
    assert sum(block.modules for block in summary.blocks.values()) == len(weights.modules())
    assert summary.ranks[2] == summary.blocks["mid"].modules
    assert summary.faults == {}
    assert all(summary.programs[reader].loads for reader in READERS)


def test_every_hash(tmp_path: Path, random_lora: MakeLora) -> None:
    path = save_weights(random_lora("all", rank=64), tmp_path / "fox.safetensors").path
    summary, data = inspect(path), path.read_bytes()
    tensors = hashlib.sha256(data[8 + int.from_bytes(data[:8], "little") :]).hexdigest()
    assert len(data) > 0x110000
    assert summary.autov1 == hashlib.sha256(data[0x100000:0x110000]).hexdigest()[:8]
    assert summary.autov2 == hashlib.sha256(data).hexdigest()[:10]
    assert summary.autov3 == tensors[:12]
    assert (summary.modelspec_hash, summary.modelspec_matches) == (f"0x{tensors}", True)
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert (inspect(path).hash_matches, inspect(path).modelspec_matches) == (False, False)


def test_names_that_only_some_programs_know(tmp_path: Path) -> None:
    """interop 1.6 and 1.7: PEFT's dotted names, and embeddings in a LoRA's file."""
    place = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    dotted = {f"unet.{place}.lora_{side}.weight": torch.ones(4, 4) for side in "AB"}
    summary = inspect(written(tmp_path / "dotted.safetensors", dotted))
    assert (summary.kind, summary.naming) == ("lora", "diffusers")
    loading = {reader for reader, verdict in summary.programs.items() if verdict.loads}
    assert loading == {"stable-diffusion.cpp", "diffusers"}
    kohya = {f"lora_unet_{place.replace('.', '_')}.lora_{side}.weight": torch.ones(4, 4) for side in ("up", "down")}
    few = {"bundle_emb.zqvx.string_to_param.*": torch.ones(1, 768)}
    summary = inspect(written(tmp_path / "bundle.safetensors", kohya | few))
    assert summary.words == ("zqvx",)
    assert {reader for reader, verdict in summary.programs.items() if not verdict.loads} == {"diffusers"}
    assert summary.faults.keys() == {"Forge", "stable-diffusion.cpp", "diffusers"}
    many = {f"bundle_emb.w{number}.string_to_param.*": torch.ones(1, 768) for number in range(13)}
    assert not inspect(written(tmp_path / "many.safetensors", kohya | many)).programs["Forge"].loads
    strange = kohya | {"lora_unet_nowhere.lora_up.weight": torch.ones(4, 4)}
    said = inspect(written(tmp_path / "strange.safetensors", strange)).faults["ComfyUI"]
    assert said == "leaves out 1 of 3 tensors, such as lora_unet_nowhere.lora_up.weight"


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
@pytest.mark.parametrize("layout", ["kohya", "diffusers"])
@pytest.mark.parametrize("layers", ["attention", "all"])
def test_from_names_alone_it_says_what_verification_finds(
    tmp_path: Path, open_tiny: Callable[[str], BaseModel], family: str, layout: str, layers: str
) -> None:
    model = open_tiny(family)
    saved = save_weights(lora_for(model, layers, alpha=3.0), tmp_path / "x.safetensors", layout, model=model)
    summary = inspect(saved.path)
    assert (summary.kind, summary.family) == ("lora", family)
    assert set(summary.faults) == {report.reader for report in saved.reports if report.fault}
    idle = {report.reader for report in saved.reports if report.fault and len(report.unmatched) >= len(summary.dtypes)}
    assert {reader for reader, verdict in summary.programs.items() if not verdict.loads} <= idle
    assert all(block.alphas == {3.0: block.modules} for block in summary.blocks.values())
    assert summary.modules.get("text_encoder_2", 0) == (12 if family == "sdxl" else 0)


def test_alphas_in_pefts_configuration(tmp_path: Path) -> None:
    names = {f"unet.mid_block.attentions.0.proj_in.lora_{side}.weight": torch.ones(4, 4) for side in "AB"}
    path = written(tmp_path / "x.safetensors", names, lora_adapter_metadata=json.dumps({"unet.lora_alpha": 2}))
    assert inspect(path).blocks["mid"].alphas == {2.0: 1}


@pytest.mark.parametrize(
    ("leaves", "kind"),
    [
        (["lora_A.default.weight", "lora_B.default.weight"], "lora"),
        (["lora_A.weight", "lora_B.weight", "lora_magnitude_vector"], "dora"),
        (["hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"], "loha"),
        (["oft_R.weight"], "oft"),
        (["ia3_l"], "ia3"),
    ],
)
def test_pefts_own_names(tmp_path: Path, leaves: list[str], kind: str) -> None:
    place = "base_model.model.mid_block.attentions.0.transformer_blocks.0.attn2.to_k"
    path = written(tmp_path / "x.safetensors", {f"{place}.{leaf}": torch.ones(4, 768) for leaf in leaves})
    summary = inspect(path)
    assert (summary.kind, list(summary.blocks), summary.modules) == (kind, ["mid"], {"unet": 1})
    assert not any(summary.programs[reader].loads for reader in ("A1111", "Forge", "ComfyUI"))


@pytest.mark.parametrize(
    ("place", "family"),
    [("transformer.transformer_blocks.0.attn.to_q", "sd3"), ("transformer.single_transformer_blocks.0.to_q", "flux")],
)
def test_adapters_of_transformers_are_told_apart_and_what_reads_them_is_not_known(
    tmp_path: Path, place: str, family: str
) -> None:
    path = written(tmp_path / "x.safetensors", {f"{place}.lora_{side}.weight": torch.ones(4, 4) for side in "AB"})
    summary = inspect(path)
    assert (summary.kind, summary.family, list(summary.blocks)) == ("lora", family, ["transformer"])
    assert {verdict.loads for verdict in summary.programs.values()} == {None}


@pytest.mark.parametrize("metadata", ["[1]", "{", '{"unet.lora_alpha": "much"}', "[" * 100_000])
def test_configurations_that_make_no_sense(tmp_path: Path, metadata: str) -> None:
    names = {f"unet.mid_block.attentions.0.proj_in.lora_{side}.weight": torch.ones(4, 4) for side in "AB"}
    keys = ("lora_adapter_metadata", "ss_tag_frequency", "ss_network_args", "limner.run_card")
    summary = inspect(written(tmp_path / "x.safetensors", names, **dict.fromkeys(keys, metadata)))
    assert summary.alphas == {}
    assert summary.kind == "lora"


def test_embeddings(tmp_path: Path) -> None:
    one = inspect(written(tmp_path / "zqvx.safetensors", {"emb_params": torch.ones(3, 768)}))
    assert (one.kind, one.family, one.keyword, one.vectors) == ("embedding", "sd1", "zqvx", {"emb_params": 3})
    assert one.webui_hash == one.sha256[:12]
    assert "emb_params" in one.faults["diffusers"]
    both = {"clip_l": torch.ones(2, 768), "clip_g": torch.ones(2, 1280)}
    two = inspect(written(tmp_path / "xl.safetensors", both))
    assert (two.family, two.faults["diffusers"]) == ("sdxl", TWO_ENCODERS)


@pytest.mark.parametrize("zipped", [True, False])
def test_pickles(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "zqvx.pt"
    held = {"string_to_param": {"*": torch.ones(2, 1024)}, "name": "\x1b[31mred", "step": 9}
    torch.save(held, path, _use_new_zipfile_serialization=zipped)
    summary = inspect(path)
    assert (summary.kind, summary.family, summary.container) == ("embedding", "sd2", "pickle")
    assert (summary.autov3, summary.webui_hash) == ("", summary.sha256[:12])
    assert (summary.programs["A1111"].says == NEW_ZIP) == zipped  # interop 0.4
    torch.save({"state_dict": SD1, "global_step": 5}, path, _use_new_zipfile_serialization=zipped)
    summary = inspect(path)
    assert (summary.kind, summary.family, summary.modules["unet"]) == ("checkpoint", "sd1", 4)
    assert summary.programs["A1111"].loads != zipped


def test_other_trainers_words(tmp_path: Path) -> None:
    name = "lora_unet_mid_block_attentions_0_proj_in"
    tensors = {f"{name}.lokr_w1": torch.ones(2, 2), f"{name}.lokr_w2": torch.ones(4, 4)}
    tags = {"a": {"fox": 3, "snow": 1}, "b": {"fox": 1, "tree": 2}, "c": 5}
    metadata = {
        "ss_network_module": "lycoris.kohya", "ss_network_args": '{"algo": "lokr"}',
        "ss_base_model_version": "sdxl_base_v1-0", "ss_tag_frequency": json.dumps(tags),
    }  # fmt: skip
    summary = inspect(written(tmp_path / "x.safetensors", tensors, **metadata))
    assert (summary.kind, summary.family, summary.method) == ("lokr", "sdxl", "lycoris.kohya, lokr")
    assert summary.tags == ("fox", "tree", "snow")
    assert summary.keyword is None
    for kind, leaf in (("glora", "a1.weight"), ("full", "diff"), ("norm", "w_norm")):
        assert inspect(written(tmp_path / "y.safetensors", {f"{name}.{leaf}": torch.ones(2, 2)})).kind == kind


def test_an_alpha_as_large_as_the_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from limner.container.file import TensorFile

    name = "lora_unet_mid_block_attentions_0_proj_in"
    tensors = {f"{name}.lora_down.weight": torch.ones(2, 64), f"{name}.lora_up.weight": torch.ones(64, 2)}
    path = written(tmp_path / "x.safetensors", tensors | {f"{name}.alpha": torch.ones(10_000)})
    read = []
    get = TensorFile.get
    monkeypatch.setattr(TensorFile, "get", lambda self, key: (read.append(key), get(self, key))[1])
    assert inspect(path).alphas == {}
    assert read == []


def test_it_can_be_told_as_json(tmp_path: Path, tiny_base: BaseModel, random_lora: MakeLora) -> None:
    weights = replace(random_lora(), metadata={"limner.run_card": '{"settings": {"method": "lora", "keyword": "zq"}}'})
    facts: dict[str, Any] = inspect(save_weights(weights, tmp_path / "fox.safetensors").path).as_dict()
    told = json.loads(json.dumps(facts))
    assert (told["method"], told["keyword"]) == ("lora", "zq")
    assert told["programs"]["A1111"] == {"loads": True, "says": ""}
    (tmp_path / "bare.safetensors").write_bytes(serialize({"x": torch.ones(2)}, {}))
    assert inspect(tmp_path / "bare.safetensors").kind == "embedding"
