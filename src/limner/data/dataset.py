"""A data set: folders of pictures, and how each is to be taught; whatever layout it came in."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from limner.data.caption import Tags, caption_for
from limner.data.folder import CAPTIONS, Picture, Skipped, load_folder
from limner.errors import UserError


@dataclass(frozen=True)
class Part:
    """A folder of a data set, and what its name or a data-set file says of it; None leaves it to the run's settings.

    repeats: appearances of each picture in an epoch. is_class: whether the pictures show the class without the
    subject. captions: endings of their files. masks: a folder. prefix and suffix: put around every caption.
    dropout: share of captions left empty. crops: random ones of each picture. mirror: show them mirrored too.
    """

    folder: Path
    keyword: str = ""
    class_word: str = ""
    repeats: int = 1
    is_class: bool = False
    captions: tuple[str, ...] = CAPTIONS
    prefix: str = ""
    suffix: str = ""
    tags: Tags | None = None
    dropout: float | None = None
    crops: int | None = None
    mirror: bool | None = None
    masks: Path | None = None
    alpha_masks: bool | None = None


@dataclass(frozen=True)
class DataSet:
    """The parts of a data set. root: the folder or file that was given.

    resolution and batch_size: what a data-set file says. warnings: sentences on what was passed over.
    """

    root: Path
    parts: tuple[Part, ...]
    resolution: int | None = None
    batch_size: int | None = None
    warnings: tuple[str, ...] = ()

    @property
    def taught(self) -> tuple[Part, ...]:
        """The parts that show the subject."""
        return tuple(part for part in self.parts if not part.is_class)


@dataclass(frozen=True)
class Item:
    """A picture, its caption, and how it is taught.

    repeats: appearances in an epoch. weight: of its loss. crops, mirror, colour_jitter: as crop.crops_for takes
    them. tags, dropout: as Batches does. mask_background: how much counts outside its mask.
    side: what keeps it from being mirrored.
    """

    picture: Picture
    caption: str
    repeats: int = 1
    weight: float = 1.0
    crops: int = 0
    mirror: bool = False
    colour_jitter: float = 0.0
    tags: Tags | None = None
    dropout: float = 0.0
    mask_background: float = 0.0
    side: str = ""


@dataclass(frozen=True)
class Teaching:
    """What the run's settings say where a part leaves it open."""

    template: str
    tags: Tags = field(default_factory=Tags)
    dropout: float = 0.0
    crops: int = 0
    mirror: bool = False
    colour_jitter: float = 0.0
    masks: Path | None = None
    alpha_masks: bool = False
    mask_background: float = 0.0


@dataclass(frozen=True)
class Loaded:
    """The pictures of a part, checked."""

    part: Part
    pictures: list[Picture]
    skipped: list[Skipped]


def split_tokens(tokens: str, is_class: bool = False) -> tuple[str, str]:
    """Keyword and class of what kohya's folders and files say in one: "zvq dog" -> ("zvq", "dog")."""
    words = " ".join(tokens.split())
    if is_class:
        return "", words
    keyword, _, class_word = words.partition(" ")
    return keyword, class_word


def load(dataset: DataSet, masks: Path | None = None, alpha_masks: bool = False) -> list[Loaded]:
    """Check the pictures of every part. Raises UserError as load_folder does, and for masks that fit none."""
    loaded = []
    for part in dataset.parts:
        alpha = alpha_masks if part.alpha_masks is None else part.alpha_masks
        folder = load_folder(part.folder, part.captions, part.masks or masks, alpha)
        loaded.append(Loaded(part, folder.pictures, folder.skipped))
    if masks is not None and not any(picture.mask for each in loaded for picture in each.pictures):
        raise UserError(f"no file in {masks} is a mask of a picture: a mask of cat.jpg is called cat.png there")
    return loaded


def items(loaded: Sequence[Loaded], teaching: Teaching) -> list[Item]:
    """Every picture of the subject with its caption. Raises UserError for a template that will not do."""
    return [
        _item(each.part, picture, teaching) for each in loaded if not each.part.is_class for picture in each.pictures
    ]


def of_class(loaded: Sequence[Loaded]) -> list[Picture]:
    """The pictures of the class, called by what the part says where they have no caption."""
    return [
        replace(picture, caption=_around(each.part, picture.caption or each.part.class_word) or None)
        for each in loaded
        if each.part.is_class
        for picture in each.pictures
    ]


def _item(part: Part, picture: Picture, teaching: Teaching) -> Item:
    caption = caption_for(picture, part.keyword, part.class_word, teaching.template)
    tags = teaching.tags if part.tags is None else part.tags
    return Item(
        picture=picture,
        caption=_around(part, caption),
        repeats=part.repeats,
        crops=teaching.crops if part.crops is None else min(part.crops, teaching.crops),
        mirror=teaching.mirror if part.mirror is None else part.mirror,
        colour_jitter=teaching.colour_jitter,
        tags=tags.about(part.keyword) if tags.vary else None,
        dropout=teaching.dropout if part.dropout is None else part.dropout,
        mask_background=teaching.mask_background,
    )


def _around(part: Part, caption: str) -> str:
    return " ".join(text for text in (part.prefix, caption, part.suffix) if text)
