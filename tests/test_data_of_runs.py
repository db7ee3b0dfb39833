"""What a run makes of its pictures: who says keyword and class, what is wrong, what a person should know."""

import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from limner.config import TrainSettings
from limner.errors import UserError
from limner.events import Chosen
from limner.run.data import (
    RunData,
    choose_background,
    complete,
    count_class,
    find_data,
    load_data,
    remarks,
    remarks_on_captions,
)
from limner.run.derive import derive
from limner.run.folder import Record, RunFolder, Source
from limner.run.job import prepare
from limner.run.outputs import check_out, default_out
from limner.run.prior import load_class
from limner.run.training import new_folder


def put(folder: Path, count: int = 1, caption: str | None = None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        Image.effect_noise((40, 40), 50 + number).convert("RGB").save(folder / f"{number}.png")
        if caption is not None:
            (folder / f"{number}.txt").write_text(caption)


def settle(images: Path, **values: Any) -> tuple[TrainSettings, list[Chosen], RunData]:
    settings = TrainSettings(images=images, **values)
    settings, chosen = complete(settings, find_data(settings))
    again, _ = complete(settings, find_data(settings))
    assert again == settings  # what a resumed run does
    return settings, chosen, load_data(settings, find_data(settings))


def captions(data: RunData, settings: TrainSettings) -> list[str]:
    return [item.caption for item in data.items(settings)]


def said(data: RunData, **values: Any) -> str:
    settings = TrainSettings(images=data.dataset.root, keyword="zvq", **values)
    return "\n".join(warning.message for warning in remarks(data, settings))


def test_kohyas_folder_says_keyword_and_class(tmp_path: Path) -> None:
    put(tmp_path / "10_zvq dog", 2)
    settings, chosen, data = settle(tmp_path)
    assert (settings.keyword, settings.class_word) == ("zvq", "dog")
    assert {each.name: each.value for each in chosen} == {"keyword": "zvq", "class": "dog"}
    assert all("10_zvq dog" in each.reason for each in chosen)
    assert captions(data, settings) == ["zvq dog"] * 2


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"keyword": "qqq"}, ["qqq dog"]),
        ({"class_word": "cat"}, ["zvq cat"]),
        ({"keyword": "ZVQ", "class_word": "wolf"}, ["ZVQ wolf"]),
        ({"template": "a photo of {keyword} {class}"}, ["a photo of zvq dog"]),
    ],
)
def test_the_command_line_wins(tmp_path: Path, given: dict[str, str], told: list[str]) -> None:
    put(tmp_path / "10_zvq dog")
    settings, _, data = settle(tmp_path, **given)
    assert captions(data, settings) == told


def test_several_subjects_keep_their_keywords(tmp_path: Path) -> None:
    put(tmp_path / "10_zvq dog")
    put(tmp_path / "2_hwx cat")
    for given, told in (
        ({}, ["zvq dog", "hwx cat"]),
        ({"keyword": "hwx"}, ["zvq dog", "hwx cat"]),
        ({"keyword": "qqq", "class_word": "animal"}, ["qqq animal", "qqq animal"]),
    ):
        settings, _, data = settle(tmp_path, **given)
        assert captions(data, settings) == told
        assert [item.repeats for item in data.items(settings)] == [10, 2]
        assert sorted(data.keywords) == sorted({caption.split()[0] for caption in told})
    with pytest.raises(UserError, match="an embedding is one word"):
        settle(tmp_path, method="embedding")
    settle(tmp_path, method="embedding", keyword="qqq", class_word="animal")


def test_a_keyword_has_one_class(tmp_path: Path) -> None:
    put(tmp_path / "10_zvq dog")
    put(tmp_path / "2_Zvq cat")
    with pytest.raises(UserError, match="two classes, dog and cat"):
        settle(tmp_path)
    settings, _, data = settle(tmp_path, class_word="animal")
    assert captions(data, settings) == ["zvq animal"] * 2
    shutil.rmtree(tmp_path / "2_Zvq cat")
    put(tmp_path / "2_hwx cat")
    with pytest.raises(UserError, match="two classes, dog and cat"):
        settle(tmp_path, keyword="qqq")


def test_pictures_of_the_class_must_not_say_the_keyword(tmp_path: Path) -> None:
    put(tmp_path / "img" / "10_zvq dog")
    put(tmp_path / "reg" / "1_zvq dog")
    with pytest.raises(UserError, match="by the class alone"):
        settle(tmp_path)
    (tmp_path / "reg" / "1_zvq dog").rename(tmp_path / "reg" / "1_dog")
    settings, _, data = settle(tmp_path)
    assert captions(data, settings) == ["zvq dog"]
    assert [picture.caption for picture in data.of_class] == ["dog"]


def test_captions_of_the_class_must_not_say_the_keyword(tmp_path: Path) -> None:
    put(tmp_path / "img" / "10_zvq dog")
    put(tmp_path / "reg" / "1_dog", 2, "a photo of ZVQ dog")
    with pytest.raises(
        UserError, match=r"2 captions of class images have the keyword 'zvq' in them \(0\.png, 1\.png\)"
    ):
        settle(tmp_path)
    put(tmp_path / "reg" / "1_dog", 2, "a photo of zvqs dog")
    put(tmp_path / "own", 1, "zvq")
    settle(tmp_path)
    images = {"prior": "images", "class_word": "dog"}
    with pytest.raises(UserError, match=r"1 caption of class images has the keyword 'zvq' in it \(0\.png\)"):
        settle(tmp_path, class_images=tmp_path / "own", **images)
    with pytest.raises(UserError, match=r"\(class_prompt\)"):
        settle(tmp_path, class_prompt="a zvq dog", **images)


def test_what_folders_hold_beside_is_said(tmp_path: Path) -> None:
    put(tmp_path / "photos", 2, "a [trigger] dog")
    put(tmp_path / "photos" / "more")
    (tmp_path / "photos" / "nobody.txt").write_text("x")
    settings, _, data = settle(tmp_path / "photos", keyword="zvq")
    told = said(data)
    assert "1 image in a subfolder of" in told
    assert "(nobody.txt): no image has that name" in told
    assert "2 captions have [trigger] or [name]" in told
    assert captions(data, settings) == ["a zvq dog"] * 2
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "b.png").write_bytes(b"x")
    shutil.copy(tmp_path / "photos" / "0.png", tmp_path / "own")
    images: dict[str, Any] = {"prior": "images", "class_word": "dog", "class_images": tmp_path / "own"}
    assert "b.png is not an image" in said(settle(tmp_path / "photos", keyword="zvq", **images)[2], **images)


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="such names are not possible there")
def test_a_run_puts_down_and_reads_names_of_any_kind(tmp_path: Path) -> None:
    names = [os.fsdecode(b"caf\xe9.png"), "new\nline.png", "x" * 251 + ".png", "e\u0301.png"]
    record = Record("base", [Source(name, "0" * 64, "grün") for name in names], {"python": "3"})
    folder = RunFolder(tmp_path / "run")
    folder.create(TrainSettings(images=tmp_path, keyword="zvq"), {}, [], record)
    held = folder.record()
    assert held.id
    assert replace(held, id="") == record
    with pytest.raises(UserError, match="name that is not UTF-8"):
        next(prepare(TrainSettings(images=tmp_path / os.fsdecode(b"caf\xe9"), keyword="zvq"), {}, "test"))


@pytest.mark.parametrize(
    ("keyword", "name"),
    [("zqvx", "zqvx"), ("my dog", "my_dog"), ("../up/x", "up_x"), ("con", "subject"), ("é" * 100, "é" * 100),
     ("犬" * 100, "犬" * 66), ("zq\nvx", "zq_vx"), ("...", "subject"), ("e\u0301t", "ét")],
)  # fmt: skip
def test_files_and_folders_are_called_after_any_keyword(tmp_path: Path, keyword: str, name: str) -> None:
    settings = TrainSettings(images=tmp_path, keyword=keyword, models=tmp_path)
    out = default_out(settings)
    assert out.name == f"{name}.safetensors"
    check_out(settings)
    run = RunFolder(new_folder(tmp_path / "runs", out.stem))
    run.require_new()


def test_a_file_name_that_is_too_long_is_refused_at_once(tmp_path: Path) -> None:
    settings = TrainSettings(images=tmp_path, keyword="zvq", out=tmp_path / f"{'x' * 250}.safetensors")
    with pytest.raises(UserError, match="longer than 255 bytes"):
        check_out(settings)


def test_a_keyword_is_one_line_of_printable_text(tmp_path: Path) -> None:
    for keyword in ("zq\x1b[31mvx", "zq\udce9", "zq\x00"):
        with pytest.raises(UserError, match="keyword"):
            TrainSettings.read({"images": str(tmp_path), "keyword": keyword}, "test")


def test_pictures_of_the_class_are_shown_unless_somebody_says_otherwise(tmp_path: Path) -> None:
    put(tmp_path / "img" / "10_zvq dog", 2)
    put(tmp_path / "reg" / "1_dog", 3)
    put(tmp_path / "reg" / "1_animal", 1, "an animal, asleep")
    put(tmp_path / "others")
    shutil.copy(tmp_path / "reg" / "1_dog" / "0.png", tmp_path / "reg" / "1_dog" / "again.png")
    settings, chosen, data = settle(tmp_path)
    assert settings.prior == "images"
    assert "1_dog" in next(each.reason for each in chosen if each.name == "prior")
    settings, counted = count_class(settings, data)
    assert [(each.name, each.value) for each in counted] == [("class_count", 5)]
    own = load_class(settings, data)
    assert sorted(str(each.caption) for each in own) == ["an animal, asleep", "dog", "dog", "dog"]
    assert "pictures of the class are left out" not in said(data, prior="images", class_word="dog")
    for values, why in (({"prior": "none"}, "prior = none"), ({"class_images": tmp_path / "others"}, "class_images")):
        settings, _, data = settle(tmp_path, **{"prior": "images"} | values, class_word="dog")  # type: ignore[arg-type]
        assert "5 pictures of the class are left out" in said(data, **{"prior": "images"} | values, class_word="dog")
        assert why in said(data, **{"prior": "images"} | values, class_word="dog")
        assert not count_class(settings, data)[1]
    assert settle(tmp_path, method="dreambooth")[0].class_word == "dog"


def test_nobody_says_the_keyword(tmp_path: Path) -> None:
    put(tmp_path / "photos")
    for folder in ("photos", "nowhere"):
        with pytest.raises(UserError, match="keyword is missing"):
            settle(tmp_path / folder)


def test_a_data_set_file_says_resolution_and_batch_size_unless_the_command_line_does(tmp_path: Path) -> None:
    put(tmp_path / "dogs", 2)
    path = tmp_path / "dataset.toml"
    path.write_text(
        "[[datasets]]\nresolution = 192\nbatch_size = 3\n"
        "[[datasets.subsets]]\nimage_dir = 'dogs'\nclass_tokens = 'zvq dog'\n"
    )
    settings, chosen, data = settle(path)
    assert (settings.resolution, settings.batch_size, settings.keyword) == (192, 3, "zvq")
    assert {each.name for each in chosen} == {"keyword", "class", "resolution", "batch_size"}
    assert settle(path, resolution=256)[0].resolution == 256
    assert [data.file_name(picture) for picture in data.taught] == ["dogs/0.png", "dogs/1.png"]


def test_masks_are_counted_and_the_background_is_decided(tmp_path: Path) -> None:
    put(tmp_path, 3)
    Image.new("L", (40, 40), 255).save(tmp_path / "1.mask.png")
    settings, _, data = settle(tmp_path, keyword="zvq")
    assert "2 of 3 pictures have no mask (0.png, 2.png)" in said(data)
    (chosen,) = choose_background(settings, data)
    assert chosen.name == "mask_background"
    assert 0 < float(str(chosen.value)) < 1
    assert "1 of 3" in chosen.reason
    settings, _, data = settle(tmp_path, keyword="zvq", mask_background=0.0)
    assert not choose_background(settings, data)
    assert [item.mask_background for item in data.items(settings)] == [0.0] * 3
    (tmp_path / "1.mask.png").unlink()
    assert not choose_background(*[settle(tmp_path, keyword="zvq")[i] for i in (0, 2)])  # type: ignore[arg-type]


def test_masks_that_belong_to_nothing_are_refused(tmp_path: Path) -> None:
    put(tmp_path / "photos")
    with pytest.raises(UserError, match="no picture has a mask"):
        settle(tmp_path / "photos", keyword="zvq", mask_background=0.5)
    (tmp_path / "masks").mkdir()
    Image.new("L", (40, 40), 255).save(tmp_path / "masks" / "other.png")
    with pytest.raises(UserError, match="mask of an image"):
        settle(tmp_path / "photos", keyword="zvq", masks=tmp_path / "masks")


def test_a_single_picture_is_warned_of(tmp_path: Path) -> None:
    put(tmp_path)
    assert "0.png is the only picture" in said(settle(tmp_path, keyword="zvq")[2])
    put(tmp_path, 2)
    assert not said(settle(tmp_path, keyword="zvq")[2])


def test_thousands_of_pictures_are_warned_of_and_bounded(tmp_path: Path) -> None:
    put(tmp_path)
    for number in range(1, 1001):
        (tmp_path / f"{number}.png").hardlink_to(tmp_path / "0.png")
    data = settle(tmp_path, keyword="zvq")[2]
    assert "1,001 pictures are many" in said(data)
    settings = TrainSettings(images=tmp_path, keyword="zvq")
    for count in (1_000, 5_000, 50_000):
        for resolution, on_cpu in ((128, True), (512, False), (512, True)):
            decided = {each.name: each for each in derive(settings, count, resolution, on_cpu)}
            crops, steps, batch = (int(str(decided[name].value)) for name in ("crops", "steps", "batch_size"))
            assert count <= steps * batch <= max(2 * count, 6500)  # each is seen, and not for days
            assert count * (1 + crops) <= max(steps * batch, count)  # and nothing encoded that is not
    assert "hardly be seen" in decided["crops"].reason


def test_tags_that_cannot_change_anything_are_warned_of(tmp_path: Path) -> None:
    put(tmp_path, 2, "a zvq dog, sitting")
    settings, _, data = settle(tmp_path, keyword="zvq", shuffle_captions=True)
    (warning,) = remarks_on_captions(data.items(settings))
    assert "changes nothing" in warning.message
    put(tmp_path, 1, "a zvq dog, sitting, outside")
    settings, _, data = settle(tmp_path, keyword="zvq", shuffle_captions=True)
    assert not list(remarks_on_captions(data.items(settings)))
    settings, _, data = settle(tmp_path, keyword="zvq")
    assert [item.tags for item in data.items(settings)] == [None, None]
