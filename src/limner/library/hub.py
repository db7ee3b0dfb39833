"""The hub, through its own client: search by tags, and a model's files with sizes, hashes and scans."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from limner.errors import UserError
from limner.library.lenient import texts
from limner.library.offer import SUCCESS, Offer, OfferedFile
from limner.library.web import Status, Web
from limner.network import once_only, why_unreachable

if TYPE_CHECKING:
    from huggingface_hub import HfApi

SITE = "https://huggingface.co"
# Tags by which the hub knows what something is, and what it was made from.
FILTERS: dict[str, dict[str, Any]] = {
    "checkpoint": {"pipeline_tag": "text-to-image", "filter": ["diffusers"]},
    "lora": {"filter": ["lora"], "pipeline_tag": "text-to-image"},
    "embedding": {"filter": ["textual_inversion"]},
}
BASES = {
    "sd1": r"(runwayml|stable-diffusion-v1-5)/stable-diffusion-v1-5|CompVis/stable-diffusion-v1-\d",
    "sd2": r"[\w-]+/stable-diffusion-2(-.*)?",
    "sdxl": r"stabilityai/(stable-diffusion-xl|sdxl)-.*|cagliostrolab/animagine-xl.*|[\w-]+/Illustrious-.*",
}
PIPELINES = {"sdxl": "diffusers:StableDiffusionXL", "sd1": "diffusers:StableDiffusionPipeline"}
WORDS = {"sdxl": ("stable-diffusion-xl", "sdxl"), "sd2": ("stable-diffusion-2",), "sd1": ("stable-diffusion-v1-5",)}
SORTS: dict[str, Any] = {"downloads": "downloads", "likes": "likes", "newest": "created_at"}
FIELDS: list[Any] = ["downloads", "likes", "tags", "createdAt", "author", "gated", "pipeline_tag"]
NOT_FOR_ALL = "not-for-all-audiences"
LOOKED_AT = 20  # for each row asked for, so many models at most
FORMATS = {".safetensors": "safetensors", ".ckpt": "pickle", ".pt": "pickle", ".bin": "pickle", ".pth": "pickle"}
SAFE = {"safe": SUCCESS, "unsafe": "Danger", "suspicious": "Danger"}  # the hub's words, in Civitai's


class Hub:
    """The hub. Methods raise UserError, one sentence, if it does not answer or is not to be asked."""

    def __init__(self, api: "HfApi | None" = None) -> None:
        self._given = api

    def search(
        self, query: str, kind: str | None, family: str | None, sort: str, limit: int, nsfw: bool = False
    ) -> list[Offer]:
        """The first models whose tags say that they are of the kind, and made from the family's bases."""
        found: list[Offer] = []
        wanted: dict[str, Any] = FILTERS[kind] if kind else {"pipeline_tag": "text-to-image"}
        with _explained(query):
            listed = self._api.list_models(
                search=query or None, sort=SORTS[sort], limit=limit * LOOKED_AT, expand=FIELDS, **wanted
            )
            for info in listed:
                offer = _offer(info, self._site)
                is_fit = kind in (None, offer.kind) and family in (None, offer.family)
                if is_fit and (nsfw or NOT_FOR_ALL not in (info.tags or ())):
                    found.append(offer)
                if len(found) >= limit:
                    break
        return found

    def model(self, repository: str) -> Offer:
        """A repository's files, each with size, SHA-256 and what the hub's scanners say."""
        with _explained(repository):
            from huggingface_hub.hf_api import RepoFile

            info = self._api.model_info(repository)
            listed = self._api.list_repo_tree(repository, recursive=True, expand=True, revision=info.sha)
            files = [
                _file(each, repository, info.sha or "main", self._site) for each in listed if isinstance(each, RepoFile)
            ]
        weights = [file for file in files if file is not None]
        offer = _offer(info, self._site)
        return Offer(**(vars(offer) | {"files": tuple(_marked(weights))}))

    def web(self) -> Web:
        """For downloads: the hub with its own token, if this machine has one."""
        import huggingface_hub

        from limner.library.key import Key

        token = huggingface_hub.get_token()
        return Web(self._site, Key(token, "the hub's token") if token else None)

    def explain(self, status: Status, offer: Offer) -> UserError:
        """What a person can do about a file that the hub does not give out."""
        words = {
            401: f"log in with hf auth, and accept its terms on {offer.page}",
            403: f"accept its terms on {offer.page}, and log in with hf auth",
            404: "it has no such file any more; look at its page",
            429: "it has had enough requests for now; try again later",
        }
        return UserError(f"the hub answered with status {status.status}: {words.get(status.status, 'try again later')}")

    @property
    def _api(self) -> "HfApi":
        if self._given is None:
            from huggingface_hub import HfApi

            once_only()
            self._given = HfApi(library_name="limner")
        return self._given

    @property
    def _site(self) -> str:
        return self._api.endpoint


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """What the hub's client raises, as sentences."""
    import httpx2
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    advice: list[tuple[type[Exception], Callable[[Any], str]]] = [
        (OfflineModeIsEnabled, lambda _: "the hub is not asked, for HF_HUB_OFFLINE is set; unset it to search there"),
        (
            GatedRepoError,
            lambda _: f"{what} asks for its terms to be accepted: do so on its page, and log in with hf auth",
        ),
        (RepositoryNotFoundError, lambda _: f"the hub has no model {what}; check its name, or log in with hf auth"),
        (HFValidationError, lambda _: f"{what!r} is no name of a model on the hub; write it as OWNER/NAME"),
        (HfHubHTTPError, lambda error: f"the hub answered with status {error.response.status_code}; try again later"),
        (UserError, str),
        (httpx2.TransportError, lambda error: str(why_unreachable("the hub", error))),
        (ValueError, lambda _: "the hub answered with what is no JSON; try again later"),
    ]
    try:
        yield
    # of an answer that lacks what its client takes for granted, that raises what it happens to
    except (
        HfHubHTTPError,
        HFValidationError,
        OSError,
        httpx2.TransportError,
        ValueError,
        LookupError,
        TypeError,
        UserError,
    ) as error:
        words = next((say(error) for kind, say in advice if isinstance(error, kind)), None)
        raise UserError(words or "the hub answered otherwise than its client expects; try again later") from error


def _offer(info: Any, site: str) -> Offer:
    tags = list(texts({"": list(info.tags or ())}, ""))
    bases = [tag.split(":")[-1] for tag in tags if tag.startswith("base_model:")]
    return Offer(
        source="hub",
        id=f"hub:{info.id}",
        title=info.id,
        kind=_kind(tags, info.pipeline_tag),
        page=f"{site}/{info.id}",
        family=_family(tags, bases),
        base=bases[0] if bases else "",
        downloads=info.downloads,
        likes=info.likes,
        published="" if info.created_at is None else f"{info.created_at:%Y-%m-%d}",
        creator=info.author or info.id.partition("/")[0],
        remark="its terms must be accepted on its page first" if info.gated else "",
    )


def _kind(tags: list[str], task: str | None) -> str:
    if "lora" in tags or "base_model:adapter:" in " ".join(tags):
        return "lora"
    if "textual_inversion" in tags:
        return "embedding"
    return "checkpoint" if task in ("text-to-image", None) else task


def _family(tags: list[str], bases: list[str]) -> str:
    """By the bases that its tags name, else by diffusers' pipeline, else by words that people tag with."""
    for family, pattern in BASES.items():
        if any(re.fullmatch(pattern, base) for base in bases):
            return family
    if bases:
        return ""
    for family, pipeline in PIPELINES.items():
        if any(tag.startswith(pipeline) for tag in tags):
            two = family == "sd1" and "stable-diffusion-2" in " ".join(tags)
            return "sd2" if two else family
    return next((family for family, words in WORDS.items() if set(words) & set(tags)), "")


def _file(each: Any, repository: str, revision: str, site: str) -> OfferedFile | None:
    """A file of weights; None of others, and of the parts of a folder in diffusers' layout."""
    name = each.path
    format = FORMATS.get(PurePosixPath(name).suffix.lower())
    if format is None or each.lfs is None:
        return None
    from huggingface_hub import hf_hub_url

    scan = "" if each.security is None else str(each.security.status)
    return OfferedFile(
        name=name,
        url=hf_hub_url(repository, name, revision=revision, endpoint=site),
        key=f"{repository}-{each.lfs.sha256[:16]}",
        size_bytes=each.lfs.size,
        sha256=each.lfs.sha256,
        format=format,
        part="Model" if "/" not in name else "in a folder",
        scans={"the hub's": SAFE.get(scan, scan)},
    )


def _marked(files: list[OfferedFile]) -> Iterator[OfferedFile]:
    """The only file of weights is the main one."""
    alone = [file for file in files if file.part == "Model" and file.format == "safetensors"]
    for file in files:
        yield OfferedFile(**(vars(file) | {"is_main": len(alone) == 1 and file is alone[0]}))
