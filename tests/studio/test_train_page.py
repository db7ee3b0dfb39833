"""The page from dropped pictures to the start of a training, in a real browser, by keyboard and pointer."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from photos import photo
from playwright.sync_api import Page, expect, sync_playwright
from studio.served import BASE, Served

CHROMIUM = Path("/usr/bin/chromium")
PATIENCE = 120_000  # milliseconds: a busy machine takes its time

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="no Chromium on this machine"),
]


@pytest.fixture
def page(studio: Served) -> Iterator[Page]:
    """A page whose every error in the console fails the test. The policy of its content is off only for axe."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = browser.new_context(base_url=studio.address, bypass_csp=True, viewport={"width": 1280, "height": 900})
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        problems: list[str] = []
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        yield page
        browser.close()
    assert problems == []


def serious(page: Page) -> list[str]:
    """What axe-core finds of consequence."""
    found = Axe().run(page).response["violations"]
    return [f"{each['id']}: {each['nodes'][0]['html']}" for each in found if each["impact"] in ("serious", "critical")]


def test_from_pictures_to_a_training(studio: Served, page: Page, tmp_path: Path) -> None:
    for at in range(3):
        photo(160, 128, at).save(tmp_path / f"{at}.png")
    (tmp_path / "0.txt").write_text("zqvx dog indoors")
    page.goto("/train?new")
    start = page.get_by_role("button", name="Start the training")
    expect(start).to_be_disabled()
    page.get_by_label("Keyword", exact=True).fill("zqvx")
    page.get_by_label("Class", exact=True).fill("dog")
    page.get_by_label("Base model").select_option(BASE)
    page.get_by_label("Choose files").set_input_files(sorted(tmp_path.iterdir()))
    expect(page.get_by_text("3 pictures: 3 to train on")).to_be_visible(timeout=PATIENCE)
    assert serious(page) == []

    page.get_by_label("Edit 1.png").click()
    dialog = page.get_by_role("dialog", name="1.png")
    page.get_by_label("top left corner").focus()
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("ArrowDown")
    page.get_by_label("right edge of the crop").fill("90")
    page.keyboard.press("Tab")
    handle = page.get_by_label("bottom right corner").bounding_box()
    over = page.locator(".over").bounding_box()
    assert handle is not None
    assert over is not None
    page.mouse.move(handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2)
    page.mouse.down()
    page.mouse.move(over["x"] + 0.9 * over["width"], over["y"] + 0.75 * over["height"], steps=4)
    page.mouse.up()
    page.get_by_label("Caption", exact=True).fill("zqvx dog in a corner")
    page.get_by_text("Mask", exact=True).click()
    page.mouse.move(over["x"] + 0.3 * over["width"], over["y"] + 0.3 * over["height"])
    page.mouse.down()
    page.mouse.move(over["x"] + 0.6 * over["width"], over["y"] + 0.6 * over["height"], steps=4)
    page.mouse.up()
    assert serious(page) == []
    for _ in range(30):
        page.keyboard.press("Tab")
        assert page.evaluate(
            "() => document.activeElement === document.body || document.activeElement.closest('dialog') !== null"
        )
    dialog.get_by_role("button", name="Next").click()
    expect(page.get_by_role("dialog", name="2.png")).to_be_visible()
    page.get_by_label("Train on this picture").uncheck()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_text("3 pictures: 2 to train on, 1 left out")).to_be_visible()

    number = int(re.search(r"set=(\d+)", page.url)[1])  # type: ignore[index]
    pictures = {each["name"]: each for each in studio.get(f"/api/datasets/{number}")["pictures"]}
    left, top = pictures["1.png"]["proposed"]["crop"][:2]
    assert pictures["1.png"]["crop"] == pytest.approx([left + 0.1, top + 0.01, 0.9, 0.75], abs=0.02)
    assert (pictures["0.png"]["caption"], pictures["1.png"]["caption"]) == ("zqvx dog indoors", "zqvx dog in a corner")
    assert pictures["1.png"]["mask"] == "by hand"
    assert not pictures["2.png"]["kept"]

    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390
    page.set_viewport_size({"width": 1280, "height": 900})
    page.get_by_label("Embedding").check()
    page.get_by_text("More", exact=True).click()
    for label, value in {"vectors": "2", "steps": "2", "previews": "0", "milestones": "0", "held out": "0"}.items():
        page.get_by_label(label, exact=True).fill(value)
    start.click()
    page.wait_for_url(re.compile(r"/runs\?job=\d+"))
    job = studio.until(int(page.url.split("=")[1]), "done", "failed")
    assert job["status"] == "done", job["error"]
    assert job["request"]["method"] == "embedding"
    assert job["request"]["more"]["embedding"] == {"vectors": 2}
    assert [each["file"] for each in job["result"]["files"]] == ["zqvx.safetensors"]
    prepared = studio.folder / "datasets" / str(number) / "prepared"
    told = [json.loads(line) for line in (prepared / "decisions.jsonl").read_text().splitlines()]
    assert [each["kept"] for each in told] == [True, True, False]
    assert told[1]["mask_from"] is not None
