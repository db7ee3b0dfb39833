"""Civitai's answers, of the documented shape and of others, by real HTTP."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from site_here import QUICK, Site, model, version
from test_web import run

from limner.errors import UserError
from limner.library.civitai import BASES, Civitai, _fitting, _offer, explained
from limner.library.ids import parse_id
from limner.library.key import Key
from limner.library.offer import Offer
from limner.library.store import Store
from limner.library.web import Status, Web

BODY = b"x" * 5000


@pytest.fixture
def civitai(store: Store, site: Site) -> Civitai:
    return Civitai(store, Web(site.url, None, QUICK))


def page(*items: Any, cursor: str | None = None) -> dict[str, Any]:
    return {"items": list(items), "metadata": {"nextCursor": cursor, "nextPage": None}}


def test_a_search_asks_as_documented(civitai: Civitai, site: Site) -> None:
    site.answer("/api/v1/models", page(model(version(site, BODY))))
    (offer,), _ = run(civitai.search("ink wash", "lora", "sd1", "likes", 7))
    asked = site.asked[0].query
    assert [value for name, value in asked if name == "types"] == ["LORA", "LoCon", "DoRA"]
    assert [value for name, value in asked if name == "baseModels"] == list(BASES["sd1"])
    assert dict(asked) | {"types": "", "baseModels": ""} == {
        "query": "ink wash", "types": "", "baseModels": "", "sort": "Most Liked", "period": "AllTime", "nsfw": "false",
        "limit": "7",
    }  # fmt: skip
    assert (offer.id, offer.title, offer.kind, offer.family) == ("civitai:11@22", "Ink Wash", "lora", "sd1")
    assert (offer.downloads, offer.likes, offer.creator, offer.published) == (1234, 56, "maker", "2026-01-02")
    main = offer.main
    assert main is not None
    assert (main.size_bytes, main.format, len(main.sha256 or "")) == (5000, "safetensors", 64)
    assert offer.keywords == ("inkw", "ink wash style")
    assert json.dumps(offer.as_dict())
    assert Offer.from_dict(offer.as_dict()) == offer


def test_pages_are_turned_by_cursor_until_there_are_enough(civitai: Civitai, site: Site) -> None:
    items = [model(version(site, BODY, id=100 + number), id=number) for number in range(9)]
    site.in_turn(
        "/api/v1/models",
        lambda it: it.reply(200, page(*items[:3], cursor="a|b=1&c")),
        lambda it: it.reply(200, page(*items[3:6], cursor="second")),
        lambda it: it.reply(200, page(*items[6:])),
    )
    found, _ = run(civitai.search("ink", None, None, "downloads", 5))
    assert [offer.id for offer in found] == [f"civitai:{number}@{100 + number}" for number in range(5)]
    assert [dict(asked.query).get("cursor") for asked in site.asked] == [None, "a|b=1&c"]
    assert not any("page" in dict(asked.query) for asked in site.asked)  # with a query that is a 400


def test_a_site_that_turns_pages_forever_is_left(civitai: Civitai, site: Site) -> None:
    site.answer("/api/v1/models", page(cursor="again"))
    assert run(civitai.search("ink", None, None, "downloads", 5))[0] == []
    assert len(site.asked) <= 5


def test_answers_are_kept_for_a_while(civitai: Civitai, site: Site, store: Store) -> None:
    site.answer("/api/v1/models", page(model(version(site, BODY))))
    first, _ = run(civitai.search("ink", None, None, "downloads", 5))
    again, _ = run(civitai.search("ink", None, None, "downloads", 5))
    assert first == again
    assert len(site.asked) == 1
    run(Civitai(store, Web(site.url, Key("k", "test"), QUICK)).search("ink", None, None, "downloads", 5))
    assert len(site.asked) == 2  # with a key one may see more
    store._db.execute("UPDATE answers SET expires = 0")
    run(civitai.search("ink", None, None, "downloads", 5))
    assert len(site.asked) == 3
    assert b"Bearer" not in b"".join(row[0] for row in store._db.execute("SELECT body FROM answers"))


def test_what_is_not_for_all_stays_out(civitai: Civitai, site: Site) -> None:
    site.answer("/api/v1/models", page(model(version(site, BODY), nsfw=True)))
    assert run(civitai.search("ink", None, None, "downloads", 5))[0] == []
    assert len(run(civitai.search("ink", None, None, "downloads", 5, nsfw=True))[0]) == 1
    assert dict(site.asked[-1].query)["nsfw"] == "true"


def test_the_newest_version_that_fits_is_taken(civitai: Civitai, site: Site) -> None:
    new = version(site, BODY, id=3) | {"baseModel": "Illustrious"}
    old = version(site, BODY, id=2)
    site.answer("/api/v1/models", page(model(new, old)))
    assert run(civitai.search("ink", None, "sd1", "downloads", 5))[0][0].id == "civitai:11@2"
    assert run(civitai.search("ink", None, "sdxl", "downloads", 5))[0][0].id == "civitai:11@3"
    assert run(civitai.search("ink", None, "sd2", "downloads", 5))[0] == []
    assert run(civitai.search("ink", "embedding", None, "downloads", 5))[0] == []


def test_by_hash_and_by_model(civitai: Civitai, site: Site) -> None:
    told = version(site, BODY)
    site.answer("/api/v1/model-versions/by-hash/0A1B2C3D4E", told)
    site.answer("/api/v1/models/11", model(told))
    site.answer("/api/v1/models/12", model(id=12))
    offer, _ = run(civitai.by_hash("0A1B2C3D4E"))
    assert offer.id == "civitai:11@22"
    assert run(civitai.by_hash("ffffffffff"))[0] is None
    assert run(civitai.model("11"))[0].id == "civitai:11@22"
    with pytest.raises(UserError, match="no version"):
        run(civitai.model("12"))
    for wrong in ("", "x", "1@", "1/../2", "1@2@3", "-1", "1" * 20):
        with pytest.raises(UserError, match="no id"):
            run(civitai.model(wrong))


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 429, 503, 500, 418])
def test_statuses_in_words(civitai: Civitai, site: Site, status: int) -> None:
    site.answer("/api/v1/models", {"error": "no"}, status)
    with pytest.raises(UserError, match=f"127.0.0.1 answered with status {status}: ") as caught:
        run(civitai.search("ink", None, None, "downloads", 5))
    assert type(caught.value) is not Status
    assert "accepted" in str(explained(Status("h", 401, None), has_key=True))


@pytest.mark.parametrize("body", [b"<html>Just a moment...</html>", b"", b"[]", b"null", b'{"items": ', b"[" * 100_000])
def test_answers_that_are_no_data(civitai: Civitai, site: Site, body: bytes) -> None:
    site.answer("/api/v1/models", body, Content_Type="text/html")
    with pytest.raises(UserError, match="try again later"):
        run(civitai.search("ink", None, None, "downloads", 5))
    assert len(site.asked) == 1


@pytest.mark.parametrize(
    "answer",
    [{}, {"items": None}, {"items": {}}, {"items": [None, 3, "x", [], {}]}, {"items": [{"modelVersions": [None, {}]}]},
     {"items": [], "metadata": None}, {"items": [], "metadata": {"nextCursor": {"a": 1}}}],
)  # fmt: skip
def test_missing_fields_are_no_error(civitai: Civitai, site: Site, answer: Any) -> None:
    site.answer("/api/v1/models", answer)
    found, _ = run(civitai.search("ink", None, None, "downloads", 5))
    assert all(offer.files == () for offer in found)


def test_a_version_without_anything_is_none_to_fetch(civitai: Civitai, site: Site) -> None:
    site.answer("/api/v1/model-versions/5", {})
    with pytest.raises(UserError, match="no file"):
        run(civitai.model("@5"))


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=5,
)
KNOWN = [
    "id", "modelId", "name", "type", "modelVersions", "files", "hashes", "SHA256", "metadata", "format", "fp", "sizeKB",
    "trainedWords", "stats", "downloadCount", "creator", "username", "baseModel", "publishedAt", "availability",
    "downloadUrl", "primary", "virusScanResult", "pickleScanMessage", "model", "nsfw", "baseModelType", "status",
]  # fmt: skip


def tables(depth: int = 2) -> st.SearchStrategy:
    values = ANYTHING if depth == 0 else ANYTHING | tables(depth - 1) | st.lists(tables(depth - 1), max_size=2)
    return st.dictionaries(st.sampled_from(KNOWN), values, max_size=8)


@settings(max_examples=60, deadline=None)
@given(tables(), tables())
def test_any_json_at_all_is_read(model: dict[str, Any], version: dict[str, Any]) -> None:
    offer = _offer(model, version, "https://example.org")
    assert all(text.isprintable() for text in (offer.title, offer.base, offer.creator, offer.kind, *offer.keywords))
    assert offer.main is None or offer.main.part in ("Model", "Pruned Model")
    for file in offer.files:
        assert file.size_bytes is None or file.size_bytes >= 0
        assert file.sha256 is None or len(file.sha256) == 64
    assert isinstance(_fitting(model, None, None, "https://example.org"), list)
    json.dumps(offer.as_dict())


IDS = {
    "civitai:11": ("civitai", "11", None),
    "civitai:11@22": ("civitai", "11@22", None),
    "urn:air:sd1:lora:civitai:11@22": ("civitai", "11@22", None),
    "https://civitai.com/models/11/ink-wash?modelVersionId=22": ("civitai", "11@22", None),
    "https://civitai.com/models/11": ("civitai", "11", None),
    "https://civitai.com/api/download/models/22?type=Model": ("civitai", "@22", None),
    "hub:owner/name": ("hub", "owner/name", None),
    "hub:owner/name/sub/file.safetensors": ("hub", "owner/name", "sub/file.safetensors"),
    "https://huggingface.co/owner/name": ("hub", "owner/name", None),
    "https://huggingface.co/owner/name/blob/main/file.safetensors": ("hub", "owner/name", "file.safetensors"),
}


@pytest.mark.parametrize("id", IDS)
def test_ids(id: str) -> None:
    assert parse_id(id) == IDS[id]


@pytest.mark.parametrize(
    "id", ["", "x", "civitai:", "hub:", "hub:a", "hub:a//b", "https://evil.org/models/11",
           "https://civitai.com.evil.org/models/1", "local:Lora/a.safetensors", "file:///etc/passwd", "https://[", "https://civitai.com/"]
)  # fmt: skip
def test_what_is_no_id(id: str) -> None:
    with pytest.raises(UserError):
        parse_id(id)
