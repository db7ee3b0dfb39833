"""The Runs page in a browser, and the routes that it asks: a training from its first event to its file."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from studio.served import Served
from studio.training import add_set, train

CHROMIUM = Path("/usr/bin/chromium")


@pytest.fixture(scope="module")
def trained(studio: Served) -> dict[str, Any]:
    """A training with previews and milestones that is done."""
    watched = {"previews": 2, "milestones": 1, "measure_every": 2, "keep": "best", "seed": 5}
    return studio.until(train(studio, add_set(studio, 6), 4, "shown", **watched), "done", "failed")


def test_the_history_tells_curves_and_what_happened_without_places(studio: Served, trained: dict[str, Any]) -> None:
    assert trained["status"] == "done", trained["error"]
    told = studio.get(f"/api/jobs/{trained['id']}/history")
    assert [step for step, _ in told["curves"]["loss"]] == [1, 2, 3, 4]
    assert [step for step, _ in told["curves"]["frozen_loss"]] == [0, 2, 4]
    assert "likeness" in told["curves"] or "near_copies" in told["curves"]
    names = [event["event"] for event in told["events"]]
    assert names.count("Preview") == 2
    assert names.count("Milestone") >= 2  # the base's and those after the last step
    assert {"Began", "Chosen", "Kept", "Exported", "Done", "Ended"} <= set(names)
    assert not {"Step", "Measured"} & set(names)
    assert told["seq"] == told["events"][-1]["seq"]
    assert str(studio.folder) not in str(told)
    assert trained["progress"]["kept_step"] in (2, 4)


def test_files_are_given_out_by_their_events(studio: Served, trained: dict[str, Any]) -> None:
    address = f"/api/jobs/{trained['id']}"
    events = studio.get(f"{address}/history")["events"]
    exported = next(event for event in events if event["event"] == "Exported")
    answer = studio.client.get(f"{address}/events/{exported['seq']}/file")
    name = trained["result"]["files"][0]["name"]
    assert name == "Lora/shown.safetensors"
    assert answer.content == (studio.models / name).read_bytes()
    assert 'filename="shown.safetensors"' in answer.headers["content-disposition"]
    assert (studio.models / "Lora" / "shown.preview.png").is_file()
    drawn = next(event for event in events if event["event"] == "Milestone")
    picture = studio.client.get(f"{address}/events/{drawn['seq']}/file")
    assert picture.headers["content-type"] == "image/png"
    assert "max-age" in picture.headers["cache-control"]
    assert studio.client.get(f"{address}/events/1/file").status_code == 404
    assert studio.client.get("/api/jobs/99999/history").status_code == 400


def test_a_stream_goes_on_after_what_was_heard(studio: Served, trained: dict[str, Any]) -> None:
    address = f"/api/jobs/{trained['id']}/events"
    whole = studio.client.get(address).text.count("data: ")
    assert whole > 20
    assert studio.client.get(address, params={"after": 10}).text.count("data: ") == whole - 10
    assert studio.client.get(address, headers={"Last-Event-ID": "10"}).text.count("data: ") == whole - 10
    assert studio.client.get("/api/jobs/99999/events").status_code == 400


def test_two_trainings_differ_in_what_was_asked_for(studio: Served, trained: dict[str, Any]) -> None:
    other = train(studio, trained["request"]["dataset"], 3, "other", lora={"rank": 2}, seed=5)
    address = f"/api/jobs/{trained['id']}/against/{other}"
    assert "Settings" in [section["title"] for section in studio.get(address)["differences"]]  # while it goes on
    job = studio.until(other, "done", "failed")
    assert job["status"] == "done", job["error"]
    told = {section["title"]: section["rows"] for section in studio.get(address)["differences"]}
    settings = {row["name"]: row for row in told["Settings"]}
    assert settings["steps"]["values"] == [4, 3]
    assert settings["steps"]["help"] == "Optimizer steps."
    assert {row["name"]: row["values"][1] for row in told["Settings of the method"]} == {"lora: rank": 2}
    assert studio.get(f"/api/jobs/{other}/against/{other}")["differences"] == []


def test_the_log_of_a_job_names_no_place(studio: Served, trained: dict[str, Any]) -> None:
    log = studio.folder / "jobs" / str(trained["id"]) / "log.txt"
    log.write_text(f"cannot write {studio.folder}/jobs and {studio.models}/Lora\n")
    assert studio.client.get(f"/api/jobs/{trained['id']}/log").text == "cannot write STUDIO/jobs and MODELS/Lora\n"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    opened = browser.new_page(viewport={"width": 390, "height": 800})
    said: list[str] = []
    opened.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: said.append(str(error)))
    yield opened
    opened.close()
    assert said == []


needs_browser = pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Chromium")


@needs_browser
@pytest.mark.slow
def test_a_finished_training_is_shown_with_its_file_and_pictures(
    studio: Served, trained: dict[str, Any], page: Page
) -> None:
    page.goto(f"{studio.address}/runs")
    page.get_by_role("link", name="zqvx dog").last.click()
    page.get_by_text("became the file").wait_for()
    assert page.get_by_role("button", name="<lora:shown:1> zqvx dog").is_visible()
    slider = page.get_by_role("slider")
    at = slider.get_attribute("aria-valuetext")
    assert at == "Step 4"
    slider.focus()
    page.keyboard.press("Home")
    assert slider.get_attribute("aria-valuetext") == "Before the first step"
    assert page.locator(".pictures img").first.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    assert page.locator("figure svg path.line").count() >= 3
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == "shown.safetensors"
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.get_by_role("link", name="Draw with it").click()
    page.wait_for_url("**/generate?base=*&prompt=*lora*shown*")


@needs_browser
@pytest.mark.slow
def test_the_queue_is_led_from_the_page(studio: Served, trained: dict[str, Any], page: Page) -> None:
    dataset = trained["request"]["dataset"]
    first, second, third = (train(studio, dataset, 400, name) for name in ("one", "two", "three"))
    page.goto(f"{studio.address}/runs")
    rows = page.get_by_role("region", name="Queue").get_by_role("article")
    rows.nth(2).wait_for()
    rows.nth(2).get_by_role("button", name="Go first").click()
    page.wait_for_function(
        "job => document.querySelectorAll('[aria-label=Queue] article a')[1]?.getAttribute('href') === job",
        arg=f"/runs?job={third}",
    )
    for number in (third, second):
        row = rows.filter(has=page.locator(f'a[href="/runs?job={number}"]'))
        row.get_by_role("button", name="Cancel").click()
        studio.until(number, "cancelled")
    rows.nth(1).wait_for(state="detached")
    rows.get_by_role("button", name="Pause").click()
    studio.until(first, "paused")
    rows.get_by_role("button", name="Cancel").click()
    studio.until(first, "cancelled")
    page.get_by_text("Nothing runs and nothing waits").wait_for()
    page.once("dialog", lambda dialog: dialog.accept())
    history = page.get_by_role("region", name="History").get_by_role("article")
    history.filter(has=page.locator(f'a[href="/runs?job={third}"]')).get_by_role("button", name="Remove").click()
    page.get_by_text("removed: zqvx dog").wait_for()
    assert studio.client.get(f"/api/jobs/{third}").status_code == 400
    assert not (studio.folder / "jobs" / str(third)).exists()
