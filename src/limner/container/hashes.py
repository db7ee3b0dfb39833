"""The hashes by which A1111, kohya's tools and Civitai recognise a file."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

LEGACY_START, LEGACY_LENGTH = 0x100000, 0x10000  # the window that the first webuis hashed


@dataclass(frozen=True)
class Hashes:
    """sha256: of the whole file. tensors: SHA-256 of all bytes after the header, which editing metadata leaves alone;
    "" of a file that has none.

    autov1, autov2, autov3: Civitai's names for the first webuis' hash, of a window of the file, for the first 10 digits
    of sha256, and for the first 12 of tensors.
    """

    sha256: str
    tensors: str
    autov1: str

    @property
    def autov2(self) -> str:
        return self.sha256[:10]

    @property
    def autov3(self) -> str:
        return self.tensors[:12]


def hash_file(path: Path, data_start: int) -> Hashes:
    """All hashes; `data_start` is the offset of the first tensor's bytes, 0 if there is no header to be left out."""
    whole, tensors = hashlib.sha256(), hashlib.sha256()
    with path.open("rb") as stream:
        whole.update(stream.read(data_start))
        while chunk := stream.read(2**20):
            whole.update(chunk)
            tensors.update(chunk)
        stream.seek(LEGACY_START)
        window = stream.read(LEGACY_LENGTH)
    return Hashes(whole.hexdigest(), tensors.hexdigest() if data_start else "", legacy_digest(window))


def model_hash(file: bytes) -> str:
    """kohya's `sshs_model_hash` of a safetensors file's bytes, 64 hex digits; A1111's LoRA hash is its first 12."""
    return hashlib.sha256(file[8 + int.from_bytes(file[:8], "little") :]).hexdigest()


def legacy_hash(file: bytes) -> str:
    """kohya's `sshs_legacy_hash`, 8 hex digits, of the bytes of a file serialised with only its `ss_` metadata."""
    return legacy_digest(file[LEGACY_START : LEGACY_START + LEGACY_LENGTH])


def legacy_digest(window: bytes) -> str:
    return hashlib.sha256(window).hexdigest()[:8]
