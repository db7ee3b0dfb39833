"""What is measured of one picture, by files that Pillow, OpenCV and pillow-heif write for it."""

import io
import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pillow_heif
import pytest
from numpy.typing import NDArray
from photos import photo
from PIL import Image, ImageCms
from PIL.ExifTags import IFD

from limner.checking import features
from limner.checking.facts import Facts
from limner.checking.measure import Measure, measure
from limner.data.source import Source
from limner.vision.hashes import distance

pillow_heif.register_heif_opener()  # with which the tests write
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><exif:GPSLatitude>57,3.1N</exif:GPSLatitude></x:xmpmeta>'


def facts_of(folder: Path, image: Image.Image, suffix: str = "png", **options: Any) -> Facts:
    image.save(folder / f"a.{suffix}", **options)
    return facts_of_file(folder / f"a.{suffix}")


def facts_of_file(path: Path) -> Facts:
    facts = Measure(features=False)(Source(path.parent, path.name)).facts
    assert facts.problem == ""
    assert Facts.from_dict(json.loads(json.dumps(facts.to_dict()))) == facts
    return facts


def test_features_are_a_direction_in_int8(tmp_path: Path) -> None:
    """They agree with the evaluator's own to the rounding."""
    from limner.evaluate.features import Evaluator

    image = photo(64, 48)
    image.save(tmp_path / "a.png")
    measured = pickle.loads(pickle.dumps(Measure()))(Source(tmp_path, "a.png"))
    assert measured.features is not None
    assert measured.features.dtype == np.int8
    ours = measured.features / np.linalg.norm(measured.features.astype(float))
    assert ours @ Evaluator()([image]).pooled[0].numpy() > 0.999
    assert Measure(features=False)(Source(tmp_path, "a.png")).features is None


def test_the_network_of_features_is_made_anew_where_there_is_none_that_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rgb = np.asarray(photo(64, 48))
    known = features.features_of(rgb)
    monkeypatch.setenv("LIMNER_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "cache" / "networks"

    def again() -> NDArray[np.int8]:
        features._session.cache_clear()  # as in a new process
        return features.features_of(rgb)

    assert (features.features_of(rgb) == known).all()
    (kept,) = folder.iterdir()
    network = kept.read_bytes()
    for damaged in (b"no network", network[: len(network) // 2]):
        kept.write_bytes(damaged)
        assert (again() == known).all()
        assert kept.read_bytes() == network
    monkeypatch.setenv("LIMNER_CACHE", str(kept))  # no folder
    assert (again() == known).all()


def test_a_worker_measures_without_torch(tmp_path: Path) -> None:
    photo(64, 48).save(tmp_path / "a.png")
    measure(Source(tmp_path, "a.png"))  # what is made once is made
    code = (
        "import sys; from pathlib import Path; from limner.checking.measure import measure; "
        "from limner.data.source import Source; "
        "assert measure(Source(Path(sys.argv[1]), 'a.png')).features is not None; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)


@pytest.mark.parametrize("data", [b"no picture", b"", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n" + bytes(40)])
def test_a_file_that_is_no_picture_has_a_problem_and_no_features(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.jpg").write_bytes(data)
    measured = measure(Source(tmp_path, "a.jpg"))
    assert measured.facts.problem
    assert measured.facts.size == len(data)
    assert measured.facts.width == 0
    assert measured.features is None


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "heic", "gif", "tif"])
def test_what_is_cut_off_is_found(tmp_path: Path, suffix: str) -> None:
    photo(400, 300).save(tmp_path / f"a.{suffix}")
    data = (tmp_path / f"a.{suffix}").read_bytes()
    (tmp_path / f"a.{suffix}").write_bytes(data[: len(data) * 3 // 4])
    problem = measure(Source(tmp_path, f"a.{suffix}")).facts.problem
    assert any(word in problem for word in ("truncated", "damaged", "not an image"))


def test_other_bytes_in_the_middle_of_a_png_are_found(tmp_path: Path) -> None:
    """Also by those who asked for its EXIF first, for which Pillow reads such a file's pixels."""
    photo(400, 300).save(tmp_path / "a.png")
    data = bytearray((tmp_path / "a.png").read_bytes())
    data[len(data) // 2 : len(data) // 2 + 64] = bytes(range(64))
    (tmp_path / "a.png").write_bytes(data)
    assert "damaged" in measure(Source(tmp_path, "a.png")).facts.problem


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "HEIF", "GIF", "TIFF", "BMP"])
def test_kinds(tmp_path: Path, kind: str) -> None:
    facts = facts_of(tmp_path, photo(300, 200), {"HEIF": "heic"}.get(kind, kind.lower()))
    assert (facts.kind, facts.width, facts.height) == (kind, 300, 200)
    assert (facts.bits, facts.orientation, facts.frames, facts.transparent) == (8, 1, 1, 0)
    assert not facts.location
    assert not facts.wide


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "avif", "heic"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(tmp_path: Path, suffix: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    facts = facts_of(tmp_path, photo(100, 60), suffix, exif=exif.tobytes())
    assert (facts.width, facts.height) == ((60, 100) if orientation >= 5 else (100, 60))
    if suffix != "tif":  # Pillow takes it out of TIFF as it turns that
        assert facts.orientation == orientation


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "avif", "heic", "tif"])
def test_location_and_camera_in_exif(tmp_path: Path, suffix: str) -> None:
    place = {1: "N", 2: (57.0, 3.0, 4.0), 3: "W", 4: (4.0, 7.0, 9.0)}
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    exif.get_ifd(IFD.GPSInfo).update(place)
    options = {"tiffinfo": {0x010F: "Maker", IFD.GPSInfo: place}} if suffix == "tif" else {"exif": exif.tobytes()}
    facts = facts_of(tmp_path, photo(60, 60), suffix, **options)
    assert facts.location
    assert facts.camera


@pytest.mark.parametrize("suffix", ["jpg", "webp", "avif", "heic"])
def test_location_in_xmp(tmp_path: Path, suffix: str) -> None:
    assert facts_of(tmp_path, photo(60, 60), suffix, xmp=XMP).location
    assert not facts_of(tmp_path, photo(60, 60), suffix, xmp=XMP.replace(b"GPS", b"Dest")).location


def test_location_in_iptc(tmp_path: Path) -> None:
    def record(number: int, text: bytes) -> bytes:
        return b"\x1c\x02" + bytes([number]) + len(text).to_bytes(2, "big") + text

    said = record(90, b"Inverness") + record(101, b"Scotland")
    block = b"Photoshop 3.0\x008BIM\x04\x04\0\0" + len(said).to_bytes(4, "big") + said + bytes(len(said) % 2)
    stream = io.BytesIO()
    photo(60, 60).save(stream, "JPEG")
    data = stream.getvalue()
    segment = b"\xff\xed" + (len(block) + 2).to_bytes(2, "big") + block
    (tmp_path / "a.jpg").write_bytes(data[:2] + segment + data[2:])
    assert facts_of_file(tmp_path / "a.jpg").location


def test_frames_are_counted(tmp_path: Path) -> None:
    images = [photo(60, 60, seed) for seed in range(3)]
    for suffix in ("gif", "webp", "png", "avif", "tif"):
        assert facts_of(tmp_path, images[0], suffix, save_all=True, append_images=images[1:]).frames == 3


def test_a_phones_second_picture_in_a_jpeg_is_no_frame(tmp_path: Path) -> None:
    photo(60, 60).save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[photo(60, 60, 1)])
    facts = facts_of_file(tmp_path / "a.jpg")
    assert (facts.kind, facts.frames) == ("JPEG", 1)


@pytest.mark.parametrize("quality", [5, 20, 50, 75, 90, 95, 100])
def test_the_quality_of_a_jpeg(tmp_path: Path, quality: int) -> None:
    facts = facts_of(tmp_path, photo(200, 100), "jpg", quality=quality)
    assert facts.quality == quality
    assert facts_of(tmp_path, photo(200, 100), "png").quality is None


def test_colours(tmp_path: Path) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    facts = facts_of(tmp_path, photo(60, 60), "jpg", icc_profile=srgb)
    assert "sRGB" in facts.profile
    assert not facts.wide
    facts = facts_of(tmp_path, photo(60, 60), "jpg", icc_profile=_moved_primary(srgb))
    assert facts.wide
    facts = facts_of(tmp_path, photo(60, 60).convert("CMYK"), "jpg")
    assert (facts.mode, facts.profile) == ("CMYK", "")


def _moved_primary(srgb: bytes) -> bytes:
    """sRGB's profile with a green that is greener; the tag's three numbers are of 16.16 bits."""
    count = int.from_bytes(srgb[128:132], "big")
    tags = [srgb[132 + 12 * index : 144 + 12 * index] for index in range(count)]
    at = next(int.from_bytes(tag[4:8], "big") for tag in tags if tag[:4] == b"gXYZ")
    numbers = [round(each * 65536).to_bytes(4, "big") for each in (0.265, 0.81, 0.02)]
    return srgb[: at + 8] + b"".join(numbers) + srgb[at + 20 :]


def test_bits(tmp_path: Path) -> None:
    values = np.asarray(photo(60, 60)).astype(np.uint16) * 257
    for number, array in enumerate((values, values[..., 0])):
        path = tmp_path / f"{number}.png"
        path.write_bytes(cv2.imencode(".png", array)[1].tobytes())
        assert facts_of_file(path).bits == 16
    assert facts_of(tmp_path, Image.fromarray(values[..., 0]), "tif").bits == 16
    heif = pillow_heif.from_bytes("RGB;16", (60, 60), values.tobytes())
    heif.save(tmp_path / "a.heic")  # of 10 bits
    assert facts_of_file(tmp_path / "a.heic").bits == 10


@pytest.mark.parametrize("suffix", ["png", "webp", "heic", "tif"])
def test_transparency(tmp_path: Path, suffix: str) -> None:
    image = photo(100, 100).convert("RGBA")
    assert facts_of(tmp_path, image, suffix).transparent == 0
    image.paste((0, 0, 0, 0), (0, 0, 50, 50))
    assert facts_of(tmp_path, image, suffix).transparent == pytest.approx(0.25, abs=0.01)


def test_a_palette_with_a_transparent_colour(tmp_path: Path) -> None:
    image = Image.new("P", (100, 100), 0)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.paste(1, (0, 0, 100, 30))
    for suffix in ("gif", "png"):
        assert facts_of(tmp_path, image, suffix, transparency=1).transparent == pytest.approx(0.3)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_large_picture_is_measured_as_the_same_picture_smaller(tmp_path: Path, suffix: str) -> None:
    small = photo(1000, 750)
    large = small.resize((4000, 3000), Image.Resampling.LANCZOS)
    one, other = facts_of(tmp_path, small, "png"), facts_of(tmp_path, large, suffix, compress_level=1)
    assert (other.width, other.height) == (4000, 3000)
    assert other.sharpness > 0.8  # at the size at which it is looked at, nothing is amiss
    assert other.enlarged == 1
    assert abs(one.brightness - other.brightness) < 0.01
    assert distance(dict(one.hashes)["whole"], dict(other.hashes)["whole"]) <= 2


def test_what_is_inside_a_border_has_its_own_hash_and_place(tmp_path: Path) -> None:
    image = photo(400, 300)
    framed = Image.new("RGB", (400, 500), "black")
    framed.paste(image, (0, 100))
    plain, facts = facts_of(tmp_path, image), facts_of(tmp_path, framed)
    assert facts.border == pytest.approx((0, 0.2, 0, 0.2))
    assert distance(dict(plain.hashes)["whole"], dict(facts.hashes)["inside"]) <= 2
    assert "inside" not in dict(plain.hashes)
    assert facts.sharpness == pytest.approx(plain.sharpness, abs=0.05)
    assert plain.salient is not None
    assert facts.salient is not None
    assert facts.salient.top == pytest.approx(0.2 + 0.6 * plain.salient.top, abs=0.03)
    assert facts.salient.left == pytest.approx(plain.salient.left, abs=0.03)


def test_a_screenshot(tmp_path: Path) -> None:
    page = Image.new("RGB", (1080, 2340), "white")
    page.paste(photo(1080, 1400), (0, 320))
    assert facts_of(tmp_path, page, compress_level=1).screen
    assert facts_of(tmp_path, page, "jpg", quality=90).screen
    assert not facts_of(tmp_path, photo(1080, 2340), compress_level=1).screen
    assert not facts_of(tmp_path, page.resize((1000, 2200)), compress_level=1).screen
    exif = Image.Exif()
    exif.get_ifd(IFD.Exif)[0x9286] = b"ASCII\0\0\0Screenshot"
    assert facts_of(tmp_path, photo(200, 300), exif=exif.tobytes()).screen
