"""The Generate page in a real browser: by keyboard, with completion, a grid, a start image, and pictures read back."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from library.shelf_files import embedding, lora
from PIL import Image
from playwright.sync_api import Browser, Locator, Page
from studio import browser as browsing
from studio.browser import CHROMIUM, Visit, visit
from studio.served import BASE, Served, wait
from studio.test_pictures import png

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")
CHOICES = ".completion:not([hidden]) [role=option]"
SCRIPT = "<img src=x onerror=alert(1)> <script>alert(1)</script>"


@pytest.fixture(scope="module")
def shelved(studio: Served) -> Served:
    lora(studio.models / "Lora/ink.safetensors", **{"modelspec.trigger_phrase": "inkstyle"})
    embedding(studio.models / "embeddings/inkblot.safetensors", 768)
    studio.post("/api/models/scan")
    wait(lambda: studio.get("/api/models")["total"] == 4 and not studio.get("/api/models/scan")["busy"], seconds=240)
    warm = studio.give("generate", base=BASE, prompt="a hill", steps=1, seed=1, width=64, height=64)
    studio.until(warm, "done", seconds=240)  # its worker takes a while to load torch, on a busy machine
    return studio


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing.chromium() as opened:
        yield opened


@pytest.fixture
def seen(browser: Browser, shelved: Served, tmp_path: Path) -> Iterator[Visit]:
    with visit(browser, shelved, browsing.screenshots(tmp_path), bypass_csp=True) as opened:
        yield opened


def opened(seen: Visit, query: str = "") -> tuple[Page, Locator]:
    """The page and its prompt."""
    seen.open(f"/generate?base={BASE}&steps=2&width=64&height=64{query}")
    prompt = seen.page.get_by_label("Prompt", exact=True)
    prompt.wait_for()
    return seen.page, prompt


def test_from_a_prompt_to_a_picture_by_keyboard(seen: Visit) -> None:
    page, prompt = opened(seen, "&prompt=a fox <b>&count=2&seed=7")
    assert prompt.input_value() == "a fox <b>"
    prompt.press("Control+Enter")
    prompt.press("Control+Enter")  # another, without waiting
    page.locator(".queue .card").nth(1).wait_for()
    page.locator(".thumbnails img").nth(4).wait_for()
    page.locator(".queue .card").first.wait_for(state="detached")
    assert page.locator(".thumbnails img").first.get_attribute("alt") == "a fox <b>, seed 8"
    seen.check("generate")
    seen.shoot("generate")
    page.locator(".thumbnails button").first.press("Enter")
    dialog = page.get_by_role("dialog")
    dialog.wait_for()
    assert dialog.get_by_text("a fox <b>", exact=True).is_visible()
    seen.check("generate-viewer")
    seen.shoot("generate-viewer")
    page.keyboard.press("ArrowRight")
    assert dialog.locator("dd").nth(4).inner_text() == "7"
    page.keyboard.press("Escape")
    dialog.wait_for(state="hidden")
    assert page.evaluate("document.activeElement.firstChild.alt") == "a fox <b>, seed 7"
    page.reload()
    page.locator(".thumbnails img").nth(4).wait_for()


@pytest.mark.slow
def test_a_picture_is_used_and_removed(seen: Visit) -> None:
    page, prompt = opened(seen, "&prompt=an owl&seed=3")
    prompt.press("Control+Enter")
    owl = page.get_by_alt_text("an owl, seed 3")
    owl.wait_for()
    prompt.fill("something else")
    page.get_by_label("Seed", exact=True).fill("-1")
    owl.click()
    page.get_by_role("button", name="Use these settings").click()
    assert (prompt.input_value(), page.get_by_label("Seed", exact=True).input_value()) == ("an owl", "3")
    owl.click()
    page.get_by_role("button", name="Use as start image").click()
    page.get_by_label("Strength", exact=True).fill("0.5")
    prompt.fill("an owl in snow")
    prompt.press("Control+Enter")
    page.get_by_alt_text("an owl in snow, seed 3").wait_for()
    job = seen.studio.get("/api/jobs")[0]
    assert job["status"] == "done"
    assert job["request"]["init"]["strength"] == 0.5
    assert "Denoising strength: 0.5" in seen.studio.get("/api/pictures?limit=1")["pictures"][0]["infotext"]
    owl.click()
    page.get_by_role("button", name="Remove").click()
    page.get_by_role("button", name="Remove it for good").click()
    owl.wait_for(state="detached")


@pytest.mark.slow
def test_a_prompt_is_completed_and_weighed(seen: Visit) -> None:
    page, prompt = opened(seen)
    prompt.fill("")
    prompt.press_sequentially("a fox <lo")
    page.locator(CHOICES).wait_for()
    seen.check("generate-completion")
    prompt.press("Enter")
    assert prompt.input_value() == "a fox <lora:ink:1> inkstyle"
    prompt.press_sequentially(", inkb")
    page.locator(CHOICES).wait_for()
    prompt.press("Escape")
    assert page.locator(CHOICES).count() == 0
    prompt.press_sequentially("l")
    page.locator(CHOICES).wait_for()
    prompt.press("Tab")
    assert prompt.input_value() == "a fox <lora:ink:1> inkstyle, inkblot"
    prompt.press("Control+ArrowUp")
    prompt.press("Control+ArrowUp")
    assert prompt.input_value().endswith(", (inkblot:1.2)")
    for _ in range(3):
        prompt.press("Control+ArrowDown")
    assert prompt.input_value().endswith(", (inkblot:0.9)")
    prompt.press("Control+ArrowUp")
    assert prompt.input_value().endswith(", inkblot")
    prompt.evaluate("area => area.setSelectionRange(10, 10)")
    prompt.press("Control+ArrowUp")
    assert prompt.input_value() == "a fox <lora:ink:1.05> inkstyle, inkblot"


@pytest.mark.slow
def test_a_picture_gives_its_settings_back(seen: Visit) -> None:
    page, prompt = opened(seen)
    text = f"{SCRIPT}\nNegative prompt: dull\nSteps: 9, Sampler: Euler a, Seed: 5, Size: 96x64, Model: {SCRIPT}"
    page.locator(".drop input").set_input_files({"name": "fox.png", "mimeType": "image/png", "buffer": png(text)})
    page.get_by_text("The form has the settings of fox.png.").wait_for()
    assert prompt.input_value() == SCRIPT
    assert page.get_by_label("Negative prompt", exact=True).input_value() == "dull"
    assert page.get_by_label("Sampler", exact=True).input_value() == "Euler a"
    assert page.get_by_label("Width in pixels").input_value() == "96"
    assert page.get_by_text(f"the base {SCRIPT} is not on the shelf").is_visible()
    assert page.locator("main img[src=x], main script").count() == 0
    page.reload()
    prompt.wait_for()
    assert prompt.input_value() == SCRIPT


@pytest.mark.slow
def test_a_grid_with_axes(seen: Visit) -> None:
    page, prompt = opened(seen, "&prompt=a fox <lora:ink:1>, a hat")
    page.get_by_text("Grid", exact=True).click()
    columns = page.get_by_label("Columns", exact=True)
    columns.select_option("weight of a LoRA")
    page.get_by_label("Columns: which LoRA").select_option("ink")
    prompt.fill("a fox, a hat")  # that LoRA is for another base
    columns.select_option("words of the prompt")
    page.get_by_label("Columns: values").fill("a hat\na coat, red")
    page.get_by_label("Rows", exact=True).select_option("seed")
    page.get_by_label("Rows: values").fill("1-2")
    page.get_by_label("Tables", exact=True).select_option("sampler")
    page.get_by_role("checkbox", name="Euler a").check()
    page.get_by_role("checkbox", name="DDIM").check()
    seen.check("generate-grid")
    page.get_by_role("button", name="Draw the grid").click()
    page.locator("li.grid img").wait_for()
    request = seen.studio.get("/api/pictures?limit=1")["pictures"][0]["request"]
    assert request["x"] == {"name": "words", "values": ["a hat", "a coat, red"], "lora": ""}
    assert request["y"]["values"] == ["1", "2"]
    assert request["z"]["values"] == ["Euler a", "DDIM"]
    seen.shoot("generate-grid")


@pytest.mark.slow
def test_a_second_pass_is_asked_for_and_comes_back_from_a_picture(seen: Visit) -> None:
    page, prompt = opened(seen, "&prompt=a large fox&seed=5")
    page.get_by_text("Enlarge", exact=True).click()
    assert not page.get_by_label("Times larger").is_visible()
    page.get_by_label("Upscaler").select_option("Latent (nearest)")
    page.get_by_label("Times larger").fill("1.5")
    seen.check("generate-enlarge")
    prompt.press("Control+Enter")
    fox = page.get_by_alt_text("a large fox, seed 5")
    fox.wait_for()
    made = seen.studio.get("/api/pictures?limit=1")["pictures"][0]
    assert (made["width"], made["height"], made["request"]["hires"]["upscaler"]) == (96, 96, "Latent (nearest)")
    page.get_by_label("Upscaler").select_option("")
    fox.click()
    page.get_by_role("button", name="Use these settings").click()
    assert page.get_by_label("Upscaler").input_value() == "Latent (nearest)"
    assert page.get_by_label("Times larger").input_value() == "1.5"


def mask_of(seen: Visit, request: dict[str, Any]) -> Image.Image:
    data = seen.studio.client.get(f"/api/inputs/{request['init']['mask']}").content
    return Image.open(io.BytesIO(data)).convert("L")


def painted(seen: Visit) -> str:
    return seen.page.locator("dialog.editor .brush [role=status]").inner_text()


@pytest.mark.slow
def test_a_mask_is_painted_and_comes_back_with_its_picture(seen: Visit) -> None:
    page, prompt = opened(seen, "&prompt=an island&seed=11")
    prompt.press("Control+Enter")
    page.get_by_alt_text("an island, seed 11").click()
    page.get_by_role("button", name="Use as start image").click()
    page.get_by_role("button", name="Paint a mask").click()
    dialog = page.get_by_role("dialog", name="Mask")
    assert painted(seen) == "Nothing is painted."
    over = dialog.locator("canvas").bounding_box()
    assert over is not None

    def at(across: float, down: float) -> tuple[float, float]:
        return over["x"] + across * over["width"], over["y"] + down * over["height"]

    page.mouse.move(*at(0.1, 0.1))
    page.mouse.down()
    page.mouse.move(*at(0.4, 0.1), steps=4)
    page.mouse.up()
    hand = seen.context.new_cdp_session(page)
    hand.send("Emulation.setTouchEmulationEnabled", {"enabled": True})
    for kind, points in (("touchStart", [at(0.1, 0.9)]), ("touchMove", [at(0.4, 0.9)]), ("touchEnd", [])):
        touched = [dict(zip("xy", point, strict=True)) for point in points]
        hand.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touched})
    hand.send("Emulation.setTouchEmulationEnabled", {"enabled": False})
    for kind in ("mousePressed", "mouseReleased"):
        pen = {"type": kind, "button": "left", "buttons": 1, "clickCount": 1, "pointerType": "pen"}
        hand.send("Input.dispatchMouseEvent", pen | dict(zip("xy", at(0.9, 0.1), strict=True)))
    dialog.get_by_label("left edge of the rectangle").focus()
    for value in ("50", "40", "100", "60"):  # by keyboard alone
        page.keyboard.press("Control+a")
        page.keyboard.type(value)
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    seen.check("generate-mask")
    dialog.get_by_label("left edge of the rectangle").focus()
    seen.shoot("generate-mask")
    before = painted(seen)
    assert "% of the picture is painted" in before
    dialog.get_by_role("button", name="Invert").click()
    assert painted(seen) != before
    dialog.get_by_role("button", name="Invert").click()
    assert painted(seen) == before
    dialog.get_by_label("Erase").check()
    page.mouse.click(*at(0.25, 0.9))
    page.keyboard.press("Escape")
    page.get_by_label("Strength", exact=True).fill("0.9")
    page.get_by_label("Mask blur").fill("0")
    page.get_by_label("Fill", exact=True).select_option("noise")
    seen.check("generate-start")
    seen.shoot("generate-start")
    prompt.fill("an island in snow")
    prompt.press("Control+Enter")
    page.get_by_alt_text("an island in snow, seed 11").wait_for()
    request = seen.studio.get("/api/pictures?limit=1")["pictures"][0]["request"]
    assert (request["init"]["strength"], request["init"]["mask_blur"], request["init"]["fill"]) == (0.9, 0, "noise")
    mask = mask_of(seen, request)
    assert mask.size == (64, 64)
    spots = {(0.25, 0.1): 255, (0.12, 0.9): 255, (0.9, 0.1): 255, (0.75, 0.5): 255, (0.25, 0.9): 0, (0.25, 0.5): 0}
    assert {spot: mask.getpixel((int(spot[0] * 64), int(spot[1] * 64))) for spot in spots} == spots

    page.get_by_role("button", name="Start from noise").click()
    page.reload()
    page.get_by_alt_text("an island in snow, seed 11").click()
    assert page.get_by_text("strength 0.9, with a mask").is_visible()
    page.get_by_role("button", name="Use these settings").click()
    page.get_by_alt_text("Its mask").wait_for()
    assert page.get_by_label("Strength", exact=True).input_value() == "0.9"
    assert page.get_by_label("Mask blur").input_value() == "0"
    page.get_by_label("Seed", exact=True).fill("12")
    prompt.press("Control+Enter")
    page.get_by_alt_text("an island in snow, seed 12").wait_for()
    again = seen.studio.get("/api/pictures?limit=1")["pictures"][0]["request"]
    assert again == request | {"seed": 12, "subseed": again["subseed"]}


@pytest.mark.slow
def test_a_start_image_that_is_gone_is_told(seen: Visit) -> None:
    file = io.BytesIO()
    Image.new("RGB", (64, 64), "teal").save(file, "PNG")
    start = seen.studio.client.post("/api/inputs", content=file.getvalue()).json()["name"]
    values = {"base": BASE, "prompt": "a bay", "steps": 1, "seed": 1, "width": 64, "height": 64}
    number = seen.studio.give("generate", **values, init={"images": [start], "strength": 0.5})
    seen.studio.until(number, "done", "failed")
    (seen.studio.folder / "inputs" / start).unlink()
    page, prompt = opened(seen)
    page.get_by_alt_text("a bay, seed 1").click()
    assert page.get_by_text("What it was drawn from is not there any more.").is_visible()
    page.get_by_role("button", name="Use these settings").click()
    page.get_by_text("The picture that this one was drawn from is not there any more; choose another one.").wait_for()
    assert prompt.input_value() == "a bay"
    page.locator(".start input[type=file]").set_input_files(
        {"name": "fox.png", "mimeType": "image/png", "buffer": file.getvalue()}
    )
    page.get_by_label("Strength", exact=True).wait_for()
    assert page.get_by_label("Strength", exact=True).input_value() == "0.5"
    assert page.get_by_text("choose another one").count() == 0
