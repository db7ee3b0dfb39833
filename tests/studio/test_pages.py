"""The page's files: nothing in them can run what a file's name or a model's description says, or ask elsewhere."""

import re
from pathlib import Path

import pytest
from studio.served import Served

from limner.studio.app import PAGES, VIEWS

FILES = sorted(path for path in PAGES.rglob("*") if path.is_file())
MOST_BYTES = 250_000  # of the whole page, all views
FORBIDDEN = {
    "text that becomes markup": r"\b(innerHTML|outerHTML|insertAdjacentHTML|srcdoc|createContextualFragment)\b"
    r"|document\.write|DOMParser|setHTML",
    "text that becomes code": r"\beval\s*\(|\bnew\s+Function\b|\bset(Timeout|Interval)\s*\(\s*[\"'`]|javascript:",
    "what needs another host": r"(?:https?:)?//(?!www\.w3\.org/)[\w-]+\.\w",
}

IMPORTED = r"""(?:^import\b[^;"]*|\bimport\()"([^"]+)\""""


def code(path: Path) -> str:
    """A file without its comments."""
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"/\*.*?\*/|<!--.*?-->", "", text, flags=re.DOTALL)
    return re.sub(r"(^|\s)// .*$", "", text, flags=re.MULTILINE) if path.suffix == ".js" else text


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PAGES).as_posix())
def test_a_file_of_the_page_runs_nothing_and_asks_no_one(path: Path) -> None:
    assert path.suffix in (".js", ".css", ".html", ".svg"), "a page is made of text that anyone can read"
    text = code(path)
    for what, pattern in FORBIDDEN.items():
        found = re.search(pattern, text)
        assert found is None, f"{what}: {found[0]!r}"
    assert len(text.splitlines()) <= 400
    if path.suffix == ".html":
        assert not re.search(r"<script(?![^>]*\bsrc=)|\son\w+\s*=|\sstyle\s*=|<style", text), "code in the markup"
    if path.suffix == ".css":
        assert not re.search(r"@import|url\((?!['\"]?data:)", text), "what is loaded is named in the page"


def test_what_the_patterns_forbid() -> None:
    """That they find what they are for."""
    for text in (
        "place.innerHTML = name",
        "setTimeout('go()')",
        "new Function(text)",
        'import "https://cdn.example/x.js"',
        '"//cdn.example/x.js"',
    ):
        assert any(re.search(pattern, text) for pattern in FORBIDDEN.values()), text


def test_every_file_is_used_and_all_are_light(studio: Served) -> None:
    """From the page, each file that it names, and each that these name, until there is no more."""
    seen: dict[str, int] = {}
    waiting = ["/", *(f"/{view}" for view in VIEWS)]
    while waiting:
        address = waiting.pop()
        answer = studio.client.get(address)
        assert answer.status_code == 200, address
        if address in seen:
            continue
        seen[address] = len(answer.content) if address.startswith("/pages/") or address == "/" else 0
        folder = address.rsplit("/", 1)[0]
        for name in re.findall(IMPORTED, answer.text, re.MULTILINE):
            assert name.startswith("."), f"{address} imports {name}"
            parts = []
            for part in f"{folder}/{name}".split("/"):
                if part == "..":
                    parts.pop()
                elif part != ".":
                    parts.append(part)
            waiting.append("/".join(parts))
        if address == "/":
            waiting += re.findall(r"""(?:href|src)="(/pages/[^"]+)\"""", answer.text)
    known = {f"/pages/{path.relative_to(PAGES).as_posix()}" for path in FILES} - {"/pages/index.html"}
    assert known == {address for address in seen if address.startswith("/pages/")}
    total = sum(seen.values())
    print(f"the page: {len(seen)} files, {total:,} bytes")
    assert total < MOST_BYTES
