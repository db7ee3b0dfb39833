"""A data set: folders of pictures, and how each is to be taught; whatever layout it came in."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from limner.data.caption import Tags, caption_for
from limner.data.folder import Picture, Skipped, list_folder, load_folder, unused_masks
from limner.data.listing import CAPTIONS
from limner.data.mask import MaskNames
from limner.errors import UserError
from limner.texts import display


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
    """The pictures of a part, checked. remarks: sentences on what else is there and not used as it was meant."""

    part: Part
    pictures: list[Picture]
    skipped: list[Skipped]
    remarks: list[str] = field(default_factory=list)


def split_tokens(tokens: str, is_class: bool = False) -> tuple[str, str]:
    """Keyword and class of what kohya's folders and files say in one: "zvq dog" -> ("zvq", "dog")."""
    words = " ".join(tokens.split())
    if is_class:
        return "", words
    keyword, _, class_word = words.partition(" ")
    return keyword, class_word


def load(dataset: DataSet, masks: Path | None = None, alpha_masks: bool = False) -> list[Loaded]:
    """Check the pictures of every part. Raises UserError as load_folder does, and for masks that fit none, or two.

    masks: a folder of masks for all parts that have none of their own: in subfolders that are called as theirs are, or
    itself where no two images of the data set have the same name.
    """
    shared = {part.folder: _masks_for(part.folder, dataset.root, masks) for part in dataset.parts if masks is not None}
    if masks is not None:
        _no_mask_of_two(masks, [part.folder for part in dataset.parts if part.masks is None], shared)
    loaded = []
    for part in dataset.parts:
        alpha = alpha_masks if part.alpha_masks is None else part.alpha_masks
        places = [part.masks] if part.masks is not None else shared.get(part.folder)
        folder = load_folder(part.folder, part.captions, places, alpha)
        remarks = folder.remarks
        if part.masks is not None:
            listing = list_folder(part.masks, "masks")[0]
            remarks += unused_masks(
                part.masks, listing, [each.path.name for each in (*folder.pictures, *folder.skipped)]
            )
        loaded.append(Loaded(part, folder.pictures, folder.skipped, remarks))
    if masks is not None:
        if not any(picture.mask for each in loaded for picture in each.pictures):
            raise UserError(
                f"no file in {display(masks)} is a mask of an image: a mask of cat.jpg is called cat.png there"
            )
        loaded[0].remarks.extend(_unused(masks, shared, loaded))
    return loaded


def _masks_for(folder: Path, root: Path, masks: Path) -> list[Path]:
    """Where the masks of a part may lie: in the subfolder of its name first, with the folders above it or without."""
    root = root if root.is_dir() else root.parent
    inside = folder.relative_to(root).parts if folder.is_relative_to(root) else folder.parts[-1:]
    mirrored = [masks.joinpath(*inside[start:]) for start in range(len(inside))]
    return [*(path for path in mirrored if path.is_dir()), masks]


def _no_mask_of_two(masks: Path, folders: Sequence[Path], places: Mapping[Path, list[Path]]) -> None:
    """Raise UserError if one mask would be that of two images."""
    owners: dict[Path, Path] = {}
    for folder in folders:
        listing = list_folder(folder, "images")[0]
        held = {place: list_folder(place, "masks")[0] for place in places[folder]}
        named = [(place, MaskNames([*each.images, *each.masks], True)) for place, each in held.items()]
        for image in listing.images:
            found = next((place / name for place, names in named if (name := names.of(image, listing.stems))), None)
            if found is not None and owners.setdefault(found, folder / image) != folder / image:
                raise UserError(
                    f"{display(found)} could be the mask of {display(owners[found])} or of {display(folder / image)}; "
                    f"rename one of the two images, or put their masks into subfolders of {display(masks)} that are "
                    "called as the folders of the images"
                )


def _unused(masks: Path, places: Mapping[Path, list[Path]], loaded: Sequence[Loaded]) -> Iterator[str]:
    """Sentences on the masks that are of no image, in the folder and in its subfolders that were looked into."""
    for place in dict.fromkeys(place for each in places.values() for place in each):
        images = [
            file.path.name
            for each in loaded
            if each.part.masks is None and place in places[each.part.folder]
            for file in (*each.pictures, *each.skipped)
        ]
        yield from unused_masks(place, list_folder(place, "masks")[0], images)


def items(loaded: Sequence[Loaded], teaching: Teaching) -> list[Item]:
    """Every picture of the subject with its caption. Raises UserError for a template that will not do."""
    return [
        _item(each.part, picture, teaching) for each in loaded if not each.part.is_class for picture in each.pictures
    ]


def of_class(loaded: Sequence[Loaded]) -> list[Picture]:
    """The pictures of the class, called by what the part says where they have no caption."""
    return [
        replace(picture, caption=_class_caption(each.part, picture) or None)
        for each in loaded
        if each.part.is_class
        for picture in each.pictures
    ]


def _item(part: Part, picture: Picture, teaching: Teaching) -> Item:
    caption = caption_for(picture, part.keyword, part.class_word, teaching.template, part.prefix, part.suffix)
    tags = teaching.tags if part.tags is None else part.tags
    return Item(
        picture=picture,
        caption=caption,
        repeats=part.repeats,
        crops=teaching.crops if part.crops is None else min(part.crops, teaching.crops),
        mirror=teaching.mirror if part.mirror is None else part.mirror,
        colour_jitter=teaching.colour_jitter,
        tags=tags.about(part.keyword) if tags.vary else None,
        dropout=teaching.dropout if part.dropout is None else part.dropout,
        mask_background=teaching.mask_background,
    )


def _class_caption(part: Part, picture: Picture) -> str:
    """What a picture of the class is called: by its own caption, or the part's class, between prefix and suffix."""
    if picture.caption is None and not part.class_word:
        return " ".join(" ".join((part.prefix, part.suffix)).split())
    return caption_for(picture, "", part.class_word, "{class}", part.prefix, part.suffix)
