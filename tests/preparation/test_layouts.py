"""A prepared folder as each program reads it, by that program's own rules, which are written down here apart."""

import io
import json
import shutil
import struct
import tomllib
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image, ImageCms, TiffImagePlugin
from preparation.pictures import contents, photo

import limner
from limner.config import TrainSettings
from limner.data.buckets import buckets
from limner.data.dataset import load
from limner.data.layout import find_dataset
from limner.preparation.layouts import clean, names_of

SETTINGS = {"resolution": 256, "workers": 1, "keyword": "zqvx", "class_word": "dog", "most_enlargement": 8}
SIZES = {"square": (300, 300), "wide": (460, 250), "tall": (250, 400), "masked": (320, 240)}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of several shapes; all that prepare keeps of them is their pixels, and one's mask."""
    root = tmp_path_factory.mktemp("photos")
    for index, (name, size) in enumerate(SIZES.items()):
        photo(index, *size).save(root / f"{name} {index}.png")
    mask = np.zeros((240, 320), np.uint8)
    mask[60:180, 80:240] = 255
    Image.fromarray(mask).save(root / "masked 3-masklabel.png")
    (root / "tall 2.txt").write_text("a zqvx dog that stands\nand a second line")
    _with_secrets(photo(8, 320, 240), root / "secrets.jpg")
    return root


def _with_secrets(image: Image.Image, path: Path) -> None:
    """A JPEG with a place, a camera, a comment, XMP and a profile."""
    exif = Image.Exif()
    exif[0x010F] = "A camera"
    exif.get_ifd(0x8825)[2] = tuple(TiffImagePlugin.IFDRational(each, 1) for each in (51, 30, 26))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image.save(path, quality=95, exif=exif, comment=b"a secret", xmp=b"<x:xmpmeta/>", icc_profile=profile)


@pytest.fixture(scope="module")
def out(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("set") / "out"
    assert limner.prepare(images, out, **SETTINGS).kept == 5
    return out


@pytest.fixture(scope="module")
def beside(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with masks beside the pictures."""
    out = tmp_path_factory.mktemp("beside") / "out"
    limner.prepare(images, out, **SETTINGS, mask_files="beside")
    return out


class SdScripts:
    """What sd-scripts makes of a data-set file (library/config_util.py and train_util.py at 2026-11), in its working
    directory. It is started with --masked_loss or without."""

    OF_DATASETS = ("resolution", "min_bucket_reso", "max_bucket_reso", "bucket_reso_steps", "enable_bucket", "subsets")
    KINDS: ClassVar[dict[str, type]] = {"num_repeats": int, "is_reg": bool}  # all else is text
    ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp")

    def __init__(self, file: Path, masked_loss: bool) -> None:
        self.folder = file.parent
        self.found: dict[Path, dict[str, Any]] = {}
        values = tomllib.loads(file.read_text())
        assert set(values) <= {"general", "datasets"}
        for dataset in values["datasets"]:
            assert set(dataset) <= set(self.OF_DATASETS), "another name is refused"
            with_masks = all("conditioning_data_dir" in subset for subset in dataset["subsets"])
            assert masked_loss or not any("conditioning_data_dir" in subset for subset in dataset["subsets"])
            resolutions = self.resolutions(dataset)
            for subset in dataset["subsets"]:
                self._check(subset, with_masks)
                self._read(subset, resolutions)

    def _check(self, subset: dict[str, Any], with_masks: bool) -> None:
        known = {"image_dir", "num_repeats", "caption_extension"}
        known |= {"conditioning_data_dir"} if with_masks else {"class_tokens", "is_reg"}
        assert set(subset) <= known, "another name is refused"
        for name, value in subset.items():
            assert type(value) is self.KINDS.get(name, str)

    def _read(self, subset: dict[str, Any], resolutions: set[tuple[int, int]]) -> None:
        pictures = [
            path for path in sorted((self.folder / subset["image_dir"]).iterdir()) if path.suffix in self.ENDINGS
        ]
        assert pictures
        masks = self.folder / subset["conditioning_data_dir"] if "conditioning_data_dir" in subset else None
        for path in pictures:
            text = path.with_name(path.stem + subset["caption_extension"])
            caption = subset.get("class_tokens")
            if text.is_file():
                lines = text.read_text(encoding="utf-8").splitlines()
                assert lines, "an empty file stops it"
                caption = lines[0].strip()
            size = Image.open(path).size
            mask = None
            if masks is not None:
                [mask] = [each for each in masks.iterdir() if each.stem == path.stem and each.suffix in self.ENDINGS]
                assert Image.open(mask).size == size
            self.found[path] = {"caption": caption, "as_it_is": size in resolutions, "mask": mask} | subset
        if masks is not None:
            stems = {path.stem for path in pictures}
            assert all(each.stem in stems for each in masks.iterdir()), "a mask without a picture stops it"

    @staticmethod
    def resolutions(dataset: dict[str, Any]) -> set[tuple[int, int]]:
        """The sizes of its buckets (library/model_util.py, make_bucket_resolutions)."""
        assert dataset["enable_bucket"]
        side, step = dataset["resolution"], dataset["bucket_reso_steps"]
        low, high = dataset["min_bucket_reso"], dataset["max_bucket_reso"]
        found = {(side // step * step, side // step * step)}
        for width in range(low, high + 1, step):
            height = min(high, side * side // width // step * step)
            if height >= low:
                found |= {(width, height), (height, width)}
        return found


def test_sd_scripts_reads_it(out: Path) -> None:
    read = SdScripts(out / "dataset.toml", masked_loss=False).found
    assert [path.name for path in read] == [
        "0001-masked-3.png", "0002-secrets.png", "0003-square-0.png", "0004-tall-2.png", "0005-wide-1.png",
    ]  # fmt: skip
    assert [each["caption"] for each in read.values()] == ["zqvx dog"] * 3 + [
        "a zqvx dog that stands and a second line", "zqvx dog",
    ]  # fmt: skip
    assert all(each["as_it_is"] for each in read.values())
    assert {each["class_tokens"] for each in read.values()} == {"zqvx dog"}


def test_sd_scripts_reads_masks(out: Path) -> None:
    with pytest.raises(AssertionError):  # it needs to be told, else it refuses the file
        SdScripts(out / "dataset-masked.toml", masked_loss=False)
    read = SdScripts(out / "dataset-masked.toml", masked_loss=True).found
    assert [path.name for path in read] == [f"{path.name}" for path in sorted((out / "images").glob("*.png"))]
    first, *others = read.values()
    assert Image.open(first["mask"]).getextrema() == (0, 255)
    assert {Image.open(each["mask"]).getextrema() for each in others} == {(255, 255)}


@pytest.mark.parametrize("resolution", [128, 512, 768, 1024])
@pytest.mark.parametrize("step", [None, 32, 64])
@pytest.mark.parametrize("count", [None, 5])
def test_every_bucket_is_one_of_sd_scripts_too(resolution: int, step: int | None, count: int | None) -> None:
    from limner.preparation.layouts import Layout, dataset_toml

    sizes = buckets(resolution, step, count)
    [dataset] = tomllib.loads(dataset_toml(Layout("k", "c", 1, resolution, sizes, step)))["datasets"]
    assert set(sizes) <= SdScripts.resolutions(dataset)


class OneTrainer:
    """What OneTrainer makes of a concept's folder (DataLoaderText2ImageMixin and mgds' CollectPaths at 2026-11), with
    masked training or without."""

    ENDINGS = (".bmp", ".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".avif")

    def __init__(self, folder: Path) -> None:
        files = [path for path in sorted(folder.iterdir()) if path.is_file() and path.suffix.lower() in self.ENDINGS]
        self.pictures = [path for path in files if not path.stem.endswith(("-masklabel", "-condlabel"))]
        self.captions = [path.with_suffix(".txt").read_text().splitlines() for path in self.pictures]
        self.masks = [path.with_name(path.stem + "-masklabel.png") for path in self.pictures]


def test_onetrainer_reads_it(out: Path, beside: Path) -> None:
    for folder in (out, beside):
        read = OneTrainer(folder / "images")
        assert len(read.pictures) == 5
        assert all(len(lines) == 1 for lines in read.captions), "each line would be a caption of its own"
    read = OneTrainer(beside / "images")
    for picture, mask in zip(read.pictures, read.masks, strict=True):
        assert Image.open(picture).size == Image.open(mask).size
    assert not (beside / "dataset-masked.toml").exists()


def test_datasets_reads_it(out: Path, beside: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="`datasets` is not installed")
    for folder in (out, beside):
        rows = datasets.load_dataset(
            "imagefolder", data_dir=str(folder / "images"), split="train", cache_dir=str(tmp_path)
        )
        assert rows.column_names == ["image", "text"]
        read = {Path(row["image"].filename).name: row for row in rows}
        assert list(read) == sorted(read)
        assert len(read) == 5
        for name, row in read.items():
            assert row["text"] == (folder / "images" / name).with_suffix(".txt").read_text().strip()
            assert row["image"].size == Image.open(folder / "images" / name).size


def test_limner_reads_it(out: Path, beside: Path) -> None:
    for folder in (out, beside):
        dataset = find_dataset(folder)
        assert dataset.warnings == ()
        assert dataset.resolution == 256
        [loaded] = load(dataset)
        assert loaded.skipped == []
        assert (loaded.part.keyword, loaded.part.class_word) == ("zqvx", "dog")
        assert len(loaded.pictures) == 5
        masked = {picture.path.name for picture in loaded.pictures if picture.mask}
        assert "0001-masked-3.png" in masked
        assert TrainSettings.read({"images": folder}, "the test").images == folder


@pytest.mark.parametrize(("format", "ending"), [("png", ".png"), ("webp", ".webp"), ("jpeg", ".jpg")])
def test_nothing_of_the_source_is_written_but_its_pixels(
    format: str, ending: str, images: Path, out: Path, tmp_path: Path
) -> None:
    limner.prepare(images, tmp_path / "out", **SETTINGS, format=format)
    for path in (tmp_path / "out" / "images").glob("*" + ending):
        data = path.read_bytes()
        assert b"secret" not in data
        assert b"camera" not in data
        assert _parts(data) <= {"IHDR", "IDAT", "IEND", "VP8L", "JFIF"}
        image = Image.open(path)
        assert image.mode == "RGB"
        first = np.asarray(Image.open(out / "images" / path.with_suffix(".png").name), np.int16)
        assert np.abs(np.asarray(image, np.int16) - first).max() <= (40 if format == "jpeg" else 0)
    for name, data in contents(tmp_path / "out", but=()).items():
        assert b"a secret" not in data, name


def _parts(data: bytes) -> set[str]:
    """The kinds of what a file holds: chunks of PNG and WebP, application segments and comments of JPEG."""
    found, stream = set(), io.BytesIO(data)
    if data.startswith(b"\x89PNG"):
        stream.seek(8)
        while head := stream.read(8):
            length, kind = struct.unpack(">I4s", head)
            found.add(kind.decode())
            stream.seek(length + 4, io.SEEK_CUR)
    elif data.startswith(b"RIFF"):
        stream.seek(12)
        while head := stream.read(8):
            kind, length = struct.unpack("<4sI", head)
            found.add(kind.decode())
            stream.seek(length + length % 2, io.SEEK_CUR)
    else:
        stream.seek(2)
        while (marker := stream.read(2)) != b"\xff\xda":
            (length,) = struct.unpack(">H", stream.read(2))
            body = stream.read(length - 2)
            if marker[1] == 0xFE or 0xE0 <= marker[1] <= 0xEF:
                found.add("comment" if marker[1] == 0xFE else body[:4].decode("latin-1"))
    return found


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("IMG_1234", "0007-IMG-1234"),
        ("Ünïcode näme", "0007-Unicode-name"),
        ("猫", "0007"),
        ("a.b..c  (1)", "0007-a-b-c-1"),
        ("cat-masklabel", "0007-cat"),
        ("cat.mask", "0007-cat"),
        ("-", "0007"),
        ("x" * 300, "0007-" + "x" * 48),
        ("..", "0007"),
    ],
)
def test_names(name: str, stem: str) -> None:
    assert Path(names_of(7, f"folder/{name}.jpg", "png", False).image).stem == stem
    assert clean(clean(name)) == clean(name)


def test_a_keyword_of_two_words_is_left_to_the_person(images: Path, tmp_path: Path) -> None:
    limner.prepare(images, tmp_path / "out", **SETTINGS | {"keyword": "my dog"})
    assert "class_tokens" not in (tmp_path / "out" / "dataset.toml").read_text()
    assert (
        json.loads((tmp_path / "out" / "images" / "metadata.jsonl").read_text().splitlines()[0])["text"] == "my dog dog"
    )


def test_a_white_mask_is_there_to_be_painted_on(images: Path, tmp_path: Path) -> None:
    source, out = tmp_path / "photos", tmp_path / "out"
    shutil.copytree(images, source)
    limner.prepare(source, out, **SETTINGS)
    masks = sorted((out / "images" / "masks").iterdir())
    assert len(masks) == 5
    (source / "masked 3-masklabel.png").unlink()
    limner.prepare(source, out, **SETTINGS)
    assert not (out / "images" / "masks").exists()
    assert not (out / "dataset-masked.toml").exists()
    photo(3, 320, 240).convert("L").save(source / "masked 3-masklabel.png")
    limner.prepare(source, out, **SETTINGS)
    Image.new("L", Image.open(masks[1]).size, 128).save(masks[1])
    (source / "masked 3-masklabel.png").unlink()
    made = limner.prepare(source, out, **SETTINGS)
    assert Image.open(masks[1]).getextrema() == (128, 128)
    assert made.masks == 1
