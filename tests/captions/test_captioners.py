"""Taggers and captioners, with tiny networks made on the spot; and those from packages outside."""

import csv
import json
import re
from pathlib import Path

import models
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from limner.captions.caption import Captions
from limner.captions.captioner import Model, captioners, open_captioner
from limner.captions.wd14 import in_words, prepare
from limner.checking.facts import Facts
from limner.config.captions import Captioning
from limner.errors import UserError

FACTS = Facts("a.png", "a" * 64)
# What each tag of the small tagger answers to: (name, category, what the probability is).
TAGS = [
    ("general", "9", 0.6), ("sensitive", "9", 0.3),
    ("1girl", "0", 0.9), ("blue_eyes", "0", "blue"), ("red_sky", "0", "red"), ("o_o", "0", 0.36), ("smile", "0", 0.34),
    ("hatsune_miku_(vocaloid)", "4", 0.86), ("ganyu", "4", 0.84),
]  # fmt: skip


def tagger(folder: Path, side: int = 448, tags: list = TAGS, layout: str = "NHWC") -> Path:
    """A network whose probabilities are constants, or the mean of the picture's blue or red in 0..1."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = np.zeros((3, len(tags)), np.float32)
    bias = np.zeros(len(tags), np.float32)
    for index, (_, _, probability) in enumerate(tags):
        if isinstance(probability, str):
            weights[0 if probability == "blue" else 2, index] = 1 / 255  # blue comes first
        else:
            bias[index] = probability
    shape = ["n", side, side, 3] if layout == "NHWC" else ["n", 3, side, side]
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["picture", "axes"], ["mean"], keepdims=0),
            helper.make_node("MatMul", ["mean", "weights"], ["product"]),
            helper.make_node("Add", ["product", "bias"], ["probabilities"]),
        ],
        "tagger",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", len(tags)])],
        [
            numpy_helper.from_array(np.array([1, 2] if layout == "NHWC" else [2, 3], np.int64), "axes"),
            numpy_helper.from_array(weights, "weights"),
            numpy_helper.from_array(bias, "bias"),
        ],
    )
    network = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(network)
    onnx.save(network, folder / "model.onnx")
    with (folder / "selected_tags.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["tag_id", "name", "category", "count"])
        writer.writerows([number, name, category, 1000] for number, (name, category, _) in enumerate(tags))
    return folder


def said(folder: Path, image: Image.Image, *settings: str) -> list[str]:
    return open_captioner("wd14", Model(str(folder)), settings).describe(image, FACTS)


def test_a_tagger_says_what_is_probable(tmp_path: Path) -> None:
    folder = tagger(tmp_path / "tagger")
    blue, red = (Image.new("RGB", (64, 64), colour) for colour in ("blue", "red"))
    assert said(folder, blue) == ["hatsune miku (vocaloid)", "blue eyes", "1girl", "o_o"]
    assert said(folder, red) == ["hatsune miku (vocaloid)", "red sky", "1girl", "o_o"]
    assert said(folder, red, "threshold=0.95", "character-threshold=0.8") == [
        "hatsune miku (vocaloid)", "ganyu", "red sky",
    ]  # fmt: skip
    assert said(folder, red, "rating=true", "escape=true", "threshold=1.0") == [
        "hatsune miku \\(vocaloid\\)", "red sky", "general",
    ]  # fmt: skip


def test_pictures_are_padded_with_white_and_turned_blue_first(tmp_path: Path) -> None:
    pixels = prepare(Image.new("RGB", (30, 10), (200, 100, 50)), 60)
    assert pixels.shape == (1, 60, 60, 3)
    assert pixels.dtype == np.float32
    assert pixels[0, 30, 30].tolist() == [50, 100, 200]
    assert pixels[0, 5, 30].tolist() == pixels[0, 55, 30].tolist() == [255, 255, 255]
    # A quarter of the picture is red, three quarters are the white around it: red is full, blue at 0.75.
    assert said(tagger(tmp_path / "small", side=32), Image.new("RGB", (40, 10), "red"))[1:3] == ["red sky", "1girl"]


@pytest.mark.parametrize(
    ("tag", "text"),
    [
        *((face, face) for face in ("o_o", "(o)_(o)", "|_|", "+_-", "||_||", "3_3", ">_<", "._.", "<|>_<|>", "@_@")),
        ("long_hair", "long hair"), ("no_humans", "no humans"), ("d.va_(overwatch)", "d.va (overwatch)"),
        ("a_la_carte", "a la carte"), ("5_fingers", "5 fingers"),
    ],
)  # fmt: skip
def test_underscores_are_blanks_but_in_faces(tag: str, text: str) -> None:
    assert in_words(tag, escape=False) == text


def test_captions_from_a_tagger_leave_out_what_only_names_the_subject(tmp_path: Path) -> None:
    values = {
        "keyword": "zvq", "class": "woman", "captioner": "wd14", "caption_model": str(tagger(tmp_path)),
        "captioner_set": ("character_threshold=1",),
    }  # fmt: skip
    image = Image.new("RGB", (50, 50), "blue")
    made = Captions(Captioning.read(values, "the test"))
    assert not made.in_workers
    assert made.caption(image, FACTS, None).text == "zvq woman, blue eyes, o_o"
    pruned = Captions(Captioning.read(values | {"prune": "blue eyes"}, "the test"))
    assert pruned.caption(image, FACTS, None).text == "zvq woman, o_o"
    added = Captions(Captioning.read(values | {"own_captions": "extend"}, "the test"))
    assert added.caption(image, FACTS, "zvq at home, Blue eyes").text == "zvq at home, Blue eyes, o_o"


@pytest.mark.parametrize(
    ("name", "make"),
    [("blip", models.tiny_blip), ("blip", models.tiny_blip2), ("blip", models.tiny_git),
     ("florence", models.tiny_florence)],
)  # fmt: skip
def test_captioners_write_a_sentence_that_depends_on_the_picture_alone(name: str, make, tmp_path: Path) -> None:
    folder = make(tmp_path / "model")
    noise = np.random.default_rng(3).integers(0, 256, (4, 40, 60, 3), dtype=np.uint8)
    images = [Image.fromarray(each) for each in noise] + [Image.new("RGB", (40, 50), each) for each in ("red", "white")]
    captioner = open_captioner(name, Model(str(folder), device="cpu"), ["most_tokens=8"])
    first = [captioner.describe(image, FACTS) for image in images]
    assert [captioner.describe(image, FACTS) for image in reversed(images)] == first[::-1]
    assert len({text for (text,) in first}) > 1
    assert all(set(text.split()) <= set(models.WORDS) for (text,) in first)


def test_the_keyword_goes_into_a_sentence_before_the_class(tmp_path: Path) -> None:
    folder = models.tiny_blip(tmp_path / "model")
    image = Image.new("RGB", (40, 40), "blue")
    sentence = open_captioner("blip", Model(str(folder), device="cpu")).describe(image, FACTS)[0]
    word = sentence.split()[0]
    values = {"keyword": "zvq", "class": word, "captioner": "blip", "caption_model": str(folder), "device": "cpu"}
    text = Captions(Captioning.read(values, "the test")).caption(image, FACTS, None).text
    assert text == f"zvq {sentence}"
    front = Captions(Captioning.read(values | {"class": "mug"}, "the test")).caption(image, FACTS, None).text
    assert front == f"zvq mug, {sentence}"


def test_models_that_will_not_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "config.json").write_text(json.dumps({"model_type": "bert"}))
    broken = tagger(tmp_path / "broken")
    (broken / "model.onnx").write_bytes(b"no network")
    fewer = tagger(tmp_path / "fewer")
    rows = (fewer / "selected_tags.csv").read_text().splitlines()[:-1]
    (fewer / "selected_tags.csv").write_text("\n".join(rows))
    turned = tagger(tmp_path / "turned", layout="NCHW")
    nameless = tagger(tmp_path / "nameless")
    (nameless / "selected_tags.csv").write_text("a,b\n1,2\n")
    for name, model, says in [
        ("wd14", None, "--caption-model"),
        ("wd14", "nobody/nothing", "--download-model"),
        ("wd14", str(tmp_path / "gone"), "neither a folder nor in the hub's cache"),
        ("wd14", str(tmp_path / "empty"), "selected_tags.csv"),
        ("wd14", str(broken), "cannot open"),
        ("wd14", str(fewer), "8 tags and the network 9"),
        ("wd14", str(turned), "takes"),
        ("wd14", str(nameless), "name and category"),
        ("blip", str(tmp_path / "empty"), "cannot open a captioner"),
        ("blip", str(tmp_path / "text"), "of the kind bert"),
        ("florence", "nobody/nothing", "--download-model"),
    ]:
        with pytest.raises(UserError, match=re.escape(says)):
            open_captioner(name, Model(model))


def test_the_hubs_cache_is_used_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    cache = tmp_path / "hub"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    place = cache / "models--someone--tagger"
    tagger(place / "snapshots" / ("0" * 40))
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("0" * 40)
    made = open_captioner("wd14", Model("someone/tagger"))
    assert "1girl" in made.describe(Image.new("RGB", (9, 9)), FACTS)


def test_captioners_are_named() -> None:
    assert {"blip", "florence", "pixels", "wd14"} <= set(captioners())
