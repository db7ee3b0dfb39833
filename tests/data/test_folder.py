"""Real and hostile files: what is used, what is skipped, and why."""

import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageCms

from limner.data.colour import is_srgb
from limner.data.decode import check, decode
from limner.data.folder import load_folder
from limner.errors import UserError

pillow_heif.register_heif_opener()  # with which the tests write


def photo(width: int = 60, height: int = 40) -> Image.Image:
    """Left half red, right half blue, a green band along the top: turns and mirrors show."""
    image = Image.new("RGB", (width, height), (200, 30, 30))
    image.paste((30, 30, 200), (width // 2, 0, width, height))
    image.paste((30, 200, 30), (0, 0, width, height // 4))
    return image


def near(image: Image.Image, xy: tuple[int, int], colour: tuple[int, int, int], tolerance: int = 12) -> bool:
    return bool(np.abs(np.subtract(image.getpixel(xy), colour, dtype=int)).max() <= tolerance)


def only(folder: Path) -> Image.Image:
    loaded = load_folder(folder)
    assert [(s.path.name, s.reason) for s in loaded.skipped] == []
    (picture,) = loaded.pictures
    image = picture.open()
    assert image.mode == "RGB"
    assert image.size == (picture.width, picture.height)
    return image


def reasons(folder: Path) -> dict[str, str]:
    photo().save(folder / "zz_good.png")
    loaded = load_folder(folder)
    assert [picture.path.name for picture in loaded.pictures] == ["zz_good.png"]
    return {skipped.path.name: skipped.reason for skipped in loaded.skipped}


def png(width: int, height: int, rows: bytes) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "avif", "heic", "bmp", "tif", "gif", "JPG", "jpeg"])
def test_formats(tmp_path: Path, suffix: str) -> None:
    photo().save(tmp_path / f"a.{suffix}")
    image = only(tmp_path)
    assert image.size == (60, 40)
    # GIF's palette and chroma subsampling cost some exactness
    assert near(image, (8, 30), (200, 30, 30), 25)
    assert near(image, (52, 30), (30, 30, 200), 25)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "avif", "heic"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(tmp_path: Path, suffix: str, orientation: int) -> None:
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = photo() if orientation == 1 else photo().transpose(undo[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / f"a.{suffix}", exif=exif.tobytes())
    image = only(tmp_path)
    assert image.size == (60, 40)
    assert near(image, (8, 30), (200, 30, 30), 25)
    assert near(image, (52, 30), (30, 30, 200), 25)
    assert near(image, (30, 3), (30, 200, 30), 25)


def test_damaged_exif_costs_only_the_turn(tmp_path: Path) -> None:
    photo().save(tmp_path / "a.jpg", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert only(tmp_path).size == (60, 40)


def test_alpha_is_flattened_on_white(tmp_path: Path) -> None:
    image = photo().convert("RGBA")
    image.putalpha(0)
    image.paste((0, 0, 0, 128), (0, 0, 30, 40))
    image.save(tmp_path / "a.png")
    flat = only(tmp_path)
    assert flat.getpixel((50, 20)) == (255, 255, 255)
    assert near(flat, (10, 20), (127, 127, 127), 1)


def test_palette_with_a_transparent_colour(tmp_path: Path) -> None:
    image = photo().convert("P", palette=Image.Palette.ADAPTIVE, colors=4)
    image.save(tmp_path / "a.gif", transparency=image.getpixel((8, 30)))
    flat = only(tmp_path)
    assert flat.getpixel((8, 30)) == (255, 255, 255)
    assert near(flat, (52, 30), (30, 30, 200), 25)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "I;16", "CMYK", "F"])
def test_modes(tmp_path: Path, mode: str) -> None:
    ramp = np.repeat(np.linspace(0, 1, 64, dtype=np.float32)[None], 32, axis=0)
    if mode == "I;16":
        image = Image.fromarray((ramp * 65535).astype(np.uint16))
    elif mode == "F":
        image = Image.fromarray(ramp)
    else:
        image = Image.fromarray((ramp * 255).astype(np.uint8)).convert("RGB" if mode == "CMYK" else "L").convert(mode)
    image.save(tmp_path / ("a.tif" if mode in ("F", "CMYK") else "a.png"))
    grey = np.asarray(only(tmp_path), dtype=int)
    assert near(Image.fromarray(grey.astype(np.uint8)), (0, 16), (0, 0, 0), 3)
    assert near(Image.fromarray(grey.astype(np.uint8)), (63, 16), (255, 255, 255), 3)
    if mode != "1":
        assert np.abs(grey[16, :, 0] - np.linspace(0, 255, 64)).max() <= 4


def test_sixteen_bit_colour_tiff_is_scaled_not_clipped(tmp_path: Path) -> None:
    values = np.full((32, 32, 3), 32768, dtype=np.uint16)
    entries = [
        (256, 3, 32), (257, 3, 32), (258, 3, 16), (259, 3, 1), (262, 3, 2),
        (273, 4, 8), (277, 3, 3), (278, 3, 32), (279, 4, values.nbytes),
    ]  # fmt: skip
    bits_at = 8 + values.nbytes
    directory = struct.pack("<H", len(entries))
    for tag, kind, value in entries:
        count, value = (3, bits_at) if tag == 258 else (1, value)
        directory += struct.pack("<HHII", tag, kind, count, value)
    data = b"II*\0" + struct.pack("<I", bits_at + 6) + values.tobytes() + struct.pack("<3H", 16, 16, 16)
    (tmp_path / "a.tif").write_bytes(data + directory + b"\0\0\0\0")
    assert near(only(tmp_path), (5, 5), (128, 128, 128), 1)


def test_an_srgb_profile_changes_nothing(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    photo().save(tmp_path / "a.png", icc_profile=profile)
    assert near(only(tmp_path), (8, 30), (200, 30, 30), 1)
    assert is_srgb(decode((tmp_path / "a.png").read_bytes()))


def test_another_profile_is_converted(tmp_path: Path) -> None:
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    # Swap the red and blue primaries: pure red of this profile is sRGB's blue.
    count = struct.unpack(">I", profile[128:132])[0]
    tags = {bytes(profile[at : at + 4]): at for at in range(132, 132 + 12 * count, 12)}
    red, blue = tags[b"rXYZ"], tags[b"bXYZ"]
    profile[red + 4 : red + 12], profile[blue + 4 : blue + 12] = (
        profile[blue + 4 : blue + 12],
        profile[red + 4 : red + 12],
    )
    photo().save(tmp_path / "a.png", icc_profile=bytes(profile))
    assert near(only(tmp_path), (8, 30), (30, 30, 200), 3)
    assert not is_srgb(decode((tmp_path / "a.png").read_bytes()))


@pytest.mark.parametrize(("mode", "already"), [("RGB", True), ("RGBA", False), ("L", False), ("CMYK", False)])
def test_what_is_plain_already(tmp_path: Path, mode: str, already: bool) -> None:
    photo().convert(mode).save(tmp_path / "a.tif")
    assert is_srgb(decode((tmp_path / "a.tif").read_bytes())) is already


@pytest.mark.parametrize("profile", [b"nonsense", b"", "lab"])
def test_unfit_profile_is_ignored(tmp_path: Path, profile: bytes | str) -> None:
    if profile == "lab":
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    photo().save(tmp_path / "a.png", icc_profile=profile)
    assert near(only(tmp_path), (8, 30), (200, 30, 30), 1)


def test_gif_gives_its_first_frame(tmp_path: Path) -> None:
    photo().save(tmp_path / "a.gif", save_all=True, append_images=[Image.new("RGB", (60, 40), "black")])
    assert near(only(tmp_path), (8, 30), (200, 30, 30), 25)


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "a_text.png").write_text("hello, I am no picture")
    (tmp_path / "b_empty.jpg").touch()
    for suffix in ("jpg", "png", "bmp", "tif", "webp", "gif", "heic"):
        buffer = io.BytesIO()
        Image.effect_noise((90, 90), 60).convert("RGB").save(buffer, Image.registered_extensions()[f".{suffix}"])
        data = buffer.getvalue()
        (tmp_path / f"c_cut.{suffix}").write_bytes(data[: len(data) // 2])
    photo(1, 1).save(tmp_path / "d_dot.png")
    (tmp_path / "e_link.png").symlink_to(tmp_path / "nowhere.png")
    os.mkfifo(tmp_path / "f_pipe.png")
    (tmp_path / "g_phone.HEIC").write_bytes(b"....ftypheic")
    (tmp_path / "g_raw.CR2").write_bytes(b"II*")
    (tmp_path / "h_script.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n")
    found = reasons(tmp_path)
    assert "not an image" in found["a_text.png"]
    assert "empty" in found["b_empty.jpg"]
    assert all(any(word in found[f"c_cut.{s}"] for word in ("truncated", "damaged", "not an image"))
               for s in ("jpg", "png", "bmp", "tif", "webp", "gif", "heic")), found  # fmt: skip
    assert "truncated" in found["c_cut.jpg"]
    assert "1x1" in found["d_dot.png"]
    assert "regular file" in found["e_link.png"]
    assert "regular file" in found["f_pipe.png"]
    assert "not an image" in found["g_phone.HEIC"]
    assert "export it as JPEG" in found["g_raw.CR2"]
    assert "not an image" in found["h_script.png"]


def test_a_png_with_other_bytes_amid_its_pixels_is_damaged(tmp_path: Path) -> None:
    noise = Image.effect_noise((300, 300), 90)
    noise.save(tmp_path / "a.png")
    noise.save(tmp_path / "b.png")
    data = bytearray((tmp_path / "b.png").read_bytes())
    data[len(data) // 2 : len(data) // 2 + 200] = bytes(range(200))
    (tmp_path / "b.png").write_bytes(data)
    loaded = load_folder(tmp_path)
    assert [picture.path.name for picture in loaded.pictures] == ["a.png"]
    assert "damaged" in loaded.skipped[0].reason


def test_a_truncated_jpeg_by_any_length_is_found(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.effect_noise((64, 64), 60).convert("RGB").save(buffer, "jpeg", progressive=True)
    data = buffer.getvalue()
    for number, share in enumerate((0.01, 0.1, 0.3, 0.6, 0.9)):
        (tmp_path / f"{number}.jpg").write_bytes(data[: int(len(data) * share)])
    assert len(reasons(tmp_path)) == 5


def test_enormous_images_are_refused_in_little_memory(tmp_path: Path) -> None:
    rows = zlib.compressobj(9)
    body = b"".join(rows.compress(bytes(90_001)) for _ in range(3000)) + rows.flush()
    (tmp_path / "bomb.png").write_bytes(png(30_000, 30_000, body))
    (tmp_path / "large.png").write_bytes(png(10_000, 10_000, b""))
    (tmp_path / "bomb.gif").write_bytes(b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\x02\0;")
    lossless = b"\x2f" + struct.pack("<I", 16382 | 16382 << 14) + bytes(20)
    riff = b"WEBPVP8L" + struct.pack("<I", len(lossless)) + lossless + b"\0"
    (tmp_path / "bomb.webp").write_bytes(b"RIFF" + struct.pack("<I", len(riff)) + riff)
    photo().save(tmp_path / "good.png")
    script = """
import resource, sys
from pathlib import Path
from limner.data.folder import load_folder
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1 if sys.platform == "darwin" else 1024)
before = peak()
for skipped in load_folder(Path(sys.argv[1])).skipped:
    print(skipped.path.name, skipped.reason)
print(peak() - before)
"""
    done = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=True)
    *lines, megabytes = done.stdout.splitlines()
    found = dict(line.split(" ", 1) for line in lines)
    assert set(found) == {"bomb.png", "large.png", "bomb.gif", "bomb.webp"}
    assert "too many pixels" in found["bomb.png"]
    assert "10000x10000" in found["large.png"]
    assert int(megabytes) < 150
    assert done.stderr == ""


def test_hidden_files_other_files_and_subfolders_are_passed_over(tmp_path: Path) -> None:
    photo().save(tmp_path / "b.png")
    photo(50, 50).save(tmp_path / "A.png")
    (tmp_path / "._b.png").write_bytes(b"resource fork")
    (tmp_path / ".hidden.png").write_bytes(b"?")
    (tmp_path / "notes.json").write_text("{}")
    (tmp_path / "sub.png").mkdir()
    photo().save(tmp_path / "sub.png" / "c.png")
    loaded = load_folder(tmp_path)
    assert [picture.path.name for picture in loaded.pictures] == ["A.png", "b.png"]
    assert loaded.skipped == []


def test_captions_beside_pictures(tmp_path: Path) -> None:
    texts = {
        "a": b"a fox,\n  on a hill \n",
        "b": "\ufeffein Fuchs".encode(),
        "c": "un renard rusé".encode("utf-16"),
        "d": b"  \n",
        "f": "caf\xe9".encode("latin-1"),
        "g": b"x" * 100_000,
        "h": "犬の写真、青い空".encode("shift-jis"),
    }
    for name in [*texts, "e"]:
        photo().save(tmp_path / f"{name}.jpg")
    for name, text in texts.items():
        (tmp_path / f"{name}.txt").write_bytes(text)
    loaded = load_folder(tmp_path)
    assert {picture.path.stem: picture.caption for picture in loaded.pictures} == {
        "a": "a fox, on a hill",
        "b": "ein Fuchs",
        "c": "un renard rusé",
        "d": None,
        "e": None,
        "f": "café",
    }
    assert {s.path.name for s in loaded.skipped} == {"g.jpg", "h.jpg"}
    assert "h.txt that is not text in UTF-8" in loaded.skipped[1].reason


def test_no_folder_no_pictures_none_left(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no folder .*nowhere"):
        load_folder(tmp_path / "nowhere")
    with pytest.raises(UserError, match="no images in"):
        load_folder(tmp_path)
    (tmp_path / "a.png").write_text("text")
    with pytest.raises(UserError, match=r"a\.png is not an image"):
        load_folder(tmp_path)
    with pytest.raises(UserError, match="is a file"):
        load_folder(tmp_path / "a.png")


def test_a_picture_that_changes_after_the_check_is_not_opened(tmp_path: Path) -> None:
    photo().save(tmp_path / "a.png")
    (picture,) = load_folder(tmp_path).pictures
    photo(80, 80).save(tmp_path / "a.png")
    with pytest.raises(UserError, match="changed while"):
        picture.open()
    picture.path.unlink()
    with pytest.raises(UserError, match="cannot read"):
        picture.open()


def test_a_jpeg_that_was_made_in_full_size_but_not_filled_is_truncated(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.effect_noise((200, 200), 60).convert("RGB").save(buffer, "jpeg")
    data = buffer.getvalue()
    (tmp_path / "a.jpg").write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))
    (tmp_path / "b.jpg").write_bytes(data + bytes(5000))
    loaded = load_folder(tmp_path)
    assert [picture.path.name for picture in loaded.pictures] == ["b.jpg"]
    assert "truncated" in loaded.skipped[0].reason


def test_a_large_jpeg_is_decoded_smaller_and_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    photo(1600, 1200).transpose(Image.Transpose.ROTATE_90).save(buffer, "jpeg", exif=exif)
    assert check(buffer.getvalue()) == (1600, 1200)
    image = decode(buffer.getvalue(), at_least=300)
    assert image.size == (400, 300)
    assert near(image, (50, 200), (200, 30, 30))
    assert near(image, (350, 200), (30, 30, 200))
    cut = buffer.getvalue()[:-2000]
    with pytest.raises(OSError, match="truncated"):
        decode(cut, at_least=300)


def test_a_phone_photo_of_108_megapixels_is_read_at_half_its_sides(tmp_path: Path) -> None:
    image = Image.new("L", (12_000, 9_001), 40)
    image.paste(220, (6_000, 0, 12_000, 9_001))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "phone.jpg", exif=exif.tobytes())
    (picture,) = load_folder(tmp_path).pictures
    assert (picture.width, picture.height) == (4_501, 6_000)
    small = decode(picture.path.read_bytes(), at_least=600)
    assert min(small.size) < 1200
    assert small.getpixel((10, 10)) < 60
    assert small.getpixel((10, small.height - 10)) > 200
    image.save(tmp_path / "progressive.jpg", progressive=True)
    (skipped,) = load_folder(tmp_path).skipped
    assert "too many pixels (12000x9001)" in skipped.reason
