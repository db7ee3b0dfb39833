"""`limner merge` into a checkpoint: the same weights and pictures as with the files applied, in either layout."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save_file
from torch import nn

import limner
from limner.base.open import open_base
from limner.cli import main
from limner.device import generator
from limner.edit import Edit
from limner.edit.combine import combine
from limner.edit.convert import convert
from limner.edit.ingredient import Ingredient
from limner.edit.merge import merge
from limner.errors import UserError
from limner.formats import inspect, load_weights, save_weights
from limner.generate import Request, generate
from limner.generators import finish
from limner.methods.method import apply_weights, find_method
from limner.named import PromptFiles

CPU = torch.device("cpu")
MakeLora = Callable[..., Path]


def pixels(base: Path, prompt: str, loras: Path | None = None, dtype: torch.dtype = torch.float32) -> np.ndarray:
    model = open_base(base, CPU, dtype)
    files = PromptFiles() if loras is None else PromptFiles(loras)
    (made,) = generate(model, Request(prompt, steps=2, seed=3), files)
    return np.asarray(made.image)


@pytest.fixture(params=["file", "folder"])
def base(request: pytest.FixtureRequest, base_file: Path, tiny_folder: Path) -> Path:
    return base_file if request.param == "file" else tiny_folder


def test_pictures_are_those_of_the_tags(
    tmp_path: Path, base: Path, make_lora: MakeLora, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = make_lora("one"), make_lora("two", layers=("to_q", "conv1", "fc1"), seed=1)
    out = tmp_path / ("merged.safetensors" if base.is_file() else "merged")
    arguments = ["merge", str(base), str(out), "--lora", f"{one}:0.5:1", "--lora", f"{two}:-0.7", "--json"]
    assert main(arguments) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["size_bytes"] == sum(
        p.stat().st_size for p in ([out] if out.is_file() else out.rglob("*")) if p.is_file()
    )
    assert told["layers"] == len(load_weights(one).modules().keys() | load_weights(two).modules().keys())
    tagged = pixels(base, "a cat <lora:one:0.5:1> <lora:two:-0.7>", tmp_path)
    assert np.array_equal(pixels(out, "a cat"), tagged)
    assert not np.array_equal(pixels(base, "a cat"), tagged)


def test_in_half_precision_too(tmp_path: Path, tiny_folder: Path, base_file: Path, make_lora: MakeLora) -> None:
    """A base in bfloat16 is rounded as the model is that the tag is applied to."""
    half, out = tmp_path / "half.safetensors", tmp_path / "merged.safetensors"
    tensors = {key: tensor.bfloat16() for key, tensor in load_file(base_file).items()}
    save_file(tensors, half, inspect(base_file).metadata)
    made = limner.merge(half, out, (f"{make_lora('one')}:0.3",))
    assert inspect(out).dtypes.keys() == {"BF16"}
    assert made.size_bytes < 1.02 * half.stat().st_size
    tagged = pixels(half, "a cat <lora:one:0.3>", tmp_path / "one.safetensors", torch.bfloat16)
    assert np.array_equal(pixels(out, "a cat", dtype=torch.bfloat16), tagged)


@pytest.mark.parametrize(
    "name", ["lokr", "dora", *(pytest.param(each, marks=pytest.mark.slow) for each in ("loha", "oft", "ia3", "locon"))]
)
def test_all_kin_are_added_as_they_are_applied(tmp_path: Path, base_file: Path, name: str) -> None:
    """Bit for bit, two at once, each to the weight as the base has it."""
    model, files = open_base(base_file, CPU, torch.float32), []
    for seed in (1, 2):
        method = find_method(name)(find_method(name).Config())
        random = generator(seed)
        for group in method.attach(model, seed):
            for parameter in group.parameters:
                parameter.data += 0.1 * torch.randn(parameter.shape, generator=random)
        weights = method.weights()
        method.detach()
        files.append(save_weights(weights, tmp_path / f"{seed}.safetensors", dtype=torch.float32).path)
        apply_weights(model, load_weights(files[-1]), 0.6, 0.6)
    limner.merge(base_file, tmp_path / "merged.safetensors", tuple(f"{file}:0.6" for file in files))
    merged = open_base(tmp_path / "merged.safetensors", CPU, torch.float32)
    applied = dict(parameters(model))
    assert all(torch.equal(tensor, applied[n]) for n, tensor in parameters(merged))
    plain = dict(parameters(open_base(base_file, CPU, torch.float32)))
    assert sum(not torch.equal(tensor, plain[n]) for n, tensor in parameters(merged)) == len(
        load_weights(files[0]).modules()
    )


@pytest.mark.parametrize("family", ["sd2", "sdxl"])
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_other_families_too(
    tmp_path: Path,
    tiny_folders: Callable[[str], Path],
    base_files: Callable[[str], Path],
    make_lora: MakeLora,
    family: str,
    kind: str,
) -> None:
    """OpenCLIP's queries, keys and values, which share a tensor in the file, each get their own change."""
    base = base_files(family) if kind == "file" else tiny_folders(family)
    lora, out = make_lora(family=family), tmp_path / ("merged.safetensors" if kind == "file" else "merged")
    limner.merge(base, out, (f"{lora}:0.5:1",))
    model = open_base(base, CPU, torch.float32)
    plain = dict(parameters(open_base(base, CPU, torch.float32)))
    apply_weights(model, load_weights(lora), 1.0, 0.5)
    applied = dict(parameters(model))
    merged = dict(parameters(open_base(out, CPU, torch.float32)))
    assert all(torch.equal(tensor, applied[name]) for name, tensor in merged.items())
    changed = {
        name.removesuffix(".weight").replace("text_model.", "")
        for name in merged
        if not torch.equal(merged[name], plain[name])
    }
    assert changed == load_weights(lora).modules().keys()


def parameters(model) -> Iterator[tuple[str, torch.Tensor]]:
    for part, network in model.networks.items():
        assert isinstance(network, nn.Module)
        for name, tensor in network.state_dict().items():
            yield f"{part}.{name}", tensor


def test_what_is_not_touched_stays_and_the_file_says_what_it_is(
    tmp_path: Path, base_file: Path, make_lora: MakeLora
) -> None:
    file, out = make_lora(layers=("to_q",)), tmp_path / "merged.safetensors"
    limner.merge(base_file, out, (str(file),))
    before, after = load_file(base_file), load_file(out)
    assert before.keys() == after.keys()
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed
    assert all("to_q" in key for key in changed)
    said = inspect(out)
    assert said.kind == "checkpoint"
    assert said.hash_matches
    assert said.metadata["ss_output_name"] == "merged"
    (edit,) = json.loads(said.metadata["limner.edits"])
    assert [each["sha256"] for each in edit["files"]] == [inspect(base_file).sha256, inspect(file).sha256]


def test_diffusers_opens_a_merged_folder(tmp_path: Path, tiny_folder: Path, make_lora: MakeLora) -> None:
    out = tmp_path / "merged"
    limner.merge(tiny_folder, out, (str(make_lora()),), file_precision="fp16")
    pipeline = StableDiffusionPipeline.from_pretrained(out, torch_dtype=torch.float32, local_files_only=True)
    own = open_base(out, CPU, torch.float32)
    for part in ("unet", "vae", "text_encoder"):
        theirs = getattr(pipeline, part).state_dict()
        assert all(torch.equal(tensor, theirs[name]) for name, tensor in own.networks[part].state_dict().items())
    kept = {path.relative_to(out) for path in out.rglob("*") if path.is_file()}
    assert kept == {path.relative_to(tiny_folder) for path in tiny_folder.rglob("*") if path.is_file()}


def test_averages_are_left_out(tmp_path: Path, base_file: Path, make_lora: MakeLora) -> None:
    """They are of the base without the LoRA, and a program that takes them would show that."""
    tensors = load_file(base_file)
    tensors["model_ema.diffusion_modeltime_embed0bias"] = torch.zeros(4)
    save_file(tensors, tmp_path / "ema.safetensors", inspect(base_file).metadata)
    limner.merge(tmp_path / "ema.safetensors", tmp_path / "merged.safetensors", (str(make_lora()),))
    assert not [key for key in load_file(tmp_path / "merged.safetensors") if key.startswith("model_ema.")]


def test_mistakes(
    tmp_path: Path, base_file: Path, tiny_folder: Path, make_lora: MakeLora, capsys: pytest.CaptureFixture[str]
) -> None:
    lora, strong = make_lora("lora"), make_lora("strong", alpha=3e6)
    key = "lora_unet_mid_block_attentions_0_proj_in"
    wide = {"lora_down.weight": torch.randn(2, 320, 1, 1), "lora_up.weight": torch.randn(320, 2, 1, 1)}
    save_file({f"{key}.{leaf}": tensor for leaf, tensor in wide.items()}, tmp_path / "wide.safetensors")
    save_file(load_file(lora), tmp_path / "second.safetensors", {"ss_base_model_version": "sd_v2"})
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "precious").write_text("me")
    x, base = str(tmp_path / "x.safetensors"), str(base_file)
    for arguments, said in [
        ([base, x], "lora is missing"),
        ([base, x, "--lora", str(tmp_path / "wide.safetensors")], "1 of its 1 layers"),
        ([base, x, "--lora", str(tmp_path / "second.safetensors")], "is for sd2"),
        ([base, x, "--lora", str(lora), "--rank", "4"], "--into lora"),
        ([base, x, "--lora", base], "holds checkpoint weights"),
        ([base, str(tmp_path / "x"), "--lora", str(lora)], "does not end in .safetensors"),
        ([base, base, "--lora", str(lora), "--overwrite"], "is what is to be read"),
        ([base, x, "--lora", str(strong), "--file-precision", "fp16"], "float16 cannot"),
        (
            [str(tiny_folder), str(tmp_path / "mine"), "--lora", str(lora), "--overwrite"],
            "no model in diffusers' layout",
        ),
        (["nowhere", x, "--lora", str(lora)], "no base model 'nowhere'"),
    ]:
        assert main(["merge", *arguments, "--quiet"]) == 2, arguments
        assert said in capsys.readouterr().err, said
    assert not [path for path in tmp_path.iterdir() if path.name.startswith((".", "x"))]
    assert (tmp_path / "mine" / "precious").read_text() == "me"


def test_of_a_folder_a_file_is_made_if_a_file_is_asked_for(
    tmp_path: Path, tiny_folder: Path, base_file: Path, make_lora: MakeLora, capsys: pytest.CaptureFixture[str]
) -> None:
    lora = str(make_lora("one"))
    files = [tmp_path / "of_folder.safetensors", tmp_path / "of_file.safetensors"]
    for base, out in zip((tiny_folder, base_file), files, strict=True):
        assert main(["merge", str(base), str(out), "--lora", lora, "--quiet"]) == 0
    of_folder, of_file = (load_file(path) for path in files)
    assert of_folder.keys() == of_file.keys()
    assert all(torch.equal(of_folder[key], of_file[key]) for key in of_file)
    for name, sentence in (
        ("merged.ckpt", "is the name of a file, and a folder is to be written"),
        (str(tiny_folder / "unet"), "lies in"),
        (str(tiny_folder / "new"), "lies in the folder that is read"),
    ):
        assert main(["merge", str(tiny_folder), name, "--lora", lora, "--overwrite"]) == 2
        assert sentence in capsys.readouterr().err
    assert not Path("merged.ckpt").exists()


def test_a_base_that_is_overwritten_meanwhile_makes_no_mixture(
    tmp_path: Path, base_file: Path, make_lora: MakeLora
) -> None:
    base, out = Path(shutil.copy(base_file, tmp_path / "base.safetensors")), tmp_path / "new" / "merged.safetensors"
    edit = merge(base, [Ingredient(make_lora("one"))], out)
    next(edit)
    with base.open("rb+") as stream:
        stream.seek(-4, 2)
        stream.write(b"\0\0\0\1")
    with pytest.raises(UserError, match=r"base\.safetensors was changed while it was"):
        finish(edit)
    assert list(out.parent.iterdir()) == []


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_that_came_meanwhile_is_replaced_only_if_asked(
    tmp_path: Path, base_file: Path, tiny_folder: Path, make_lora: MakeLora, overwrite: bool
) -> None:
    lora, out = make_lora("one"), tmp_path / "out.safetensors"
    edits: list[Edit[Any]] = [
        merge(base_file, [Ingredient(lora)], out, overwrite=overwrite),
        combine([Ingredient(lora), Ingredient(lora)], out, overwrite=overwrite),
        convert(str(tiny_folder), tmp_path / "folder", overwrite=overwrite),
    ]
    for edit in edits:
        next(edit)
        path = tmp_path / "folder" if edit is edits[-1] else out
        if edit is edits[-1]:
            shutil.copytree(tiny_folder, path)
        else:
            path.write_bytes(b"theirs")
        made = finish(edit)
        assert made.path == (path if overwrite else path.with_stem(f"{path.stem}-2"))
        assert overwrite or path.is_dir() or path.read_bytes() == b"theirs"
        for each in (path, path.with_stem(f"{path.stem}-2")):
            each.unlink(missing_ok=True) if each.is_file() else shutil.rmtree(each, ignore_errors=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.safetensors"]
