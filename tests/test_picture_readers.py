"""The text in our pictures through other programs' readers: sd-parsers takes it apart, webuiapi hands it on whole."""

import base64
import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from sd_parsers import ParserManager
from webuiapi import WebUIApi

from limner.base.model import BaseModel
from limner.formats import inspect, save_weights
from limner.generate import Request, generate
from limner.infotext import parse_infotext, save_png
from limner.named import PromptFiles
from limner.weights import Weights

HARDEST = "commas and weights"
PROMPTS = {
    "plain": ("a photo of a cat", "blurry"),
    "commas and weights": ("a (cat:1.3), [soft light|hard light], masterpiece,, ", "lowres, (bad hands:1.2), "),
    "quotes": ('a "cat" says \'no\', "quoted: twice"', 'text "like this"'),
    "newlines": ("a cat\non a mat,\n\nin the sun", "worse\nworst"),
    "looks like settings": ("mood: sad, time: late, place: here", "Steps: 3, Seed: 4"),
    "backslashes": (r"a cat \(animal\), C:\pictures", r"\\"),
    "not Latin": ("喵 — ein Kätzchen, кошка", "плохо, 悪い"),
    "a LoRA": ("a cat <lora:zq-vx_1:0.5>", ""),
    "nothing": ("", ""),
}


@pytest.fixture
def lora(tmp_path: Path) -> Path:
    name = "unet.mid_block.attentions.0.proj_in"
    factors = {"lora_down": torch.ones(1, 64, 1, 1), "lora_up": torch.ones(64, 1, 1, 1), "alpha": torch.tensor(1.0)}
    weights = Weights("lora", "sd1", {f"{name}.{leaf}": tensor for leaf, tensor in factors.items()})
    return save_weights(weights, tmp_path / "Lora" / "zq-vx_1.safetensors").path


@pytest.fixture
def picture(tiny_base: BaseModel, lora: Path, tmp_path: Path, sort: str) -> Path:
    """A PNG as `limner generate` writes it."""
    prompt, negative = PROMPTS[sort]
    request = Request(prompt, negative, steps=1, sampler="Euler a", seed=4294967290, cfg_scale=6.5, height=128)
    made = next(generate(tiny_base, request, PromptFiles(lora.parent)))
    path = tmp_path / "picture.png"
    save_png(made.image, made.infotext, path)
    return path


@pytest.mark.parametrize(
    "sort", [each if each == HARDEST else pytest.param(each, marks=pytest.mark.slow) for each in PROMPTS]
)
def test_sd_parsers_understands_it(picture: Path, tiny_base: BaseModel, lora: Path, sort: str) -> None:
    found = ParserManager().parse(picture)
    assert found is not None
    assert found.generator.value == "AUTOMATIC1111"
    (sampler,) = found.samplers
    lines = [[line.strip() for line in text.split("\n")] for text in PROMPTS[sort]]
    read = [sampler.prompts, sampler.negative_prompts]
    for wanted, (given, prompts) in zip(PROMPTS[sort], zip(lines, read, strict=True), strict=True):
        assert (
            "\n".join(line.strip() for each in prompts for line in each.value.split("\n")) == "\n".join(given).strip()
        )
        assert bool(prompts) == bool(wanted)
    assert sampler.name == "Euler a"
    wanted = {"steps": "1", "cfg_scale": "6.5", "seed": "4294967290", "scheduler": "Uniform"}
    assert {name: sampler.parameters[name] for name in wanted} == wanted
    assert sampler.model is not None
    assert (sampler.model.name, sampler.model.hash) == ("tiny", tiny_base.fingerprint[:10])
    assert (found.metadata["Size"], found.metadata["RNG"]) == ("64x128", "CPU")
    # it drops every setting that holds a colon, the webui's own `Lora hashes` too, but keeps the text whole
    whole = parse_infotext(found.raw_parameters["parameters"])
    assert whole.settings.get("Lora hashes") == (
        f"zq-vx_1: {inspect(lora).webui_hash}" if "<lora:" in PROMPTS[sort][0] else None
    )


class Server:
    """What webuiapi talks to; it keeps what it was sent and answers as the webui does."""

    def __init__(self, answer: dict[str, Any]) -> None:
        self.answer = answer
        self.sent: dict[str, Any] = {}

    def post(self, url: str, json: dict[str, Any]) -> Any:
        self.sent = json
        return SimpleNamespace(status_code=200, json=lambda: self.answer)


@pytest.mark.parametrize("sort", PROMPTS)
def test_webuiapi_hands_it_on_whole(picture: Path, sort: str) -> None:
    """It has no reader of its own: it sends a picture to the webui's, and opens those that the webui sends."""
    with Image.open(picture) as image:
        text = image.info["parameters"]
        api: Any = WebUIApi.__new__(WebUIApi)  # without its question to a server that is not there
        api.baseurl = "http://127.0.0.1:1/sdapi/v1"
        api.session = Server({"info": text, "images": [base64.b64encode(picture.read_bytes()).decode()]})
        result = api.png_info(image)
    data = base64.b64decode(api.session.sent["image"].partition(",")[2])
    with Image.open(io.BytesIO(data)) as sent:
        assert sent.info["parameters"] == text
    assert result.image.info["parameters"] == text
    assert result.info == text
    assert parse_infotext(text).settings["Sampler"] == "Euler a"
