"""How soon a browser shows each view of an empty studio, with nothing in its cache and again, and what it fetches.

A cold visit has a browser profile of its own; a warm one is a new tab of a profile that has seen the view once. The
frame of the page is painted before its scripts are there, so the view's own heading is timed as well. Bytes are those
that come over the connection, with headers, at a view's opening; the stream of news stays open and is not among them.
"""

import os
import statistics
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Browser, BrowserContext
from studio.browser import CHROMIUM, WIDTHS, chromium

VIEWS = ("train", "runs", "generate", "models")
CACHES = ("cold", "warm")
MS_TO_SETTLE = 500  # after the heading, in which a view asks for what it lists
TIMES = ("first_paint_ms", "first_contentful_paint_ms", "dom_ready_ms", "heading_ms")
WATCH = """() => new MutationObserver((_, watching) => {
  if (!document.querySelector("main h1")) return;
  window.headingAt = performance.now();
  watching.disconnect();
}).observe(document, { childList: true, subtree: true })"""
TAKE = """() => {
  const [page] = performance.getEntriesByType("navigation");
  const paints = Object.fromEntries(performance.getEntriesByType("paint").map((each) => [each.name, each.startTime]));
  const fetched = [page, ...performance.getEntriesByType("resource")];
  return {
    first_paint_ms: paints["first-paint"],
    first_contentful_paint_ms: paints["first-contentful-paint"],
    dom_ready_ms: page.domContentLoadedEventEnd,
    heading_ms: window.headingAt,
    requests: fetched.filter((each) => each.transferSize > 0).length,
    bytes: fetched.reduce((sum, each) => sum + each.transferSize, 0),
  };
}"""


def run(address: str, visits: int, tell: Callable[[str], None]) -> dict[str, Any]:
    """The figures of so many visits to each view at each width. Raises RuntimeError where there is no Chromium."""
    if CHROMIUM is None:
        raise RuntimeError("there is no Chromium here; install it so that `chromium` is on the PATH")
    seen: dict[tuple[str, int, str], list[dict[str, float]]] = defaultdict(list)
    with chromium() as browser:
        _cold_and_warm(browser, address, WIDTHS[0])  # the browser's own start is not the page's
        for view in VIEWS:
            for width in WIDTHS:
                for _ in range(visits):
                    cold, warm = _cold_and_warm(browser, f"{address}/{view}", width)
                    seen[view, width, "cold"].append(cold)
                    seen[view, width, "warm"].append(warm)
                tell(f"{view} at {width} px: {visits} visits")
        version = browser.version
    return {
        "visits": visits,
        "views": {
            view: {str(width): {cache: _told(seen[view, width, cache]) for cache in CACHES} for width in WIDTHS}
            for view in VIEWS
        },
        "chromium": version,
        "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0],
    }


def _cold_and_warm(browser: Browser, address: str, width: int) -> list[dict[str, float]]:
    context = browser.new_context(viewport={"width": width, "height": 900})
    try:
        return [_visit(context, address) for _ in CACHES]
    finally:
        context.close()


def _visit(context: BrowserContext, address: str) -> dict[str, float]:
    page = context.new_page()
    page.add_init_script(f"({WATCH})()")
    page.goto(address)
    page.wait_for_selector("main h1")
    page.wait_for_timeout(MS_TO_SETTLE)
    found: dict[str, float] = page.evaluate(TAKE)
    page.close()
    return found


def _told(visits: list[dict[str, float]]) -> dict[str, Any]:
    """Times: median and worst. Requests and bytes: of the visit that had most."""
    times = {name: [visit[name] for visit in visits] for name in TIMES}
    return {
        name: {"median": round(statistics.median(values)), "worst": round(max(values))}
        for name, values in times.items()
    } | {name: max(int(visit[name]) for visit in visits) for name in ("requests", "bytes")}
