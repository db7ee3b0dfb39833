"""What a picture, a run's folder and a model's folder are, and that nothing in them acts on who looks."""

import json
import re
from pathlib import Path

import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from safetensors.torch import save_file

import limner
from limner.cli import main
from limner.errors import UserError
from limner.infotext import read_picture
from limner.inspection import examine
from limner.used import Used

TEXT = (
    "a cat <lora:zq-vx:0.8:0.5>, <lora:other> <hypernet:x:1>\nNegative prompt: blurry\nSteps: 20, Sampler: Euler a, "
    'CFG scale: 7, Seed: 5, Size: 64x32, Model hash: 6ce0161689, Model: v1-5, Lora hashes: "zq-vx: 0123456789ab, '
    'gone: ba9876543210", TI hashes: "zqvx: aaaaaaaaaaaa"'
)


def picture(path: Path, text: str, format: str = "PNG", encoding: str = "utf-16-be") -> Path:
    """A picture with its text where the webuis have it in this format."""
    image = Image.new("RGB", (64, 32), "red")
    if format == "PNG":
        chunks = PngInfo()
        chunks.add_text("parameters", text)
        image.save(path, format, pnginfo=chunks)
    else:
        exif = Image.Exif()
        mark = {"utf-16-be": b"UNICODE\0", "utf-16-le": b"UNICODE\0", "ascii": b"ASCII\0\0\0", "utf-8": bytes(8)}
        exif.get_ifd(0x8769)[0x9286] = mark[encoding] + text.encode(encoding)
        image.save(path, format, exif=exif)
    return path


@pytest.mark.parametrize(
    ("format", "encoding"),
    [("PNG", ""), ("JPEG", "utf-16-be"), ("JPEG", "utf-16-le"), ("JPEG", "ascii"), ("WEBP", "utf-8")],
)  # fmt: skip
def test_a_picture_in_fields(tmp_path: Path, format: str, encoding: str) -> None:
    text = TEXT if encoding == "ascii" else TEXT.replace("a cat", "a cat 喵")
    facts = limner.inspect(picture(tmp_path / "x", text, format, encoding))
    assert (facts.kind, facts.format, facts.width, facts.height, facts.says) == ("picture", format, 64, 32, True)
    assert (facts.prompt, facts.negative_prompt) == (text.split("\n")[0], "blurry")
    assert facts.model == Used("v1-5", "6ce0161689")
    assert facts.loras == (
        Used("zq-vx", "0123456789ab", 0.8, 0.5), Used("other", "", 1.0, 1.0), Used("gone", "ba9876543210"),
    )  # fmt: skip
    assert facts.embeddings == (Used("zqvx", "aaaaaaaaaaaa"),)
    assert facts.settings["Seed"] == "5"
    json.dumps(facts.as_dict())


def test_civitais_hashes(tmp_path: Path) -> None:
    hashes = '{"model": "6ce0161689", "lora:art": "0123456789", "embed:zq": "ab", "vae": "cd"}'
    text = f"a <lora:art:1>\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 1, Hashes: {hashes}, Version: v1.10.1"
    facts = examine(picture(tmp_path / "x.png", text))
    assert facts.settings["Version"] == "v1.10.1"
    assert facts.model == Used("", "6ce0161689")
    assert facts.loras == (Used("art", "0123456789", 1.0, 1.0),)
    assert facts.embeddings == (Used("zq", "ab"),)
    assert set(facts.settings) == {"Steps", "Sampler", "CFG scale", "Seed", "Hashes", "Version"}


def test_pictures_that_say_nothing_and_files_that_are_none(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "bare.gif")
    assert not examine(tmp_path / "bare.gif").says
    (tmp_path / "cut.png").write_bytes(picture(tmp_path / "whole.png", TEXT).read_bytes()[:60])
    (tmp_path / "text").write_text("not a picture")
    (tmp_path / "folder").mkdir()
    for name in ("cut.png", "text", "folder", "missing"):
        with pytest.raises(UserError, match=name):
            examine(tmp_path / name)


def test_files_that_are_known_and_not_read(tmp_path: Path) -> None:
    for start, said in ((b"GGUF\x03", "GGUF"), (b"\x89HDF\r\n\x1a\n", "HDF5"), (b"Rar!\x1a", "RAR")):
        (tmp_path / "x.safetensors").write_bytes(start + bytes(64))
        with pytest.raises(UserError, match=said):
            examine(tmp_path / "x.safetensors")


def test_a_picture_too_large_to_open_is_refused(tmp_path: Path) -> None:
    """Its header alone says how large it is."""
    data = bytearray(picture(tmp_path / "x.png", TEXT).read_bytes())
    data[16:24] = (60_000).to_bytes(4, "big") * 2
    import zlib

    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    (tmp_path / "bomb.png").write_bytes(data)
    with pytest.raises(UserError, match=r"bomb\.png"):
        read_picture(tmp_path / "bomb.png")


def test_a_models_folder(tiny_folder: Path) -> None:
    facts = examine(tiny_folder)
    assert (facts.kind, facts.family, facts.prediction_type, facts.refusal) == (
        "diffusers folder",
        "sd1",
        "epsilon",
        "",
    )
    assert facts.parts.keys() == {"text_encoder", "unet", "vae"}
    assert facts.dtypes == {"F32": sum(facts.parts.values())}
    assert {name for name, verdict in facts.programs.items() if verdict.loads} == {"ComfyUI", "diffusers"}
    assert re.fullmatch("[0-9a-f]{64}", facts.sha256 or "")


HOSTILE = "\x1b]0;owned\x07\x1b[31mred\x1b[0m\r\n[bold]bold[/bold] [link=file:///etc]x[/link] \u202egnp.exe\x9b2J\u2028"


@pytest.mark.parametrize("sort", ["lora", "picture", "pickle"])
def test_what_a_stranger_wrote_is_shown_and_does_nothing(
    sort: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if sort == "picture":
        path = picture(tmp_path / "x.png", f"a {HOSTILE}\nSteps: 1, Sampler: {HOSTILE}, Seed: 1, Model: {HOSTILE}")
    elif sort == "pickle":
        path = tmp_path / "x.pt"
        torch.save({"string_to_param": {"*": torch.ones(1, 768)}, "name": HOSTILE}, path)
    else:
        path = tmp_path / "x.safetensors"
        name = "lora_unet_mid_block_attentions_0_proj_in"
        tensors = {f"{name}.lora_down.weight": torch.ones(2, 8), f"{name}.lora_up.weight": torch.ones(8, 2)}
        tags = json.dumps({"a": {HOSTILE: 5}})
        metadata = {"modelspec.title": HOSTILE, "ss_tag_frequency": tags, HOSTILE: "x", "ss_network_module": HOSTILE}
        save_file(tensors, path, metadata | {f"many{number}": "x" for number in range(500)})
    assert main(["inspect", str(path)]) == 0
    shown = capsys.readouterr().out
    assert not {character for character in shown if not character.isprintable()} - {"\n"}
    assert "[bold]bold[/bold]" in re.sub(r"\s+", "", shown)
    assert "owned" in shown
    assert len(shown.splitlines()) < 250
    assert main(["inspect", str(path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert "owned" in json.dumps(told)
    assert main(["inspect", str(path), str(path)]) == 0
    assert "byte for byte" in capsys.readouterr().out
