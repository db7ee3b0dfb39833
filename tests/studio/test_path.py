"""From pictures to a picture, in a browser, on the built-in base: what a person does who never opens a terminal."""

import base64
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from studio import browser as browsing
from studio.browser import CHROMIUM, Visit, visit
from studio.served import Served

import limner

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here"),
    pytest.mark.slow,
]

SAMPLES = sorted((Path(limner.__file__).parent / "samples").glob("*.png"))
KEYWORD = "zqvx"
STEPS, PREVIEWS = 40, 4
PATIENCE = 400_000  # milliseconds that a training may take on a busy machine
DROP = """([place, files]) => {
  const data = new DataTransfer();
  for (const [name, text] of files) {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    data.items.add(new File([bytes], name, { type: "image/png" }));
  }
  const target = document.querySelector(place);
  for (const name of ["dragenter", "dragover", "drop"])
    target.dispatchEvent(new DragEvent(name, { dataTransfer: data, bubbles: true, cancelable: true }));
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing.chromium() as opened:
        yield opened


@pytest.fixture
def seen(browser: Browser, start_studio: Callable[..., Served], tmp_path: Path) -> Iterator[Visit]:
    with visit(
        browser, start_studio(), browsing.screenshots(tmp_path), bypass_csp=True, accept_downloads=True
    ) as opened:
        yield opened


def test_from_pictures_to_a_picture(seen: Visit, tmp_path: Path) -> None:
    give_pictures(seen)
    edit_a_caption(seen)
    job = train(seen)
    watch(seen, job)
    draw(seen)
    find_the_file(seen, tmp_path)


def give_pictures(seen: Visit) -> None:
    """Some dropped on the page, the rest chosen."""
    page = seen.page
    seen.open("/train")
    dropped = [[path.name, base64.b64encode(path.read_bytes()).decode()] for path in SAMPLES[:3]]
    page.evaluate(DROP, [".drop", dropped])
    expect(page.locator(".tile")).to_have_count(3, timeout=PATIENCE)
    page.locator("input[type=file][multiple]").first.set_input_files([str(path) for path in SAMPLES[3:]])
    expect(page.locator(".tile")).to_have_count(len(SAMPLES), timeout=PATIENCE)
    expect(page.locator(".tile .picture:enabled")).to_have_count(len(SAMPLES), timeout=PATIENCE)
    expect(page.locator(".findings >> text=Not looked at yet")).to_have_count(0, timeout=PATIENCE)
    page.get_by_label("Keyword", exact=True).fill(KEYWORD)
    page.get_by_label("Class", exact=True).fill("emoji")
    page.keyboard.press("Tab")
    page.wait_for_timeout(500)
    seen.check("train with pictures")
    seen.shoot("train")


def edit_a_caption(seen: Visit) -> None:
    page = seen.page
    page.locator(".tile .picture").first.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Caption", exact=True).fill("an aeroplane in the sky")
    seen.check("the editor")
    seen.shoot("editor")
    dialog.get_by_role("button", name="Done").click()
    expect(dialog).to_be_hidden()
    expect(page.locator(".tile").first).to_contain_text("Caption by you")


def train(seen: Visit) -> str:
    """Start it with a few settings from More; returns the address of its page."""
    page = seen.page
    page.locator("summary", has_text="More").last.click()
    page.get_by_label("steps", exact=True).fill(str(STEPS))
    page.get_by_label("previews", exact=True).fill(str(PREVIEWS))
    page.get_by_label("milestones", exact=True).fill("0")
    seen.check("train with settings")
    page.get_by_role("button", name="Start the training").click()
    page.wait_for_url("**/runs?job=*")
    return page.url.removeprefix(seen.studio.address)


def watch(seen: Visit, job: str) -> None:
    """Previews come while it runs; at the end there is the file."""
    page = seen.page
    expect(page.locator(".pictures .strip img").first).to_be_visible(timeout=PATIENCE)
    seen.shoot("run")
    slider = page.get_by_role("slider")
    expect(slider).to_have_attribute("max", str(PREVIEWS - 1), timeout=PATIENCE)
    expect(page.get_by_text(f"<lora:{KEYWORD}:1>")).to_be_visible(timeout=PATIENCE)
    slider.focus()
    page.keyboard.press("Home")
    expect(slider).to_have_value("0")
    seen.check("a run that is done")
    seen.shoot("run-done")
    seen.open("/runs")
    expect(page.get_by_role("link", name=KEYWORD).first).to_be_visible()
    seen.check("runs")
    seen.shoot("runs")
    seen.open(job)


def draw(seen: Visit) -> None:
    """By the button of the run's page, whose prompt has the file's tag."""
    page = seen.page
    page.get_by_role("link", name="Draw with it").click()
    prompt = page.get_by_label("Prompt", exact=True)
    expect(prompt).to_have_value(f"<lora:{KEYWORD}:1> {KEYWORD} emoji")
    page.get_by_label("Steps", exact=True).fill("6")
    prompt.press("Control+Enter")
    expect(page.locator("[data-picture]")).to_have_count(1, timeout=PATIENCE)
    seen.check("a picture that came")
    seen.shoot("generate")
    page.locator("[data-picture]").first.click()
    expect(page.get_by_role("dialog")).to_contain_text(KEYWORD)
    seen.check("a picture, large")
    seen.shoot("picture")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def find_the_file(seen: Visit, folder: Path) -> None:
    """On the shelf, and from there to wherever the browser saves files."""
    page = seen.page
    seen.open("/models")
    page.get_by_label("Search this machine").fill(KEYWORD)
    found = page.locator(".model", has_text=KEYWORD)
    expect(found).to_have_count(1, timeout=PATIENCE)
    expect(found).to_contain_text("LoRA")
    seen.check("models")
    seen.shoot("models")
    found.get_by_role("button", name="Details").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("diffusers")
    seen.check("a model's details")
    seen.shoot("model")
    with page.expect_download() as download:
        dialog.get_by_role("link", name="Save a copy").click()
    kept = folder / "kept.safetensors"
    download.value.save_as(kept)
    assert kept.read_bytes() == (seen.studio.models / "Lora" / f"{KEYWORD}.safetensors").read_bytes()


def test_the_same_by_keyboard(seen: Visit) -> None:
    """No mouse from the pictures to the training, and its end: each control is reached by Tab, and seen to be."""
    page = seen.page
    seen.open("/train")
    tab_to(seen, "Choose files")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files([str(path) for path in SAMPLES[:4]])
    expect(page.locator(".tile .picture:enabled")).to_have_count(4, timeout=PATIENCE)
    tab_to(seen, f"Edit {SAMPLES[0].name}")
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    tab_to(seen, "Caption")
    page.keyboard.press("Control+A")
    page.keyboard.type("an aeroplane")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert focused(seen).startswith("Edit"), "who closes a dialog is where they opened it"
    expect(page.locator(".tile").first).to_contain_text("Caption by you", timeout=PATIENCE)
    tab_to(seen, "Keyword")
    page.keyboard.type(KEYWORD)
    tab_to(seen, "Start the training")
    page.keyboard.press("Enter")
    page.wait_for_url("**/runs?job=*")
    tab_to(seen, "Cancel")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Cancelled").first).to_be_visible(timeout=PATIENCE)


def focused(seen: Visit) -> str:
    """What a screen reader calls the element that has the focus."""
    script = "document.activeElement.ariaLabel ?? document.activeElement.labels?.[0]?.textContent"
    return seen.page.evaluate(f"({script} ?? document.activeElement.textContent).trim()")


def tab_to(seen: Visit, name: str) -> None:
    """Press Tab until it is there."""
    for _ in range(120):
        seen.page.keyboard.press("Tab")
        if focused(seen).startswith(name):
            return
    raise AssertionError(f"Tab never comes to {name!r}")
