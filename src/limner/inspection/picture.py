"""A picture's generation text, in fields."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from limner.errors import UserError
from limner.files import sha256_file
from limner.formats import picture
from limner.infotext import Infotext, open_picture, read_picture
from limner.used import Used, used_embeddings, used_loras, used_model


@dataclass(frozen=True)
class Picture:
    """A picture's facts. settings: all that the text says, by the webui's names; model: None if it does not say.

    says: whether there is a generation text at all. holds: of a picture that an embedding is hidden in, {text encoder:
    vectors}.
    """

    path: str
    size_bytes: int
    kind: str
    format: str
    width: int
    height: int
    says: bool
    prompt: str
    negative_prompt: str
    settings: dict[str, str]
    model: Used | None
    loras: tuple[Used, ...]
    embeddings: tuple[Used, ...]
    holds: dict[str, int]
    sha256: str

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def examine_picture(path: Path) -> Picture:
    """Facts about a PNG, JPEG, WebP, AVIF or GIF file. Raises UserError if it is damaged or too large."""
    with open_picture(path) as image:
        format, (width, height) = str(image.format), image.size
        has_chunk = picture.CHUNK in image.info
    said = read_picture(path)
    text = said or Infotext("")
    return Picture(
        path=str(path),
        size_bytes=path.stat().st_size,
        kind="picture",
        format=format,
        width=width,
        height=height,
        says=said is not None,
        prompt=text.prompt,
        negative_prompt=text.negative_prompt,
        settings=text.settings,
        model=used_model(text),
        loras=used_loras(text),
        embeddings=used_embeddings(text),
        holds=_embedding(path) if format == "PNG" and (said is None or has_chunk) else {},
        sha256=sha256_file(path),
    )


def _embedding(path: Path) -> dict[str, int]:
    try:
        return {network: len(vectors) for network, vectors in picture.load(path).tensors.items()}
    except UserError:  # as nearly every picture has none
        return {}
