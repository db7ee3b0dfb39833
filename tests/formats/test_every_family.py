"""LoRA files of every family: names, what each program makes of them, and files that others name differently."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import DiffusionPipeline
from loras import check_in_diffusers, lora_for
from safetensors.torch import load_file, save_file

from limner.base.families import UNETS
from limner.base.model import BaseModel
from limner.errors import UserError
from limner.formats import inspect, load_weights, save_weights, verify
from limner.formats.layers import layout
from limner.formats.names import file_name, neutral_name
from limner.formats.programs import NO_QKV
from limner.weights import Weights

FOX = torch.ones(2, 3)
OpenTiny = Callable[[str], BaseModel]
READERS = ["A1111", "Forge", "ComfyUI", "stable-diffusion.cpp", "diffusers"]
KEYS = {  # interop 1.1: a few complete keys of each family's files
    "sd1": [
        "lora_unet_mid_block_attentions_0_proj_in.lora_down.weight",
        "lora_unet_up_blocks_0_upsamplers_0_conv.alpha",
        "lora_te_text_model_encoder_layers_1_mlp_fc2.lora_up.weight",
    ],
    "sd2": [
        "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_out_0.lora_up.weight",
        "lora_te_text_model_encoder_layers_0_self_attn_q_proj.alpha",
    ],
    "sdxl": [
        "lora_unet_middle_block_1_transformer_blocks_1_attn1_to_q.alpha",
        "lora_unet_input_blocks_4_1_proj_in.lora_down.weight",
        "lora_unet_input_blocks_3_0_op.lora_down.weight",
        "lora_unet_output_blocks_2_2_conv.lora_down.weight",
        "lora_unet_output_blocks_3_0_skip_connection.alpha",
        "lora_te1_text_model_encoder_layers_0_self_attn_k_proj.alpha",
        "lora_te2_text_model_encoder_layers_1_mlp_fc2.lora_up.weight",
    ],
}
VERSIONS = {  # interop 1.9, of an epsilon and a v-predicting base
    "sd1": ("False", "sd_v1", "sd_v1_v", "stable-diffusion-v1", "stable-diffusion-v1"),
    "sd2": ("True", "sd_v2", "sd_v2_v", "stable-diffusion-v2-512", "stable-diffusion-v2-768-v"),
    "sdxl": ("False", *["sdxl_base_v1-0"] * 2, *["stable-diffusion-xl-v1-base"] * 2),
}


@pytest.mark.parametrize("family", UNETS)
def test_every_program_reads_what_was_trained(tmp_path: Path, open_tiny: OpenTiny, family: str) -> None:
    model = open_tiny(family)
    weights = lora_for(model, "all")
    path = tmp_path / "fox.safetensors"
    saved = save_weights(weights, path, model=model)
    assert [report.reader for report in saved.reports] == READERS
    for report in saved.reports:
        if family == "sd2" and report.reader == "stable-diffusion.cpp":
            assert report.fault == NO_QKV
            assert all(lost.endswith(("q_proj", "k_proj", "v_proj")) or "_proj." in lost for lost in report.unmatched)
            assert report.matched == len(weights.modules()) - 2 * 3
        else:
            assert (report.matched, report.unmatched, report.fault) == (len(weights.modules()), (), "")
        assert report.largest_error < 0.01
    tensors = load_file(path)
    assert set(KEYS[family]) <= tensors.keys()
    assert tensors[KEYS[family][0].partition(".")[0] + ".alpha"] == 3.0
    sort = 4 if family == "sd1" else 2
    assert {t.dim() for key, t in tensors.items() if "_proj_in.lora" in key or "_proj_out.lora" in key} == {sort}
    summary = inspect(path)
    assert (summary.kind, summary.naming, summary.family) == ("lora", "kohya", family)


@pytest.mark.parametrize("family", UNETS)
def test_weights_come_back(tmp_path: Path, open_tiny: OpenTiny, family: str) -> None:
    weights = lora_for(open_tiny(family), "all")
    save_weights(weights, tmp_path / "fox.safetensors", dtype=torch.float32)
    read = load_weights(tmp_path / "fox.safetensors")
    assert (read.kind, read.family) == ("lora", family)
    assert read.tensors.keys() == weights.tensors.keys()
    assert all(torch.equal(read.tensors[name], tensor) for name, tensor in weights.tensors.items())


@pytest.mark.parametrize("family", UNETS)
@pytest.mark.parametrize("is_v", [False, True])
def test_the_metadata_say_which_base(tmp_path: Path, open_tiny: OpenTiny, family: str, is_v: bool) -> None:
    weights = lora_for(open_tiny(family), rank=1)
    weights.metadata = {"modelspec.prediction_type": "v"} if is_v else {}
    save_weights(weights, tmp_path / "fox.safetensors")
    told = load_weights(tmp_path / "fox.safetensors").metadata
    v2, version, v_version, architecture, v_architecture = VERSIONS[family]
    assert told["ss_v2"] == v2
    assert told["ss_base_model_version"] == (v_version if is_v else version)
    assert told["modelspec.architecture"] == (v_architecture if is_v else architecture) + "/lora"
    assert ("generative-models" in told["modelspec.implementation"]) == (family == "sdxl")
    del told["ss_base_model_version"], told["modelspec.architecture"]
    assert inspect(tmp_path / "fox.safetensors").family == family


@pytest.mark.parametrize("family", UNETS)
def test_diffusers_itself_applies_the_same_change(
    tmp_path: Path, tiny_folders: Callable[[str], Path], open_tiny: OpenTiny, family: str
) -> None:
    model = open_tiny(family)
    weights = lora_for(model, "all")
    path = tmp_path / "fox.safetensors"
    save_weights(weights, path, dtype=torch.float32, model=model)
    check_in_diffusers(tiny_folders(family), path, model, weights)


@pytest.mark.parametrize("family", UNETS)
def test_both_namings_of_blocks_are_read(open_tiny: OpenTiny, family: str) -> None:
    """A layer is found under diffusers' name, the original release's and the one that Limner writes, of any family."""
    for layer in layout(open_tiny(family)).layers:
        if layer.network == "unet":
            for path in (layer.diffusers, layer.original):
                assert neutral_name("lora_unet_" + path.replace(".", "_")) == layer.name
        assert neutral_name(file_name(layer.name, UNETS[family])) == layer.name


def test_a_layer_under_two_names_is_refused(tmp_path: Path) -> None:
    names = ("lora_unet_mid_block_attentions_0_proj_in", "lora_unet_middle_block_1_proj_in")
    leaves = {"lora_down.weight": torch.ones(2, 32), "lora_up.weight": torch.ones(32, 2)}
    save_file(
        {f"{name}.{leaf}": t.clone() for name in names for leaf, t in leaves.items()}, tmp_path / "fox.safetensors"
    )
    with pytest.raises(UserError, match="twice"):
        load_weights(tmp_path / "fox.safetensors")


@pytest.mark.parametrize(("of", "wanted"), [("sd1", 2), ("sd2", 4)])
def test_the_ends_of_transformers_are_written_in_the_familys_rank(
    tmp_path: Path, open_tiny: OpenTiny, of: str, wanted: int
) -> None:
    """interop 1.2: a file whose proj_in has the other form's rank is read, and written in its own family's."""
    model = open_tiny(of)
    weights = lora_for(model)
    for name, tensor in weights.tensors.items():
        if "proj_in.lora" in name:
            weights.tensors[name] = tensor.flatten(1) if wanted == 2 else tensor[:, :, None, None]
    save_weights(weights, tmp_path / "fox.safetensors", model=model)
    ranks = {t.dim() for key, t in load_file(tmp_path / "fox.safetensors").items() if "proj_in.lora" in key}
    assert ranks == {4 if wanted == 2 else 2}


def rewritten(path: Path, rename: Callable[[str], str]) -> Path:
    wrong = path.with_name("wrong.safetensors")
    save_file({rename(key): tensor for key, tensor in load_file(path).items()}, wrong)
    return wrong


def test_sd2_under_xls_prefix_does_not_work_in_a1111(tmp_path: Path, open_tiny: OpenTiny) -> None:
    model = open_tiny("sd2")
    weights = lora_for(model)
    save_weights(weights, tmp_path / "fox.safetensors")
    wrong = rewritten(tmp_path / "fox.safetensors", lambda key: key.replace("lora_te_", "lora_te1_"))
    with pytest.raises(UserError, match="would not work in A1111"):
        verify(wrong, model, weights)
    assert load_weights(wrong).modules().keys() == weights.modules().keys()


def test_xl_with_diffusers_names_lacks_a_layer_in_a1111(tmp_path: Path, open_tiny: OpenTiny) -> None:
    """interop 1.6: it maps the upsampler to the place where Stable Diffusion 1 has it."""
    model = open_tiny("sdxl")
    weights = lora_for(model, "all", text=False)
    save_weights(weights, tmp_path / "fox.safetensors")
    names = {file_name(layer.name, model.family): layer for layer in layout(model).layers}

    def rename(key: str) -> str:
        module, _, leaf = key.partition(".")
        return f"lora_unet_{names[module].diffusers.replace('.', '_')}.{leaf}"

    wrong = rewritten(tmp_path / "fox.safetensors", rename)
    with pytest.raises(UserError, match=r"A1111, which finds no place for unet\.up_blocks\.0\.upsamplers\.0\.conv"):
        verify(wrong, model, weights)
    assert load_weights(wrong).modules().keys() == weights.modules().keys()


def test_xl_in_two_namings_loses_half_in_diffusers(tmp_path: Path, open_tiny: OpenTiny) -> None:
    model = open_tiny("sdxl")
    weights = lora_for(model, text=False)
    save_weights(weights, tmp_path / "fox.safetensors")
    mixed = rewritten(
        tmp_path / "fox.safetensors", lambda key: key.replace("middle_block_1_", "mid_block_attentions_0_")
    )
    with pytest.raises(UserError, match="would not work in diffusers"):
        verify(mixed, model, weights)
    assert load_weights(mixed).modules().keys() == weights.modules().keys()


@pytest.mark.parametrize(("family", "prefix"), [("sd2", "lora_te"), ("sdxl", "lora_te2")])
@pytest.mark.parametrize("missing", ["q_proj", "out_proj"])
def test_a_part_of_an_openclip_attention_is_told(
    tmp_path: Path, open_tiny: OpenTiny, family: str, prefix: str, missing: str
) -> None:
    model = open_tiny(family)
    weights = lora_for(model)
    network = "text_encoder" if family == "sd2" else "text_encoder_2"
    for name in [name for name in weights.tensors if name.startswith(f"{network}.") and f".{missing}." in name]:
        del weights.tensors[name]
    saved = save_weights(weights, tmp_path / "fox.safetensors", model=model)
    faults = {report.reader: report.fault for report in saved.reports if report.fault}
    assert "all four matrices" in faults["A1111"]
    assert not any(key.startswith(f"{prefix}_") and missing in key for key in load_file(tmp_path / "fox.safetensors"))
    report = next(report for report in saved.reports if report.reader == "A1111")
    assert report.matched == len(weights.modules()) - 2 * 3  # of both layers, what is left of the four


def test_what_the_embeddings_of_time_and_size_learned_is_not_kept(tmp_path: Path, open_tiny: OpenTiny) -> None:
    """interop 1.6: stable-diffusion.cpp has no name for them in kohya's files."""
    model = open_tiny("sdxl")
    weights = lora_for(model, text=False)
    layer = model.networks["unet"].add_embedding.linear_1
    name = "unet.add_embedding.linear_1"
    weights.tensors |= {
        f"{name}.lora_down": torch.ones(4, layer.in_features),
        f"{name}.lora_up": torch.ones(layer.out_features, 4),
        f"{name}.alpha": torch.tensor(4.0),
    }
    with pytest.raises(UserError, match=r"stable-diffusion\.cpp.*add_embedding"):
        save_weights(weights, tmp_path / "fox.safetensors", model=model)


def bundling(model: BaseModel, words: int = 1) -> Weights:
    """A LoRA that brings embeddings along."""
    weights = lora_for(model, rank=1)
    widths = {name: vocabulary.shape[1] for name, vocabulary in model.words.vocabularies.items()}
    weights.words = {
        f"zq{'vxwyk'[at // 5]}{'aeiou'[at % 5]}": {name: torch.randn(2, width) / 50 for name, width in widths.items()}
        for at in range(words)
    }
    return weights


@pytest.mark.parametrize("family", UNETS)
def test_embeddings_inside(tmp_path: Path, open_tiny: OpenTiny, family: str) -> None:
    model = open_tiny(family)
    weights = bundling(model)
    path = tmp_path / "fox.safetensors"
    saved = save_weights(weights, path, dtype=torch.float32, model=model)
    told = {report.reader: report for report in saved.reports}
    ends = [".clip_g", ".clip_l"] if family == "sdxl" else [".string_to_param.*"]
    keys = sorted(key for key in load_file(path) if key.startswith("bundle_emb."))
    assert keys == [f"bundle_emb.zqva{end}" for end in ends]
    assert told["A1111"].unmatched == ()
    assert "refuses" in told["diffusers"].fault
    assert set(told["ComfyUI"].unmatched) == set(told["Forge"].unmatched) == set(keys)
    assert told["Forge"].fault == ""
    read = load_weights(path)
    assert read.words.keys() == {"zqva"}
    for network, vectors in weights.words["zqva"].items():
        assert torch.equal(read.words["zqva"][network], vectors)
    with pytest.raises(ValueError, match=r"bundle_emb|correct|renamed|Invalid"):
        DiffusionPipeline.from_pretrained(model.source).load_lora_weights(path)


def test_forge_drops_a_file_with_many_embeddings(tmp_path: Path, open_tiny: OpenTiny) -> None:
    """interop 1.6: more than twelve tensors that it finds no place for."""
    model = open_tiny("sd1")
    for words, fault in ((12, ""), (13, "applies nothing of the file")):
        saved = save_weights(bundling(model, words), tmp_path / "fox.safetensors", model=model)
        (forge,) = (report for report in saved.reports if report.reader == "Forge")
        assert forge.fault == fault


def test_another_embedding_inside_than_was_trained_is_found(tmp_path: Path, open_tiny: OpenTiny) -> None:
    model = open_tiny("sdxl")
    weights = bundling(model)
    path = tmp_path / "fox.safetensors"
    save_weights(weights, path)
    tensors = load_file(path)
    key = "bundle_emb.zqva.clip_g"
    for wrong, said in ((tensors | {key: 2 * tensors[key]}, "as trained"), ({**tensors, f"{key}2": FOX}, "other")):
        save_file(wrong, path)
        with pytest.raises(UserError, match=said):
            verify(path, model, weights)
