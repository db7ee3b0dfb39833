"""The page in a real browser: what a person sees and does, without a word from the console or to another host."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser
from studio import browser as browsing
from studio.browser import CHROMIUM, Visit, visit
from studio.served import Served

from limner.studio.app import VIEWS

QUICK = ("train", "generate")  # views of which the default run looks at the whole page
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing.chromium() as opened:
        yield opened


@pytest.fixture
def seen(browser: Browser, studio: Served, tmp_path: Path) -> Iterator[Visit]:
    with visit(browser, studio, browsing.screenshots(tmp_path), bypass_csp=True) as opened:
        yield opened


@pytest.mark.parametrize(
    "view", [each if each in QUICK else pytest.param(each, marks=pytest.mark.slow) for each in VIEWS]
)
def test_a_view_opens_and_everyone_can_read_it(seen: Visit, view: str) -> None:
    seen.open(f"/{view}")
    seen.page.wait_for_timeout(500)
    assert seen.page.title() == f"{view.capitalize()} · Limner"
    assert seen.page.locator("h1").count() == 1
    assert seen.page.locator("nav a[aria-current]").inner_text().strip().startswith(view.capitalize())
    seen.check(view)
    seen.shoot(f"empty-{view}")


def test_the_page_obeys_its_own_policy(browser: Browser, studio: Served, tmp_path: Path) -> None:
    """As people open it: whatever the policy forbids would be said in the console."""
    with visit(browser, studio, tmp_path) as plain:
        for view in VIEWS:
            plain.open(f"/{view}")
            plain.page.wait_for_timeout(200)
        refused = "new Promise(done => { addEventListener('securitypolicyviolation', event => done("
        refused += "event.violatedDirective)); "
        refused += (
            "const made = document.createElement('script'); made.textContent = '1'; document.body.append(made) })"
        )
        assert plain.page.evaluate(refused) == "script-src-elem"
        plain.problems.clear()  # that one was ours


def test_by_keyboard_from_view_to_view(seen: Visit) -> None:
    """The first Tab offers to skip the navigation; Enter on a link shows the view and moves on in it."""
    seen.open("/train")
    seen.page.keyboard.press("Tab")
    assert seen.page.evaluate("document.activeElement.textContent") == "Skip to the page's content"
    for name in ("Limner", "Train", "Runs", "Generate"):
        seen.page.keyboard.press("Tab")
        assert seen.page.evaluate("document.activeElement.textContent").strip().startswith(name)
        outline = seen.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", "who tabs must see where"
    seen.page.keyboard.press("Enter")
    seen.page.wait_for_selector("h1:has-text('Generate')")
    assert seen.page.evaluate("document.activeElement.id") == "view"
    seen.page.go_back()
    seen.page.wait_for_selector("h1:has-text('Train')")
