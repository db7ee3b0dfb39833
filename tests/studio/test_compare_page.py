"""The button that compares the three methods, pressed in a browser: until its report is on the page of runs."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect
from studio import browser as browsing
from studio.browser import CHROMIUM, Visit, visit
from studio.served import BASE, Served

import limner

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here"),
    pytest.mark.slow,
]

SAMPLES = sorted((Path(limner.__file__).parent / "samples").glob("*.png"))[:5]
METHODS = ("LoRA", "DreamBooth", "Embedding")
SMALL = {"steps": 4, "batch size": 2, "previews": 0, "milestones": 0, "crops": 0}
ARE_LOADED = "all => all.length > 0 && all.every((image) => image.complete && image.naturalWidth > 0)"
PATIENCE = 1_800_000  # milliseconds that three trainings and their pictures may take on a busy machine


@pytest.fixture
def seen(start_studio: Callable[..., Served], tmp_path: Path) -> Iterator[Visit]:
    with (
        browsing.chromium() as browser,
        visit(browser, start_studio(), browsing.screenshots(tmp_path), bypass_csp=True) as opened,
    ):
        yield opened


def test_three_methods_are_compared(seen: Visit) -> None:
    press(seen)
    job = watch(seen)
    read_the_result(seen, job)
    read_the_report(seen, job)


def press(seen: Visit) -> None:
    """With few pictures and a few steps by More."""
    page = seen.page
    seen.open("/train")
    compare = page.get_by_role("button", name="Compare the three methods")
    expect(compare).to_be_disabled()
    page.get_by_label("Choose files").set_input_files([str(path) for path in SAMPLES])
    expect(page.locator(".tile .picture:enabled")).to_have_count(len(SAMPLES), timeout=PATIENCE)
    page.get_by_label("Keyword", exact=True).fill("zqvx")
    page.get_by_label("Class", exact=True).fill("emoji")
    page.get_by_label("Base model").select_option(BASE)  # of random weights, and soon done
    page.locator("summary", has_text="More").last.click()
    for label, value in SMALL.items():
        page.get_by_label(label, exact=True).fill(str(value))
    expect(page.locator(".findings >> text=Not looked at yet")).to_have_count(0, timeout=PATIENCE)
    compare.click()
    page.wait_for_url("**/runs?job=*")


def watch(seen: Visit) -> int:
    """The number of the job, whose page says what is under way."""
    page = seen.page
    number = int(re.search(r"job=(\d+)", page.url)[1])  # type: ignore[index]
    expect(page.get_by_role("heading", level=1)).to_have_text("zqvx: three methods compared")
    expect(page.locator(".state")).to_contain_text(re.compile("Training (lora|dreambooth|embedding)"), timeout=PATIENCE)
    seen.shoot("comparison-runs")
    job = seen.studio.until(number, "done", "failed", "cancelled", seconds=PATIENCE / 1000)
    assert job["status"] == "done", job["error"]
    assert [method["failure"] for method in job["result"]["methods"]] == [None] * len(METHODS)
    return number


def read_the_result(seen: Visit, number: int) -> None:
    """Not loaded anew, the page has advice, and for each method a row of figures and a column of pictures."""
    page = seen.page
    result = page.get_by_role("region", name="Result")
    for sentence in seen.studio.job(number)["result"]["advice"]:
        expect(result.get_by_text(sentence)).to_be_visible()
    rows = result.get_by_role("table").locator("tbody tr")
    expect(rows.locator("th")).to_have_text(list(METHODS))
    pictures = result.get_by_role("region", name="Pictures of the methods")
    expect(pictures.locator("p + .strip").first.locator("figcaption")).to_have_text(["Before", *METHODS])
    assert pictures.locator("img").evaluate_all(ARE_LOADED)
    seen.check("a comparison that is done")
    seen.shoot("comparison")
    seen.open("/runs")
    expect(page.get_by_role("link", name="zqvx: three methods compared")).to_be_visible()
    seen.shoot("comparison-in-runs")
    seen.open(f"/runs?job={number}")


def read_the_report(seen: Visit, number: int) -> None:
    """Which opens in a tab of its own, with all pictures in it."""
    with seen.context.expect_page() as opened:
        seen.page.get_by_role("link", name="Open the report").click()
    first, seen.page = seen.page, opened.value
    expect(seen.page.get_by_role("heading", level=1)).to_have_text("zqvx emoji: 3 methods compared")
    expect(seen.page.locator("thead th")).to_have_text(["", *METHODS])
    assert seen.page.locator(".pictures img").count() % (1 + len(METHODS)) == 0
    assert seen.page.locator(".pictures img").evaluate_all(
        "all => all.length > 0 && all.every((image) => image.naturalWidth)"
    )
    seen.check("the report")
    seen.shoot("report")
    seen.page.close()
    seen.page = first
