"""Single files of every family: opened and saved again, beside diffusers' own reader and the originals' own names."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import originals
import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from safetensors.torch import load_file, save_file
from torch import Tensor

from limner.base import single
from limner.base.families import UNETS
from limner.base.model import BaseModel, weights_of
from limner.base.open import open_base
from limner.base.original import places
from limner.base.published import published
from limner.container.header import read_header
from limner.formats import save_weights
from limner.formats.checkpoint import Checkpoint
from limner.formats.diffusers import save_folder
from limner.weights import whole

CPU = torch.device("cpu")
SIZES = {"sd1": 2.13e9, "sd2": 2.6e9, "sdxl": 6.94e9}  # bytes of the published files in half precision


def opened(path: Path) -> BaseModel:
    return open_base(path, CPU, torch.float32)


def numbers(model: BaseModel) -> dict[str, Tensor]:
    return {
        f"{part}.{name}": tensor for part, net in model.networks.items() for name, tensor in net.state_dict().items()
    }


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype and torch.equal(one[name], other[name]) for name in one
    )


@pytest.fixture(scope="module")
def written(tiny_folders: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """written(family): the tiny base of a family as a single file in float32."""
    root = tmp_path_factory.mktemp("single")

    def write(family: str) -> Path:
        path = root / f"{family}.safetensors"
        if not path.exists():
            model = opened(tiny_folders(family))
            save_weights(whole(model), path, dtype=torch.float32, model=model)
        return path

    return write


@pytest.mark.parametrize("family", UNETS)
def test_published_files_have_these_names_shapes_and_sizes(family: str) -> None:
    """Those that the originals' own modules have; computed without any memory for them."""
    configs = published(family)
    found: dict[str, tuple[int, ...]] = {}
    for part in single.networks_of(configs):
        own = weights_of(single.skeleton(part, configs))
        for key, ((name, its), *_) in places((f"{part}.{path}" for path in own), configs).items():
            found[key] = its.shape(tuple(own[name.partition(".")[2]].shape))
    wanted = originals.model(family, is_full=True)
    unread = set() if family == "sd1" else {key for key in wanted if key not in found}
    assert found == {key: shape for key, shape in wanted.items() if key not in unread}
    assert all("resblocks.23." in key or key.endswith(("text_projection", "logit_scale")) for key in unread)
    size = 2 * sum(math.prod(shape) for shape in wanted.values())
    assert size == pytest.approx(SIZES[family], rel=0.004)


@pytest.mark.parametrize("family", UNETS)
def test_diffusers_reads_the_same_tensors(
    written: Callable[[str], Path], tiny_folders: Callable[[str], Path], family: str
) -> None:
    kind = StableDiffusionXLPipeline if family == "sdxl" else StableDiffusionPipeline
    path, folder = written(family), tiny_folders(family)
    pipeline = kind.from_single_file(str(path), config=str(folder), local_files_only=True)
    mine, first = opened(path), opened(folder)
    assert same(numbers(mine), numbers(first))
    for part in first.networks:
        theirs = getattr(pipeline, part).state_dict()
        assert same({name: theirs[name] for name in theirs}, dict(mine.networks[part].state_dict())), part


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, None])
@pytest.mark.parametrize("family", UNETS)
def test_a_file_opened_and_saved_is_the_same(
    tiny_folders: Callable[[str], Path], tmp_path: Path, family: str, dtype: torch.dtype | None
) -> None:
    """A file as the original's modules name it, in one dtype or (None) mixed, with buffers, ids, and averages."""
    tensors = originals.random(originals.model(family), dtype or torch.float16)
    if dtype is None:
        tensors |= {name: t.float() for name, t in tensors.items() if name.startswith("first_stage_model.")}
    embeddings = next(name for name in tensors if "position" in name).removesuffix("position_embedding.weight")
    if family != "sd2":
        tensors[f"{embeddings}position_ids"] = torch.arange(77)[None]
    tensors["alphas_cumprod"] = torch.linspace(1, 0, 1000)
    averages = {"model_ema.decay": torch.tensor(0.9999), "model_ema.diffusion_modelout2bias": torch.zeros(4)}
    path = tmp_path / "theirs.safetensors"
    configs = single.describe(opened(tiny_folders(family)))
    save_file(tensors | averages, path, {single.ARCHITECTURE: configs})
    weights = Checkpoint.load(path)
    assert weights.family == family
    again = tmp_path / "again.safetensors"
    save_weights(weights, again, dtype=None)
    assert same(load_file(again), tensors)
    if dtype is not None:  # and through an opened model, as training saves it
        model = open_base(path, CPU, torch.bfloat16)
        reports = save_weights(whole(model), tmp_path / "trained.safetensors", dtype=dtype, model=model).reports
        assert {each.reader for each in reports} >= {"A1111", "ComfyUI", "stable-diffusion.cpp", "diffusers"}
        assert same(load_file(tmp_path / "trained.safetensors"), tensors)


@pytest.mark.parametrize("family", ["sd2", "sdxl"])
def test_what_a_folder_lacks_of_openclip_is_written(written: Callable[[str], Path], family: str) -> None:
    """The original's classes have a last layer, a projection and a scale, which programs that build them look for."""
    assert {name: tuple(t.shape) for name, t in load_file(written(family)).items()} == originals.model(family)


@pytest.mark.parametrize("family", UNETS)
def test_a_folder_of_a_single_file(written: Callable[[str], Path], tmp_path: Path, family: str) -> None:
    model = opened(written(family))
    save_folder(whole(model), tmp_path / "folder", model, torch.float32)
    assert same(numbers(opened(tmp_path / "folder")), numbers(model))
    index = json.loads((tmp_path / "folder" / "model_index.json").read_text())
    assert index["_class_name"] == UNETS[family].pipeline
    assert index.get("force_zeros_for_empty_prompt", False) == (family == "sdxl")
    text = load_file(tmp_path / "folder" / "text_encoder" / "model.safetensors")
    assert all(name.startswith("text_model.") for name in text)
    pads = [t.pad_token for t in opened(tmp_path / "folder").tokenizers.values()]
    assert pads == {"sd1": ["<|endoftext|>"], "sd2": ["!"], "sdxl": ["<|endoftext|>", "!"]}[family]
    assert pads == [t.pad_token for t in model.tokenizers.values()]


@pytest.mark.parametrize("family", UNETS)
def test_it_predicts_as_the_folder_does(
    written: Callable[[str], Path], tiny_folders: Callable[[str], Path], family: str
) -> None:
    latents, times = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1)), torch.tensor([500])
    models = [opened(written(family)), opened(tiny_folders(family))]
    said = [model.predict(latents, times, model.encode_prompts(["a red fox"])) for model in models]
    assert torch.equal(*said)


def test_headers_say_what_they_predict(written: Callable[[str], Path]) -> None:
    assert read_header(written("sdxl")).metadata["modelspec.prediction_type"] == "epsilon"
    assert read_header(written("sdxl")).metadata["modelspec.architecture"] == "stable-diffusion-xl-v1-base"
    assert not written("sdxl").with_suffix(".yaml").exists()
