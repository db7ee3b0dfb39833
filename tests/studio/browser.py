"""A browser on a studio: what it says and asks for, and what it may never do, at two widths and in both schemes."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from studio.served import Served

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WIDTHS = (1280, 390)
SCHEMES = ("light", "dark")
SEVERE = ("serious", "critical")


def screenshots(otherwise: Path) -> Path:
    folder = Path(os.environ.get("LIMNER_SCREENSHOTS") or otherwise)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Visit:
    """A page of a studio. problems: what its console says, and requests that go elsewhere."""

    studio: Served
    context: BrowserContext
    page: Page
    folder: Path
    problems: list[str] = field(default_factory=list)

    def open(self, address: str) -> None:
        """Go to a view, and wait until it has its heading and has loaded what it needs."""
        self.page.goto(self.studio.address + address)
        self.page.wait_for_selector("main h1")

    def shoot(self, name: str) -> None:
        """At both widths, in both schemes; then as before."""
        for width in WIDTHS:
            self.page.set_viewport_size({"width": width, "height": 900})
            self.page.evaluate("scrollTo(0, 0)")  # else what sticks to the top is in the midst of the picture
            assert self.page.evaluate("document.documentElement.scrollWidth") <= width, f"{name} is wider than {width}"
            for scheme in SCHEMES:
                self.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
                self.page.wait_for_timeout(100)
                self.page.screenshot(path=self.folder / f"{name}-{width}-{scheme}.png", full_page=True)
        self.page.emulate_media(color_scheme="light")
        self.page.set_viewport_size({"width": WIDTHS[0], "height": 900})

    def check(self, name: str) -> None:
        """What axe-core finds, in both schemes: nothing serious."""
        for scheme in SCHEMES:
            self.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            self.page.wait_for_timeout(100)
            found = Axe().run(self.page).response["violations"]
            severe = [_violation(each) for each in found if each["impact"] in SEVERE]
            assert not severe, f"{name}, {scheme}: " + "\n".join(severe)
        self.page.emulate_media(color_scheme="light")


@contextmanager
def visit(browser: Browser, studio: Served, folder: Path, **options: Any) -> Iterator[Visit]:
    """bypass_csp: axe is put into the page as a script; that the page obeys its policy is looked at without."""
    context = browser.new_context(viewport={"width": WIDTHS[0], "height": 900}, reduced_motion="reduce", **options)
    page = context.new_page()
    page.set_default_timeout(180_000)
    seen = Visit(studio, context, page, folder)
    page.on("console", lambda said: seen.problems.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: seen.problems.append(str(error)))
    page.on("request", lambda request: _ask(seen, request.url))
    page.on("response", lambda answer: _heard(seen, answer.status, answer.url))
    try:
        yield seen
        assert not seen.problems, "\n".join(seen.problems)
    finally:
        context.close()


def _ask(seen: Visit, address: str) -> None:
    if not address.startswith((seen.studio.address + "/", "blob:", "data:")):
        seen.problems.append(f"asks {address}")


def _heard(seen: Visit, status: int, address: str) -> None:
    if status >= 400:
        seen.problems.append(f"{status} from {address}")


def _violation(found: dict[str, Any]) -> str:
    places = "; ".join(f"{node['html'][:200]} ({node['failureSummary'][:300]})" for node in found["nodes"][:5])
    return f"{found['id']} ({found['impact']}): {found['help']}: {places}"
