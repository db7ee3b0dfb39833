"""The gallery, and what a picture's text gives back."""

import io
import struct
import time
import zlib
from pathlib import Path
from typing import Any

import pytest
from library.shelf_files import embedding, lora
from loras import lora_for
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo
from studio.served import BASE, Served, wait
from test_grid import holds

from limner.api import load
from limner.formats import save_weights

PROMPT = "a (red:1.2) fox, <lora:nothing"
SCRIPT = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def drawn(studio: Served) -> dict[str, Any]:
    """One of two pictures of a job."""
    number = studio.give(
        "generate",
        base=BASE,
        prompt=PROMPT,
        negative_prompt="blurry: very, indeed",
        steps=2,
        sampler="Euler a",
        schedule="SGM Uniform",
        cfg_scale=5.5,
        width=64,
        height=128,
        seed=41,
        count=2,
        clip_skip=1,
    )
    job = studio.until(number, "done", "failed")
    assert job["status"] == "done", job["error"]
    found = studio.get("/api/pictures?limit=1")
    assert found["more"] is True
    return found["pictures"][0]


def test_the_gallery_lists_what_was_drawn(studio: Served, drawn: dict[str, Any]) -> None:
    assert (drawn["seed"], drawn["width"], drawn["height"], drawn["kind"]) == (42, 64, 128, "picture")
    assert drawn["infotext"].startswith(PROMPT)
    assert drawn["request"]["base"] == BASE
    older = studio.get(f"/api/pictures?before={drawn['id']}&limit=1")["pictures"][0]
    assert older["seed"] == 41
    newer = studio.get(f"/api/pictures?after={older['id']}")["pictures"]
    assert [each["id"] for each in newer] == [drawn["id"]]
    with Image.open(io.BytesIO(studio.client.get(f"/api/pictures/{drawn['id']}/file").content)) as image:
        assert image.size == (64, 128)
        assert image.info["parameters"] == drawn["infotext"]
    small = studio.client.get(f"/api/pictures/{drawn['id']}/thumbnail")
    assert small.headers["content-type"] == "image/webp"
    kept = studio.client.get(f"/api/pictures/{drawn['id']}/file?download=true").headers["content-disposition"]
    assert kept == f'attachment; filename="{drawn["file"]}"'
    assert str(studio.folder) not in str(studio.get("/api/pictures"))


def test_the_feed_names_the_picture(studio: Served, drawn: dict[str, Any]) -> None:
    events = studio.client.get(f"/api/jobs/{drawn['job']}/events").text
    assert f'"picture":{drawn["id"]}' in events.replace('": ', '":')


def test_what_was_drawn_reads_back_to_the_same_request(studio: Served, drawn: dict[str, Any]) -> None:
    found = read(studio, studio.client.get(f"/api/pictures/{drawn['id']}/file").content)
    assert found["notes"] == []
    assert found["settings"].items() <= drawn["request"].items()
    assert drawn["request"].keys() - found["settings"].keys() <= {"subseed"} | unset(drawn)


def unset(drawn: dict[str, Any]) -> set[str]:
    """What is as it is by default, of which a text says nothing."""
    return {name for name, value in drawn["request"].items() if value in (None, 1, "", 0)}


def test_a_picture_of_the_webui_reads_back_with_what_is_missing(studio: Served) -> None:
    text = (
        "masterpiece, <lora:art:0.8>\nNegative prompt: lowres\nSteps: 30, Sampler: DPM++ 2M Karras, CFG scale: 6.5, "
        "Seed: 1, Size: 512x768, Model hash: 6ce0161689, Model: v1-5, Denoising strength: 0.4, "
        "Hires upscale: 2, Hires steps: 8, Hires upscaler: R-ESRGAN 4x+, "
        'Lora hashes: "art: 0123456789ab", Version: v1.6.0'
    )
    jpeg = io.BytesIO()
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = b"UNICODE\0" + text.encode("utf-16-be")
    Image.new("RGB", (8, 8)).save(jpeg, "JPEG", exif=exif)
    for data in (jpeg.getvalue(), png(text)):
        found = read(studio, data)
        assert found["infotext"] == text
        assert found["settings"] == {
            "prompt": "masterpiece, <lora:art:0.8>",
            "negative_prompt": "lowres",
            "steps": 30,
            "sampler": "DPM++ 2M",
            "schedule": "Karras",
            "cfg_scale": 6.5,
            "seed": 1,
            "width": 512,
            "height": 768,
            "hires": {"scale": 2, "width": None, "height": None, "upscaler": "Lanczos", "steps": 8, "strength": 0.4},
        }
        said = "\n".join(found["notes"])
        for part in ("LoRA art (0123456789ab)", "base v1-5 (6ce0161689)", "R-ESRGAN 4x+", "drawn on a GPU"):
            assert part in said
        assert "from another one" not in said


def test_numbers_that_no_request_can_have_are_left_out(studio: Served) -> None:
    found = read(
        studio, png("a cat\nSteps: 20000, Sampler: Magic, CFG scale: nan, Seed: 3, Size: 9x90000, Model: pocket")
    )
    assert found["settings"] == {"prompt": "a cat", "negative_prompt": "", "seed": 3, "base": "pocket"}
    assert len(found["notes"]) == 6


def test_a_script_in_a_prompt_stays_text(studio: Served) -> None:
    found = read(studio, png(f"{SCRIPT}\nSteps: 2, Sampler: Euler, Seed: 1, Model: {SCRIPT}"))
    assert found["settings"]["prompt"] == SCRIPT
    answer = studio.client.post("/api/png-info?name=x", content=png(SCRIPT))
    assert answer.headers["content-type"] == "application/json"


def bomb() -> bytes:
    """A PNG of 60,000 x 60,000 pixels, by its header."""
    data = bytearray(png("a cat"))
    data[16:24] = (60_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


def with_chunk(name: bytes, body: bytes) -> bytes:
    """A PNG that says nothing, with a chunk behind its header."""
    data = png("")
    chunk = struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    return data[:33] + chunk + data[33:]


HOSTILE = {
    "bomb": bomb,
    "inflated text": lambda: with_chunk(b"zTXt", b"parameters\0\0" + zlib.compress(b"a" * 100_000_000, 9)),
    "inflated later text": lambda: with_chunk(b"iTXt", b"x\0\1\0\0\0" + zlib.compress(b"a" * 100_000_000, 9)),
    "vector drawing": lambda: b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    "cut": lambda: png("a cat")[:60],
    "nothing": lambda: b"",
    "no text": lambda: png(""),
    "no chunk's end": lambda: png("")[:33] + b"\xff\xff\xff\xfftEXt" + b"parameters\0a",
}


@pytest.mark.parametrize("sort", HOSTILE)
def test_what_is_no_picture_with_a_text_is_told(studio: Served, sort: str) -> None:
    began = time.monotonic()
    answer = studio.client.post("/api/png-info?name=fox.png", content=HOSTILE[sort]())
    assert answer.status_code == 400
    assert "fox.png" in answer.json()["detail"]
    assert "0x" not in answer.json()["detail"]
    assert time.monotonic() - began < 30


def test_more_than_is_taken_is_refused_before_it_has_come(studio: Served) -> None:
    text = b"parameters\0" + b"a" * 100_000_000

    def parts() -> Any:  # without a length
        yield from (text[at : at + 2**20] for at in range(0, len(text), 2**20))

    for content in (text, parts()):
        assert studio.client.post("/api/png-info", content=content).status_code == 413


def test_a_picture_is_removed(studio: Served, drawn: dict[str, Any]) -> None:
    older = studio.get(f"/api/pictures?before={drawn['id']}&limit=1")["pictures"][0]
    path = studio.folder / "pictures" / older["day"] / older["file"]
    assert path.is_file()
    assert studio.client.delete(f"/api/pictures/{older['id']}").status_code == 204
    assert not path.exists()
    for place in ("", "/file", "/thumbnail"):
        assert studio.client.get(f"/api/pictures/{older['id']}{place}").status_code == 404
    assert studio.client.get("/api/pictures/999999999999999999999").status_code in (404, 422)


def test_a_file_that_a_person_took_away_leaves_the_gallery(studio: Served, drawn: dict[str, Any]) -> None:
    path: Path = studio.folder / "pictures" / drawn["day"] / drawn["file"]
    path.unlink()
    assert drawn["id"] not in [each["id"] for each in studio.get("/api/pictures")["pictures"]]


def png(text: str) -> bytes:
    chunks = PngInfo()
    if text:
        chunks.add_text("parameters", text)
    data = io.BytesIO()
    Image.new("RGB", (8, 8)).save(data, "PNG", pnginfo=chunks)
    return data.getvalue()


def read(studio: Served, data: bytes) -> dict[str, Any]:
    answer = studio.client.post("/api/png-info?name=fox.png", content=data)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_grid_is_one_picture_of_the_gallery(studio: Served) -> None:
    number = studio.give(
        "grid",
        base=BASE,
        prompt="a fox in snow",
        negative_prompt="a fox, blurry",
        steps=2,
        width=64,
        height=64,
        hires={"scale": 1.5, "steps": 1},
        x={"name": "words", "values": ["fox", 'cat, "wet"', "<b>owl</b>"]},
        y={"name": "seed", "values": ["1", "2"]},
    )
    job = studio.until(number, "done", "failed")
    assert job["status"] == "done", job["error"]
    assert (job["progress"]["done"], job["progress"]["total"]) == (6, 6)
    page = studio.get("/api/pictures?limit=1")["pictures"][0]
    assert (page["kind"], page["job"]) == ("grid", number)
    assert page["width"] > 3 * 96
    assert page["height"] > 2 * 96
    assert page["request"]["x"]["values"][2] == "<b>owl</b>"
    assert page["infotext"].startswith("a {words} in snow\nNegative prompt: a {words}, blurry\n")
    assert 'X Type: words, X Values: "fox, cat' in page["infotext"]
    assert "Y Type: seed" in page["infotext"]
    assert "Hires upscale: 1.5, Hires steps: 1" in page["infotext"]


@pytest.mark.parametrize(
    ("x", "said"),
    [
        ({"name": "steps", "values": ["2", "many"]}, "steps = 'many' will not do"),
        ({"name": "width", "values": ["100000"]}, "width = '100000' will not do"),
        ({"name": "count", "values": ["2"]}, "x.name"),
        ({"name": "seed", "values": []}, "x.values"),
    ],
)
def test_a_grid_that_cannot_be_is_refused_at_once(studio: Served, x: dict[str, Any], said: str) -> None:
    answer = studio.client.post("/api/jobs", json={"kind": "grid", "request": {"prompt": "a fox", "x": x}})
    assert answer.status_code == 400
    assert said in answer.json()["detail"]


@pytest.mark.parametrize(
    ("axis", "said"),
    [
        ({"name": "words", "values": ["dog", "cat"]}, "does not say 'dog'"),
        ({"name": "weight", "values": ["0", "1"]}, "<lora:name:1>"),
        ({"name": "weight", "values": ["0", "1"], "lora": "x"}, "<lora:x>"),
        ({"name": "seed", "values": ["1", "1"]}, "the columns seed"),
        ({"name": "base", "values": ["pocket", "../../etc/passwd"]}, "on the shelf"),
        ({"name": "sampler", "values": ["Euler", "Eulr"]}, "did you mean"),
    ],
)
def test_a_grid_that_fails_says_why(studio: Served, axis: dict[str, Any], said: str) -> None:
    number = studio.give("grid", base=BASE, prompt="a fox", steps=2, x=axis)
    job = studio.until(number, "done", "failed")
    assert job["status"] == "failed"
    assert said in job["error"]


def test_words_and_samplers(studio: Served) -> None:
    assert studio.get("/api/words?q=nothing") == []
    rows = {row["name"]: row for row in studio.get("/api/samplers")}
    assert rows["Euler a"]["schedules"] == ["Automatic", "Uniform", "SGM Uniform"]
    assert rows["DDIM"]["schedules"] == ["Automatic"]
    assert rows["LCM"]["most_steps"] == 50


@pytest.fixture(scope="module")
def shelved(studio: Served, tiny_folder: Path) -> Served:
    """The module's studio, with LoRAs and an embedding on its shelf, and their hashes known."""
    save_weights(lora_for(load(tiny_folder)), studio.models / "Lora/loud.safetensors")
    lora(studio.models / "Lora/ink.safetensors", ss_output_name="ink_wash", **{"modelspec.trigger_phrase": "inkstyle"})
    embedding(studio.models / "embeddings/inkblot.safetensors", 768)
    studio.post("/api/models/scan")
    wait(lambda: studio.get("/api/models")["total"] == 5 and not studio.get("/api/models/scan")["busy"])
    assert studio.until(studio.give("hash"), "done", "failed")["status"] == "done"
    return studio


def test_words_that_complete_a_prompt(shelved: Served) -> None:
    rows = shelved.get("/api/words?q=ink")
    assert [(row["kind"], row["text"], row["keywords"]) for row in rows] == [
        ("lora", "<lora:ink:1>", ["inkstyle"]),
        ("embedding", "inkblot", []),
    ]
    assert [row["name"] for row in shelved.get("/api/words?q=ink&type=embedding")] == ["inkblot"]
    assert [row["name"] for row in shelved.get("/api/words?type=lora")] == ["ink", "loud"]
    assert shelved.client.get("/api/words?type=vae").status_code == 422


def test_files_of_a_picture_are_found_by_their_hashes(shelved: Served) -> None:
    rows = {row["stem"]: row for row in shelved.get("/api/models")["models"]}
    text = (
        "a fox <lora:other:0.5>\nSteps: 2, Sampler: Euler, Seed: 1, Model: renamed, RNG: CPU, "
        f"Model hash: {rows['tiny']['autov2']}, "
    )
    found = read(
        shelved, png(f'{text}Lora hashes: "other: {rows["ink"]["autov3"]}", TI hashes: "inkblot: 0123456789ab"')
    )
    assert found["settings"]["base"] == BASE
    assert found["settings"]["prompt"] == "a fox <lora:ink:0.5>"
    assert found["notes"] == [
        "the LoRA other is called ink on this shelf",
        "the embedding inkblot on this shelf is another file than the picture's (0123456789ab)",
    ]


def test_a_name_alone_is_believed(shelved: Served) -> None:
    for name in ("ink", "ink_wash"):
        found = read(shelved, png(f"a fox <lora:{name}:1>\nSteps: 2, Sampler: Euler, Model: tiny, RNG: CPU"))
        assert (found["settings"]["base"], found["notes"]) == (BASE, [])
        assert found["settings"]["prompt"] == f"a fox <lora:{name}:1>"


def test_a_loras_weight_along_a_grid(shelved: Served) -> None:
    """Each cell is the picture that its prompt gives."""
    plain = {"base": BASE, "steps": 2, "seed": 3, "width": 64, "height": 64}
    weights = ["0", "0.5", "1"]
    prompts = [f"a fox <lora:loud:{weight}>" for weight in weights]
    numbers = [shelved.give("generate", prompt=prompt, **plain) for prompt in prompts]
    axis = {"name": "weight", "values": weights}
    numbers.append(shelved.give("grid", prompt="a fox <lora:loud:0.8:0.2>", x=axis, **plain))
    for number in numbers:
        job = shelved.until(number, "done", "failed")
        assert job["status"] == "done", job["error"]
    pictures = shelved.get("/api/pictures?limit=4")["pictures"]
    page, *cells = (image_of(shelved, each) for each in pictures)
    assert [holds(page, cell) for cell in cells] == [1, 1, 1]
    assert pictures[0]["infotext"].startswith("a fox <lora:loud:{weight}>\n")


def image_of(studio: Served, picture: dict[str, Any]) -> Image.Image:
    data = studio.client.get(f"/api/pictures/{picture['id']}/file").content
    return Image.open(io.BytesIO(data)).convert("RGB")


def test_a_picture_is_drawn_from_another(studio: Served) -> None:
    start = Image.new("RGB", (64, 64), "red")
    data = io.BytesIO()
    start.save(data, "PNG")
    answer = studio.client.post("/api/inputs", content=data.getvalue())
    assert answer.status_code == 201
    init = {"images": [answer.json()["name"]], "strength": 0.0}
    number = studio.give("generate", base=BASE, prompt="a fox", steps=2, seed=3, width=64, height=64, init=init)
    job = studio.until(number, "done", "failed")
    assert job["status"] == "done", job["error"]
    picture = studio.get("/api/pictures?limit=1")["pictures"][0]
    assert "Denoising strength: 0" in picture["infotext"]
    assert "choose a start image" in read(studio, png(picture["infotext"]))["notes"][0]
    assert studio.client.post("/api/inputs", content=b"").status_code == 400
