"""`limner convert`: the same weights in another format, by Limner's readers and by others."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from safetensors.torch import load_file, save_file

import limner
from limner.base.model import BaseModel, weights_of
from limner.base.open import open_base
from limner.cli import main
from limner.formats import inspect, load_weights
from limner.methods.method import apply_weights

CPU = torch.device("cpu")
MakeLora = Callable[..., Path]
FAMILIES = ["sd1", "sd2", "sdxl"]


def state(model: BaseModel) -> dict[str, torch.Tensor]:
    return {f"{part}.{name}": t for part, net in model.networks.items() for name, t in weights_of(net).items()}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_lora_there_and_back_is_the_same_bit_for_bit(tmp_path: Path, make_lora: MakeLora, family: str) -> None:
    """alpha too, which in diffusers' file stands in the settings."""
    file, dotted, back = (
        make_lora(family=family, alpha=1.7),
        tmp_path / "dotted.safetensors",
        tmp_path / "b.safetensors",
    )
    limner.convert(file, dotted, to="diffusers")
    assert inspect(dotted).naming == "diffusers"
    limner.convert(dotted, back)
    one, other = load_file(file), load_file(back)
    assert one.keys() == other.keys()
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_diffusers_itself_reads_the_converted_lora(
    tmp_path: Path, tiny_folder: Path, tiny_base: BaseModel, make_lora: MakeLora
) -> None:
    file, out = make_lora(alpha=1.7, rank=3), tmp_path / "dotted.safetensors"
    assert main(["convert", str(file), str(out), "--to", "diffusers", "--quiet"]) == 0
    pipeline = StableDiffusionPipeline.from_pretrained(tiny_folder, local_files_only=True)
    pipeline.load_lora_weights(out.parent, weight_name=out.name)
    pipeline.fuse_lora()
    pipeline.unload_lora_weights()
    apply_weights(tiny_base, load_weights(file))
    for part in ("unet", "text_encoder"):
        theirs = weights_of(getattr(pipeline, part))
        for name, tensor in weights_of(tiny_base.networks[part]).items():
            assert torch.allclose(theirs[name], tensor, atol=1e-5), name


def test_who_will_not_use_the_file_is_told(tmp_path: Path, make_lora: MakeLora) -> None:
    """The webuis know no dotted names; a file whose alphas differ, as kohya's may, diffusers reads all the same."""
    file, out = make_lora(), tmp_path / "dotted.safetensors"
    assert not limner.convert(file, tmp_path / "again.safetensors").faults
    faults = limner.convert(file, out, to="diffusers").faults
    assert "diffusers" not in faults
    assert {"A1111", "Forge"} <= faults.keys()
    part = {key: t for key, t in load_file(file).items() if "self_attn_q" in key or "unet" in key}
    save_file(part, tmp_path / "part.safetensors")
    assert "diffusers" in limner.convert(tmp_path / "part.safetensors", tmp_path / "x.safetensors").faults


@pytest.mark.parametrize("name", ["old.pt", "new.bin", "tensors.ckpt"])
def test_pickled_loras_become_safetensors(tmp_path: Path, make_lora: MakeLora, name: str) -> None:
    file, out = make_lora(dtype=torch.float16), tmp_path / "out.safetensors"
    tensors = load_file(file)
    torch.save(tensors, tmp_path / name, _use_new_zipfile_serialization=name != "old.pt")
    limner.convert(tmp_path / name, out)
    found = load_file(out)
    assert found.keys() == tensors.keys()
    assert all(torch.equal(tensor, found[key]) and tensor.dtype == found[key].dtype for key, tensor in tensors.items())
    assert inspect(out).hash_matches


def test_what_a_lora_says_of_its_making_stays(
    tmp_path: Path, make_lora: MakeLora, capsys: pytest.CaptureFixture[str]
) -> None:
    card = {"settings": {"keyword": "zqvx"}}
    file = make_lora(**{"limner.run_card": json.dumps(card), "modelspec.trigger_phrase": "zqvx", "ss_steps": "9"})
    out = tmp_path / "half.safetensors"
    assert main(["convert", str(file), str(out), "--file-precision", "bf16", "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["kind"] == "lora"
    assert told["size_bytes"] == out.stat().st_size < 0.6 * told["size_before"]
    said = inspect(out)
    assert (said.run_card, said.keyword, said.metadata["ss_steps"]) == (card, "zqvx", "9")
    assert "BF16" in said.dtypes
    assert said.hash_matches


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_embeddings_in_every_layout(tmp_path: Path, tiny_folders: Callable[[str], Path], family: str) -> None:
    """The webui's pickle, of which a safetensors file is made, and of that diffusers' for one text encoder."""
    vectors = torch.randn(3, 768, generator=torch.Generator().manual_seed(0))
    if family == "sd1":
        pickle = {"string_to_token": {"*": 265}, "string_to_param": {"*": vectors}, "name": "zqvx", "step": 100}
        torch.save(pickle, tmp_path / "zqvx.pt")
        file = tmp_path / "zqvx.pt"
    else:
        file = tmp_path / "zqvx.safetensors"
        save_file({"text_encoders_0": vectors, "text_encoders_1": torch.randn(3, 1280)}, file)
    out = tmp_path / "out.safetensors"
    limner.convert(file, out)
    found = load_file(out)
    assert set(found) == ({"emb_params"} if family == "sd1" else {"clip_l", "clip_g"})
    assert torch.equal(next(iter(found.values())) if family == "sd1" else found["clip_l"], vectors)
    if family == "sd1":
        limner.convert(out, tmp_path / "zqvx.safetensors", to="diffusers", file_precision="fp32")
        assert torch.equal(load_file(tmp_path / "zqvx.safetensors")["zqvx"], vectors)
        assert torch.equal(load_weights(tmp_path / "zqvx.safetensors").tensors["text_encoder"], vectors)
    else:
        assert main(["convert", str(out), str(tmp_path / "x.safetensors"), "--to", "diffusers"]) == 2


def test_diffusers_reads_the_embedding_under_its_own_name(tmp_path: Path, tiny_folder: Path) -> None:
    vectors = torch.randn(2, 32)
    save_file({"emb_params": vectors}, tmp_path / "webui.safetensors")
    limner.convert(tmp_path / "webui.safetensors", tmp_path / "zqvx.safetensors", to="diffusers", file_precision="fp32")
    pipeline = StableDiffusionPipeline.from_pretrained(tiny_folder, local_files_only=True)
    pipeline.load_textual_inversion(tmp_path, weight_name="zqvx.safetensors")
    ids = pipeline.tokenizer.convert_tokens_to_ids(["zqvx", "zqvx_1"])
    assert torch.equal(pipeline.text_encoder.get_input_embeddings().weight[ids], vectors)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_checkpoint_as_a_folder_and_back_is_the_same_bit_for_bit(
    tmp_path: Path, base_files: Callable[[str], Path], family: str
) -> None:
    file, folder, back = base_files(family), tmp_path / "folder", tmp_path / "back.safetensors"
    assert main(["convert", str(file), str(folder), "--quiet"]) == 0
    limner.convert(folder, back)
    one, other = load_file(file), load_file(back)
    assert one.keys() == other.keys()
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    assert inspect(back).hash_matches
    pipe = StableDiffusionXLPipeline if family == "sdxl" else StableDiffusionPipeline
    pipeline = pipe.from_pretrained(folder, local_files_only=True)
    for part, network in open_base(file, CPU, torch.float32).networks.items():
        theirs = weights_of(getattr(pipeline, part))
        assert all(torch.equal(tensor, theirs[name]) for name, tensor in weights_of(network).items())
    for part in ("text_encoder", "text_encoder_2")[: 1 + (family == "sdxl")]:  # transformers before 5.6 look for it
        names = load_file(folder / part / "model.safetensors")
        assert all(name.startswith(("text_model.", "text_projection.")) for name in names)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_folder_becomes_a_file_in_half_precision(
    tmp_path: Path, tiny_folders: Callable[[str], Path], base_files: Callable[[str], Path], family: str
) -> None:
    out = tmp_path / "half.safetensors"
    made = limner.convert(tiny_folders(family), out, file_precision="fp16")
    whole, half = load_file(base_files(family)), load_file(out)
    assert whole.keys() == half.keys()
    assert all(torch.equal(tensor.half(), half[name].half()) for name, tensor in whole.items())
    assert made.size_bytes < 0.52 * made.size_before
    wanted, found = (
        state(open_base(tiny_folders(family), CPU, torch.float16)),
        state(open_base(out, CPU, torch.float16)),
    )
    assert all(torch.equal(tensor, found[name]) for name, tensor in wanted.items())


def test_a_model_that_predicts_v_says_so_in_every_layout(tmp_path: Path) -> None:
    from bases import save_tiny

    folder, file, back = (
        save_tiny("sd2", tmp_path / "v", "v_prediction"),
        tmp_path / "v.safetensors",
        tmp_path / "again",
    )
    limner.convert(folder, file)
    assert "v_pred" in load_file(file)
    assert "parameterization" in file.with_suffix(".yaml").read_text()
    assert open_base(file, CPU, torch.float32).prediction_type == "v_prediction"
    limner.convert(file, back)
    assert open_base(back, CPU, torch.float32).prediction_type == "v_prediction"


def test_averages_are_dropped_or_used(tmp_path: Path, base_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A training's file has them under names without dots."""
    plain = load_file(base_file)
    tensors = plain | {"model_ema.decay": torch.tensor(0.9999), "model_ema.num_updates": torch.tensor(3)}
    for key in [key for key in plain if key.startswith("model.diffusion_model.")]:
        tensors[f"model_ema.{key.removeprefix('model.').replace('.', '')}"] = plain[key] + 1
    save_file(tensors, tmp_path / "e.safetensors", inspect(base_file).metadata)
    limner.convert(tmp_path / "e.safetensors", tmp_path / "plain.safetensors")
    limner.convert(tmp_path / "e.safetensors", tmp_path / "averages.safetensors", ema="use")
    dropped, used = load_file(tmp_path / "plain.safetensors"), load_file(tmp_path / "averages.safetensors")
    assert dropped.keys() == used.keys() == plain.keys()
    for key, tensor in plain.items():
        assert torch.equal(dropped[key], tensor)
        assert torch.equal(used[key], tensor + 1 if key.startswith("model.diffusion_model.") else tensor)
    arguments = ["convert", str(base_file), str(tmp_path / "x.safetensors"), "--ema", "use", "--quiet"]
    assert main(arguments) == 2
    assert "no averages" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["model.ckpt", "old.pt"])
def test_pickled_checkpoints_become_safetensors(
    tmp_path: Path, base_file: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """With an optimizer's state and plain values beside the weights, and a text encoder named as newer libraries do."""
    plain = load_file(base_file)
    configs = json.loads(inspect(base_file).metadata["limner.architecture"])  # a narrow file is not as published
    monkeypatch.setattr("limner.base.single.published", lambda *_: configs)
    state = {key.replace(".text_model.", "."): tensor for key, tensor in plain.items()}
    whole = {"state_dict": state, "global_step": 7, "epoch": 1, "optimizer_states": [{"state": {}}]}
    torch.save(whole, tmp_path / name, _use_new_zipfile_serialization=name != "old.pt")
    out = tmp_path / "out.safetensors"
    limner.convert(tmp_path / name, out)
    found = load_file(out)
    assert found.keys() == plain.keys()
    assert all(torch.equal(tensor, found[key]) for key, tensor in plain.items())


def test_mistakes(tmp_path: Path, base_file: Path, make_lora: MakeLora, capsys: pytest.CaptureFixture[str]) -> None:
    lora, word = make_lora("lora"), make_lora("word", words={"zqvx": {"text_encoder": torch.randn(1, 32)}})
    large = {key: t * 1e6 if "time_embed.0.weight" in key else t for key, t in load_file(base_file).items()}
    save_file(large, tmp_path / "large.safetensors", inspect(base_file).metadata)
    (tmp_path / "text.safetensors").write_text("hello")
    x, base = str(tmp_path / "x.safetensors"), str(base_file)
    for arguments, said in [
        ([str(lora), x, "--to", "koyha"], "no format 'koyha'"),
        ([str(lora), x, "--to", "checkpoint"], "a checkpoint's file holds"),
        ([str(lora), str(tmp_path / "x"), "--to", "diffusers"], "does not end in .safetensors"),
        ([str(lora), x, "--ema", "use"], "no averages"),
        ([str(word), x, "--to", "diffusers"], "embedding"),
        ([base, x, "--to", "kohya"], "kohya cannot hold"),
        ([base, x, "--ema", "keep"], '"keep" for --ema'),
        ([str(tmp_path / "large.safetensors"), x, "--file-precision", "fp16"], "float16 cannot"),
        ([str(tmp_path / "text.safetensors"), x], "text.safetensors"),
        (["nowhere", x], "nowhere"),
        ([base, base, "--overwrite"], "is what is to be read"),
    ]:
        assert main(["convert", *arguments, "--quiet"]) == 2, arguments
        assert said in capsys.readouterr().err, said
    assert not [path for path in tmp_path.iterdir() if path.name.startswith((".", "x"))]
