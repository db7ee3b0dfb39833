"""Which file of a model is fetched, and whether it may be: decided before anything is."""

from dataclasses import dataclass

from limner.config import KIND_FOLDERS
from limner.errors import UserError
from limner.library.offer import DANGER, SUCCESS, Offer, OfferedFile


class Refused(UserError):
    """A file that is not taken on these terms, but on others. reason: the sentence without what a command would say.
    agree: the terms that a person would have to agree to, "pickle" or "unverified"; "" where it is only to be said
    which of `files` is meant."""

    def __init__(self, reason: str, hint: str, agree: str = "", files: tuple[str, ...] = ()) -> None:
        super().__init__(reason + hint)
        self.reason, self.agree, self.files = reason, agree, files


@dataclass(frozen=True)
class Terms:
    """What a person agrees to. file: its name, None for the main one. pickle, unverified: see DownloadSettings."""

    file: str | None = None
    pickle: bool = False
    unverified: bool = False
    max_bytes: int = 20 * 10**9


def choose(offer: Offer, terms: Terms) -> OfferedFile:
    """The file of a model to fetch. Raises UserError, with the reason, if it is not to be taken."""
    if not offer.files:
        raise UserError(f"{offer.id} has no file of weights; look at its page {offer.page}")
    if terms.file is not None:
        named = [file for file in offer.files if terms.file in (file.name, file.key)]
        if len(named) != 1:
            several = f"{len(named)} files named" if named else "no file"
            known = ", ".join(f"{file.name} ({file.key})" if named else file.name for file in offer.files[:12])
            raise UserError(f"{offer.id} has {several} {terms.file!r}; there is {known}")
        file = named[0]
    else:
        main = offer.main
        weights = [each for each in offer.files if each.format == "safetensors" and each.part != "in a folder"]
        if main is None or (offer.source == "hub" and len(weights) > 1):
            names = tuple(each.name for each in offer.files)
            hint = f"; say with --file which: {', '.join(names[:12])}"
            raise Refused(f"{offer.id} has several files", hint, files=names)
        file = main
    _require_known(offer)
    _require_trust(offer, file, terms)
    return file


def _require_known(offer: Offer) -> None:
    if offer.kind not in KIND_FOLDERS:
        what = offer.kind or "thing of no kind"
        raise UserError(f"{offer.id} is a {what}; only checkpoints, LoRAs and embeddings are fetched")


def _require_trust(offer: Offer, file: OfferedFile, terms: Terms) -> None:
    """Raise UserError unless the site's scanners let a file pass, and it is one whose contents can be checked."""
    where = f"{file.name} of {offer.id}"
    bad = [scan for scan, result in file.scans.items() if result == DANGER]
    if bad:
        said = f" ({file.scan_message})" if file.scan_message else ""
        raise UserError(f"{where} was found dangerous by {' and '.join(bad)} scan{said}; it is not fetched")
    if file.format == "pickle" and not terms.pickle:
        reason = f"{where} is a pickle, which can carry programs; look for a .safetensors"
        raise Refused(reason, ", or say --pickle", "pickle")
    if file.format not in ("safetensors", "pickle"):
        what = file.format or "file of unknown format"
        raise UserError(f"{where} is a {what}, which Limner does not read; choose another with --file")
    if terms.unverified:
        return
    open_ = [f"{scan} scan: {result or 'not done'}" for scan, result in file.scans.items() if result != SUCCESS]
    if open_ or not file.scans:
        reason = f"{where} is not verified ({', '.join(open_) or 'no scan'}); wait for it"
        raise Refused(reason, ", or say --unverified", "unverified")
    if file.sha256 is None:
        reason = f"{where} has no published SHA-256 to check it by; take another"
        raise Refused(reason, ", or say --unverified", "unverified")
