"""Whole trainings on data sets of other trainers' layouts, with masks, mirroring and captions that change."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from limner import run
from limner.cli import main
from limner.config import ResumeSettings, TrainSettings
from limner.data.layout import find_dataset
from limner.errors import UserError
from limner.events import Event, Exported, Prepared, Started, Step, Warned
from limner.formats import inspect
from limner.run.data import choose_resolution, complete, load_data


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LIMNER_MODELS", raising=False)


@pytest.fixture
def values(tmp_path: Path, tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Settings of a short training on two of kohya's folders, whose pictures have masks."""
    for name, count in (("3_zqvx dog", 2), ("1_hwrk cat", 1)):
        folder = tmp_path / "photos" / name
        folder.mkdir(parents=True)
        for index in range(count):
            Image.effect_noise((90, 70), 60 + index).convert("RGB").save(folder / f"{index}.png")
            Image.new("L", (90, 70), 0 if index else 200).save(folder / f"{index}.mask.png")
            mask = Image.new("L", (90, 70))
            mask.paste(255, (0, 0, 45, 70))
            mask.save(folder / f"{index}.mask.png")
    (tmp_path / "photos" / "3_zqvx dog" / "0.txt").write_text("zqvx dog, sitting, outside, at night")
    return {
        "images": tmp_path / "photos",
        "base": str(tiny_folder),
        "cache": tmp_path_factory.getbasetemp() / "cache-of-datasets",
        "steps": 4,
        "batch_size": 2,
        "crops": 0,
        "previews": 0,
        "save_every": 2,
        "precision": "fp32",
        "device": "cpu",
        "mirror": True,
        "shuffle_captions": True,
    }


def begin(values: dict[str, Any], **changes: Any) -> Any:
    return run.train(TrainSettings.read(values | changes, "test"), {"lora": {"rank": 2}})


def only(events: list[Event], kind: type) -> Any:
    (found,) = [event for event in events if isinstance(event, kind)]
    return found


def test_kohyas_folders_stopped_and_resumed_are_learned_as_they_are(values: dict[str, Any]) -> None:
    whole = list(begin(values, out="whole.safetensors"))
    assert not [event for event in whole if isinstance(event, Warned)]
    encoded = [event for event in whole if isinstance(event, Prepared) and event.what == "encoding pictures"]
    assert [(event.done, event.total) for event in encoded] == [(done, 6) for done in range(1, 7)]
    exported = only(whole, Exported)
    card = inspect(exported.path).run_card
    assert card is not None
    assert (card["settings"]["keyword"], card["settings"]["class"]) == ("zqvx", "dog")
    assert card["settings"]["mask_background"] == 0.1
    record = json.loads((only(whole, Started).folder / "record.json").read_text())
    assert [(each["file"], each["repeats"]) for each in record["sources"]] == [
        ("1_hwrk cat/0.png", 1),
        ("3_zqvx dog/0.png", 3),
        ("3_zqvx dog/1.png", 3),
    ]
    assert all(each["mask"] for each in record["sources"])
    broken = begin(values, out="broken.safetensors")
    folder = Path()
    for event in broken:
        folder = event.folder if isinstance(event, Started) else folder
        if isinstance(event, Step) and event.step == 2:
            break
    broken.close()
    renamed = values["images"] / "5_zqvx dog"
    (values["images"] / "3_zqvx dog").rename(renamed)
    with pytest.raises(UserError, match=r"changed since"):
        list(run.resume(ResumeSettings(run=folder)))
    renamed.rename(values["images"] / "3_zqvx dog")
    resumed = only(list(run.resume(ResumeSettings(run=folder))), Exported).path
    assert resumed.read_bytes()[-2000:] == exported.path.read_bytes()[-2000:]


def test_masks_mirrors_tags_and_repeats_change_what_is_learned(values: dict[str, Any]) -> None:
    (values["images"] / "1_hwrk cat").rename(values["images"].parent / "away")

    def losses(**changes: Any) -> list[float]:
        events = begin(values, steps=2, overwrite=True, run=None, **changes)
        found = [event.loss for event in events if isinstance(event, Step)]
        for folder in Path("runs").iterdir():
            folder.rename(Path(f"run-of-{len(list(Path().iterdir()))}"))
        return found

    plain = losses(shuffle_captions=False, mirror=False, mask_background=1.0)
    assert losses(shuffle_captions=False, mirror=False, mask_background=0.0) != plain
    assert losses(shuffle_captions=False, mirror=True, mask_background=1.0) != plain
    assert losses(tag_dropout=0.5, mirror=False, mask_background=1.0, keep_tags=0) != plain


def test_a_data_set_file_on_the_command_line(values: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    path = Path("dataset.toml")
    path.write_text(
        "[[datasets]]\nresolution = 64\nbatch_size = 2\ncolor_aug = true\n"
        "[[datasets.subsets]]\nimage_dir = 'photos/3_zqvx dog'\nclass_tokens = 'zqvx dog'\nnum_repeats = 2\n"
    )
    flat = ["--base", values["base"], "--cache", str(values["cache"]), "--precision", "fp32", "--device", "cpu"]
    command = ["train", str(path), *flat, "--steps", "1", "--crops", "0", "--previews", "0", "--rank", "2"]
    assert main([*command, "--json"]) == 0
    told = capsys.readouterr()
    result = json.loads(told.out.splitlines()[-1])
    assert Path(result["file"]).name == "zqvx.safetensors"
    assert {"keyword": "zqvx", "class": "dog", "resolution": 64, "batch_size": 2}.items() <= result["chosen"].items()
    assert "dataset.toml says so" in told.err
    assert any("color_aug" in warning for warning in result["warnings"])
    path.write_text(path.read_text().replace("num_repeats", "num_repeat"))
    assert main(command) == 2
    told = capsys.readouterr()
    assert "unknown setting 'num_repeat'" in told.err
    assert [line.startswith("limner: ") for line in told.err.splitlines()] == [False, True]  # after what is opened


def test_a_project_of_kohyas_gui_shows_the_class_too(values: dict[str, Any]) -> None:
    values["images"].rename("img")
    Path("photos").mkdir()
    Path("img").rename("photos/img")
    Path("photos/img/1_hwrk cat").rename("away")
    of_class = Path("photos/reg/1_dog")
    of_class.mkdir(parents=True)
    for index in range(2):
        Image.effect_noise((90, 70), 80 + index).convert("RGB").save(of_class / f"{index}.png")
    events = begin(values, steps=2)
    folder = Path()
    for event in events:
        folder = event.folder if isinstance(event, Started) else folder
        if isinstance(event, Step):
            break
    events.close()
    record = json.loads((folder / "record.json").read_text())
    assert [each["file"] for each in record["class_sources"]] == ["reg/1_dog/0.png", "reg/1_dog/1.png"]
    assert [each["caption"] for each in record["class_sources"]] == ["dog", "dog"]
    (of_class / "2.png").write_bytes((of_class / "0.png").read_bytes() + b"other")
    (of_class / "0.png").unlink()
    with pytest.raises(UserError, match=r"photos/reg/1_dog/0\.png"):
        list(run.resume(ResumeSettings(run=folder)))
    (of_class / "2.png").unlink()
    Image.effect_noise((90, 70), 80).convert("RGB").save(of_class / "0.png")
    card = inspect(only(list(begin(values, steps=1, overwrite=True)), Exported).path).run_card
    assert card is not None
    assert card["settings"]["prior"] == "images"
    assert len(card["class_images_sha256"]) == 2


@pytest.mark.parametrize(("said", "taken"), [(96, 96), (512, 64)])
def test_pictures_made_for_a_far_larger_base_are_scaled_down(values: dict[str, Any], said: int, taken: int) -> None:
    path = Path("dataset.toml")
    path.write_text(f"[[datasets]]\nresolution = {said}\n[[datasets.subsets]]\nimage_dir = 'photos/3_zqvx dog'\n")
    settings = TrainSettings.read({"images": path, "keyword": "zqvx", "base": values["base"]}, "test")
    settings, chosen = complete(settings, find_dataset(path))
    sized, warned = choose_resolution(settings, load_data(settings, find_dataset(path)), 64)
    (resolution,) = (each for each in [*chosen, *sized] if each.name == "resolution")
    assert resolution.value == taken
    assert ("the data set's 512 is far from it" in resolution.reason) == (taken == 64)
    assert [f"{said} pixels" in each.message for each in warned] == [True]
