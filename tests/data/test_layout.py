"""Data sets as other trainers lay them out."""

from pathlib import Path

import pytest
from PIL import Image

from limner.data.caption import Tags
from limner.data.dataset import DataSet, Part, Teaching, items, load
from limner.data.dataset import of_class as class_pictures
from limner.data.dataset_toml import DATASET, OWN
from limner.data.dataset_toml import SUBSET as SUBSET_NAMES
from limner.data.layout import find_dataset, left_below
from limner.errors import UserError

TEACHING = Teaching(template="{keyword} {class}", crops=3, dropout=0.05)


def put(folder: Path, *names: str, **captions: str) -> Path:
    """A folder with pictures of those names, and caption files by their names with "_" for "."."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.effect_noise((40, 40), 50).convert("RGB").save(folder / name)
    for name, text in captions.items():
        (folder / name.replace("_", ".")).write_text(text)
    return folder


def test_a_plain_folder_is_one_part(tmp_path: Path) -> None:
    put(tmp_path, "a.png")
    put(tmp_path / "others", "b.png")
    assert find_dataset(tmp_path) == DataSet(tmp_path, (Part(tmp_path),))
    assert find_dataset(tmp_path / "nowhere").parts == (Part(tmp_path / "nowhere"),)


def test_kohyas_folders_say_repeats_keyword_and_class(tmp_path: Path) -> None:
    put(tmp_path / "10_zvq dog", "a.png", "b.png", b_caption="a photo of zvq dog, sitting")
    put(tmp_path / "3_hwx  tabby cat", "a.png", a_txt="asleep")
    put(tmp_path / "0_old", "a.png")
    (tmp_path / "notes").mkdir()
    dataset = find_dataset(tmp_path)
    assert [(p.keyword, p.class_word, p.repeats, p.is_class) for p in dataset.parts] == [
        ("zvq", "dog", 10, False),
        ("hwx", "tabby cat", 3, False),
    ]
    assert "0_old is to be repeated 0 times" in dataset.warnings[0]
    taught = items(load(dataset), TEACHING)
    assert [(item.caption, item.repeats, item.crops) for item in taught] == [
        ("zvq dog", 10, 3),
        ("a photo of zvq dog, sitting", 10, 3),
        ("hwx, asleep", 3, 3),
    ]


def test_a_project_of_kohyas_gui_has_pictures_of_the_class(tmp_path: Path) -> None:
    put(tmp_path / "img" / "10_zvq dog", "a.png")
    put(tmp_path / "reg" / "1_dog", "b.png", "c.png")
    (tmp_path / "log").mkdir()
    loaded = load(find_dataset(tmp_path))
    assert [(item.caption, item.repeats) for item in items(loaded, TEACHING)] == [("zvq dog", 10)]
    assert [(each.path.name, each.caption) for each in class_pictures(loaded)] == [("b.png", "dog"), ("c.png", "dog")]


def test_pictures_beside_kohyas_folders_are_one_kind_too_many(tmp_path: Path) -> None:
    put(tmp_path, "a.png")
    put(tmp_path / "10_zvq dog", "b.png")
    dataset = find_dataset(tmp_path)
    assert [part.folder for part in dataset.parts] == [tmp_path]
    (said,) = left_below(dataset)
    assert said.startswith("1 image in a subfolder of ")
    assert "10_zvq dog" in said


def test_folders_without_repeats_leave_nothing(tmp_path: Path) -> None:
    put(tmp_path / "0_zvq dog", "a.png")
    with pytest.raises(UserError, match="0 times"):
        find_dataset(tmp_path)


FILE = """
[general]
shuffle_caption = true
caption_extension = ".txt"
keep_tokens = 2
enable_bucket = true

[[datasets]]
resolution = 512
batch_size = 4
caption_dropout_rate = 0.1

  [[datasets.subsets]]
  image_dir = "dogs"
  class_tokens = "zvq dog"
  num_repeats = 10
  flip_aug = true
  random_crop = false
  caption_prefix = "photo,"

  [[datasets.subsets]]
  image_dir = "class"
  class_tokens = "dog"
  is_reg = true
  keep_tokens = 1
  shuffle_caption = false
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "dataset.toml"
    path.write_text(text)
    return path


def test_a_data_set_file_is_understood_inner_values_first(tmp_path: Path) -> None:
    put(tmp_path / "dogs", "a.png", "b.png", a_txt="zvq dog, asleep")
    put(tmp_path / "class", "c.png")
    dataset = find_dataset(written(tmp_path, FILE))
    assert (dataset.resolution, dataset.batch_size, dataset.warnings) == (512, 4, ())
    dogs, of_class = dataset.parts
    assert (dogs.folder, dogs.keyword, dogs.class_word, dogs.repeats) == (tmp_path / "dogs", "zvq", "dog", 10)
    assert (dogs.tags, dogs.dropout, dogs.mirror, dogs.crops) == (Tags(True, 2), 0.1, True, 0)
    assert (of_class.keyword, of_class.class_word, of_class.is_class, of_class.tags) == (
        "",
        "dog",
        True,
        Tags(False, 1),
    )
    taught = items(load(dataset), TEACHING)
    assert [item.caption for item in taught] == ["photo, zvq dog, asleep", "photo, zvq dog"]
    assert [(item.crops, item.mirror, item.dropout) for item in taught] == [(0, True, 0.1)] * 2
    assert [item.tags for item in taught] == [Tags(True, 2, 0.0, "zvq")] * 2
    assert [picture.caption for picture in class_pictures(load(dataset))] == ["dog"]


def test_captions_of_sd_scripts_have_their_own_ending(tmp_path: Path) -> None:
    put(tmp_path / "dogs", "a.png", "b.png", a_caption="one", a_txt="two", b_txt="three")
    text = '[[datasets]]\n[[datasets.subsets]]\nimage_dir = "dogs"\n{}'
    for extra, captions in (("", ["one", "three"]), ('caption_extension = ".txt"', ["two", "three"])):
        (loaded,) = load(find_dataset(written(tmp_path, text.format(extra))))
        assert [picture.caption for picture in loaded.pictures] == captions


def test_masks_of_a_data_set_file(tmp_path: Path) -> None:
    put(tmp_path / "dogs", "a.png")
    put(tmp_path / "where", "a.png")
    text = '[[datasets]]\n[[datasets.subsets]]\nimage_dir = "dogs"\nconditioning_data_dir = "where"'
    ((picture,),) = (each.pictures for each in load(find_dataset(written(tmp_path, text))))
    assert picture.mask is not None
    assert picture.mask.path == tmp_path / "where" / "a.png"


def test_what_is_done_otherwise_is_named(tmp_path: Path) -> None:
    subset = '[[datasets.subsets]]\nimage_dir = "dogs"\n'
    quiet = "color_aug = false\ntoken_warmup_min = 1\nenable_bucket = true\n"
    assert not find_dataset(written(tmp_path, f"[[datasets]]\n{quiet}{subset}")).warnings
    loud = "enable_bucket = false\nface_crop_aug_range = [1.0, 2.0]\n"
    (warning,) = find_dataset(written(tmp_path, f"[[datasets]]\n{loud}{subset}color_aug = true\n")).warnings
    assert warning.endswith("color_aug, enable_bucket, face_crop_aug_range")


SUBSET = '[[datasets]]\n[[datasets.subsets]]\nimage_dir = "dogs"\n'
WRONG: dict[str, tuple[str, str]] = {
    "no TOML": ("[general", "not a TOML file"),
    "nothing": ("", "no datasets"),
    "no subsets": ("[[datasets]]\nresolution = 512", "no subsets"),
    "subsets that are no list": ("[[datasets]]\nsubsets = 3", "no subsets"),
    "a table of another name": ("[generell]\n" + SUBSET, "'general'"),
    "a misspelt setting": (SUBSET + "num_repeat = 3", "'num_repeats'"),
    "a setting of the wrong table": ("[general]\nimage_dir = 'x'\n" + SUBSET, "'image_dir'"),
    "a value of the wrong kind": (SUBSET + "num_repeats = 'ten'", "a whole number"),
    "a switch as a number": (SUBSET + "flip_aug = 1", "true or false"),
    "a share out of bounds": (SUBSET + "caption_dropout_rate = 2", "from 0 to 1"),
    "an endless share": (SUBSET + "caption_dropout_rate = nan", "from 0 to 1"),
    "no folder": ("[[datasets]]\n[[datasets.subsets]]\nnum_repeats = 2", "image_dir"),
    "fine-tuning metadata": ("[[datasets]]\n[[datasets.subsets]]\nmetadata_file = 'x.json'", "metadata_file"),
    "another separator": (SUBSET + "caption_separator = ';'", "commas"),
    "an oblong resolution": ("[[datasets]]\nresolution = [512, 768]" + SUBSET[12:], "one side"),
    "a resolution of three": ("[[datasets]]\nresolution = [1, 2, 3]" + SUBSET[12:], "number of pixels"),
    "two resolutions": (
        SUBSET.replace("]]\n", "]]\nresolution = 512\n", 1) + SUBSET.replace("]]\n", "]]\nresolution = 768\n", 1),
        "512 and 768",
    ),
    "class pictures alone": (SUBSET + "is_reg = true", "no pictures to learn from"),
    "no repeats": (SUBSET + "num_repeats = 0", "no pictures to learn from"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_data_set_file_gets_a_sentence(tmp_path: Path, name: str) -> None:
    text, said = WRONG[name]
    with pytest.raises(UserError) as told:
        find_dataset(written(tmp_path, text))
    assert said in str(told.value)
    assert "dataset.toml" in str(told.value)


def test_a_data_set_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.toml"):
        find_dataset(tmp_path / "none.toml")


@pytest.mark.parametrize("value", ["{ a = 1 }", "[1]", "'x'", "-1", "1e9", "true", "1979-05-27", "'\\u0000'"])
def test_hostile_values_end_in_a_sentence_at_worst(tmp_path: Path, value: str) -> None:
    put(tmp_path / "dogs", "a.png")
    for name in (*SUBSET_NAMES, *OWN, *DATASET, "subsets", "cache_info"):
        for text in (f"[general]\n{name} = {value}\n{SUBSET}", SUBSET + f"{name} = {value}"):
            try:
                load(find_dataset(written(tmp_path, text.replace('image_dir = "dogs"\nimage_dir', "image_dir"))))
            except UserError:
                continue
