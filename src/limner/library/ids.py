"""What `limner download` takes: ids that a search shows, and addresses of models' pages."""

import re
from collections.abc import Generator
from urllib.parse import parse_qs, urlsplit

from limner.errors import UserError
from limner.library.civitai import Civitai
from limner.library.hub import Hub
from limner.library.offer import Offer, Waiting


def find_offer(id: str, civitai: Civitai, hub: Hub) -> Generator[Waiting, None, tuple[Offer, str | None]]:
    """The model that an id or a page's address names, and the name of its file if the address says it.

    Raises UserError for what is neither, and where the site does not have it or does not answer.
    """
    source, rest, file = parse_id(id)
    if source == "civitai":
        return (yield from civitai.model(rest)), file
    return hub.model(rest), file


def parse_id(id: str) -> tuple[str, str, str | None]:
    """("civitai", "12@34", None) or ("hub", "owner/name", file or None). Raises UserError for anything else."""
    text = id.strip()
    source, _, rest = text.partition(":")
    if text.startswith("urn:air:"):
        source, rest = "civitai", text.rpartition("civitai:")[2]
    elif source in ("https", "http"):
        source, rest = _of_page(text)
    if source == "civitai" and rest:
        return "civitai", rest, None
    parts = rest.split("/")
    if source == "hub" and len(parts) >= 2 and all(parts):
        return "hub", "/".join(parts[:2]), "/".join(parts[2:]) or None
    if source == "local":
        raise UserError(f"{rest or id} is here already; limner models shows it")
    raise UserError(f"{id[:80]!r} names no model; take an id of limner search, as civitai:12@34 or hub:OWNER/NAME")


def _of_page(address: str) -> tuple[str, str]:
    """The source and id in the address of a model's page."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return "", ""
    path = parts.path.strip("/").split("/")
    if re.fullmatch(r"(www\.)?civitai\.(com|red|green)", parts.hostname or ""):
        version = parse_qs(parts.query).get("modelVersionId", [""])[0]
        if path[0] == "models" and len(path) > 1:
            return "civitai", path[1] + (f"@{version}" if version else "")
        if path[:3] == ["api", "download", "models"] and len(path) > 3:
            return "civitai", f"@{path[3]}"
    if parts.hostname in ("huggingface.co", "hf.co") and len(path) >= 2:
        rest = path[4:] if path[2:3] in (["blob"], ["resolve"]) else []
        return "hub", "/".join([*path[:2], *rest])
    return "", ""
