"""The pictures of a run: what their layout says of them, what settings say, and what a person should know of them."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from limner.base.find import resolution_of
from limner.config import TrainSettings
from limner.data.buckets import MOST_ENLARGEMENT
from limner.data.caption import Tags, says
from limner.data.crop import enlarged
from limner.data.dataset import DataSet, Item, Loaded, Part, Teaching, items, load, of_class
from limner.data.folder import ImageFolder, Picture, load_folder
from limner.data.layout import find_dataset, left_below
from limner.data.mirror import all_one_way, side_of
from limner.errors import UserError
from limner.events import Chosen, Warned
from limner.inventory import named
from limner.methods.method import find_methods
from limner.texts import display

MASK_BACKGROUND = 0.1  # so much counts what lies outside: of nothing at all, the background would go to pieces
# Times a base's own resolution, or one over that, which a data-set file may say and be followed. Far beyond its own a
# base draws everything twice; far below, nothing of what it can.
MOST_BESIDE = 1.5
MANY = 1000  # pictures; more than anybody chose one by one


@dataclass(frozen=True)
class RunData:
    """A run's pictures, checked, by the parts of its data set."""

    dataset: DataSet
    loaded: list[Loaded]
    class_folder: ImageFolder | None = None  # that of class_images

    @property
    def taught(self) -> list[Picture]:
        """The pictures of the subject."""
        return [picture for each in self.loaded if not each.part.is_class for picture in each.pictures]

    @property
    def of_class(self) -> list[Picture]:
        """The pictures of the class, with captions."""
        return of_class(self.loaded)

    @property
    def keywords(self) -> list[str]:
        return list(dict.fromkeys(part.keyword for part in self.dataset.taught))

    def items(self, settings: TrainSettings) -> list[Item]:
        """Every picture of the subject, with its caption and how it is taught. Raises UserError."""
        found = items(self.loaded, teaching(settings))
        if settings.mirror != "auto":
            return found
        asked = [each for each in self.loaded if not each.part.is_class and each.part.mirror is None]
        sides = _sides(items(asked, teaching(settings)))
        sided = [(item, sides.get(item.picture.path, "")) for item in found]
        return [replace(item, mirror=item.mirror and not side, side=side) for item, side in sided]

    @property
    def folder(self) -> Path:
        """What the names in the run's record start from."""
        root = self.dataset.root
        return root if root.is_dir() else root.parent

    def file_name(self, picture: Picture) -> str:
        """How a picture is called in the run's record: by its path from the data set, with forward slashes."""
        return Path(os.path.relpath(picture.path, self.folder)).as_posix()


def find_data(settings: TrainSettings) -> DataSet:
    """The data set that the methods learn from, empty if they need none; no picture is opened. Raises UserError."""
    needs = {name: method.needs_images for name, method in find_methods(settings.method).items()}
    if len(set(needs.values())) > 1:
        raise UserError(f"the method {settings.method} cannot be: one part learns from pictures, another from none")
    if any(needs.values()):
        if settings.images is None:
            raise UserError("images is missing; give the folder of pictures (see --help)")
        dataset = find_dataset(settings.images)
        return replace(dataset, warnings=(*dataset.warnings, *left_below(dataset)))
    if settings.images is not None:
        raise UserError(f"the method {settings.method} learns from prompts alone; leave {settings.images} out")
    if settings.prior != "none":
        raise UserError(f"the method {settings.method} learns from prompts alone; leave --prior {settings.prior} out")
    return DataSet(Path(), ())


def complete(settings: TrainSettings, dataset: DataSet) -> tuple[TrainSettings, list[Chosen]]:
    """The settings with what the data set says where they are open; of several subjects the most repeated is the
    run's. Raises UserError if nobody says the keyword, or if one has two classes."""
    taught = sorted((part for part in dataset.taught if part.keyword), key=lambda part: -part.repeats)
    keyword = settings.keyword or (taught[0].keyword if taught else "")
    if not keyword:
        raise UserError("keyword is missing; give --keyword (see --help)")
    _one_class_each(_called(settings.model_copy(update={"keyword": keyword}), dataset))
    own = next((part for part in taught if _same(part.keyword, keyword)), taught[0] if taught else Part(Path()))
    says = f"{own.folder.name} says so" if dataset.root.is_dir() else f"{dataset.root.name} says so"
    found = {
        "keyword": keyword,
        "class": own.class_word,
        "batch_size": dataset.batch_size,
    }
    given = settings.model_dump(by_alias=True)
    chosen = [Chosen(name, value, says) for name, value in found.items() if value and not given[name]]
    if dataset.resolution and not settings.resolution and _is_near(dataset.resolution, resolution_of(settings.base)):
        chosen.append(Chosen("resolution", dataset.resolution, says))
    chosen += _choose_prior(settings, dataset)
    values = {("class_word" if each.name == "class" else each.name): each.value for each in chosen}
    settings = settings.model_copy(update=values)
    if settings.prior != "none" and not (settings.class_word or settings.class_prompt):
        raise UserError(
            f"prior = {settings.prior} keeps what the base knows of a class, but none is named; say what the subject "
            "is, as in --class dog, or use --prior none"
        )
    return settings, chosen


def choose_resolution(settings: TrainSettings, data: RunData, own: int) -> tuple[list[Chosen], list[Warned]]:
    """The resolution where the data set was made for another one than the base's `own`, and what to say of it: the
    base's, unless the data set's is near it or its images are too small."""
    said = data.dataset.resolution
    if said is None or said == own or settings.resolution not in (None, said):
        return [], []
    name, base = data.dataset.root.name, settings.base
    differs = f"{name} is made for {said} pixels, and the base {base} for {own}"
    if settings.resolution == said:
        advice = "" if _is_near(said, own) else f"; leave --resolution out to train at {own}"
        return [], [Warned(f"{differs}: it is trained at {said}{advice}")]
    too_small = sum(by > MOST_ENLARGEMENT for _, by in enlarged(data.taught, own))
    if too_small and 2 * too_small >= len(data.taught):
        sentence = f"{differs}: its images are too small for that, so it is trained at {said} and will be worse for it"
        again = f"prepare the originals again with limner prepare --base {base}, or take larger images"
        return [Chosen("resolution", said, f"its images are too small for the base's {own}")], [
            Warned(f"{sentence}; {again}")
        ]
    reason = f"it is the base's own, and the data set's {said} is far from it"
    return [Chosen("resolution", own, reason)], [
        Warned(f"{differs}: it is trained at {own}; say --resolution {said} for the other")
    ]


def _is_near(said: int, own: int) -> bool:
    return own / MOST_BESIDE <= said <= own * MOST_BESIDE


def _choose_prior(settings: TrainSettings, dataset: DataSet) -> list[Chosen]:
    """Pictures of the class are there to be shown, unless somebody says otherwise."""
    folders = [part.folder.name for part in dataset.parts if part.is_class]
    if not folders or "prior" in settings.model_fields_set:
        return []
    return [Chosen("prior", "images", f"there are pictures of the class, in {' and '.join(folders)}")]


def count_class(settings: TrainSettings, data: RunData) -> tuple[TrainSettings, list[Chosen]]:
    """The settings with the number of the data set's pictures of the class, if these are what shows it."""
    count = len(data.of_class)
    if not count or settings.prior != "images" or settings.class_images or settings.class_count is not None:
        return settings, []
    chosen = Chosen("class_count", count, "the data set has so many pictures of the class")
    return settings.model_copy(update={"class_count": count}), [chosen]


def load_data(settings: TrainSettings, dataset: DataSet) -> RunData:
    """Check all pictures; the settings are those that `complete` gave. Raises UserError."""
    dataset = replace(dataset, parts=tuple(_called(settings, dataset)))
    _no_conflicts(settings, dataset)
    class_images = settings.class_images if settings.prior == "images" else None
    data = RunData(
        dataset,
        load(dataset, settings.masks, settings.alpha_masks),
        None if class_images is None else load_folder(class_images),
    )
    of_class = [*data.of_class, *(data.class_folder.pictures if data.class_folder else ())]
    no_keyword_of_class([each.caption for each in of_class], [each.path.name for each in of_class], data.keywords)
    no_keyword_of_class([settings.class_prompt], ["class_prompt"], data.keywords)
    if settings.mask_background is not None and not any(picture.mask for picture in _all(data)) and data.taught:
        raise UserError(
            f"mask_background = {settings.mask_background:g}, but no picture has a mask; put cat.mask.png beside "
            "cat.jpg, give --masks or --alpha-masks, or leave it out"
        )
    return data


def _called(settings: TrainSettings, dataset: DataSet) -> Iterator[Part]:
    """The parts with a keyword and a class each: what the settings say wins, unless it names one part of several."""
    keywords = {part.keyword.lower() for part in dataset.taught}
    for part in dataset.parts:
        if part.is_class:
            yield replace(part, class_word=part.class_word or settings.class_word)
            continue
        is_other = part.keyword and settings.keyword.lower() in keywords and not _same(part.keyword, settings.keyword)
        keyword = part.keyword if is_other else settings.keyword
        class_word = part.class_word if is_other else settings.class_word or part.class_word
        yield replace(part, keyword=keyword, class_word=class_word)


def _one_class_each(parts: Iterable[Part]) -> None:
    """Raise UserError for a keyword that stands in two parts with different classes."""
    seen: dict[str, Part] = {}
    for part in parts:
        other = part if part.is_class else seen.setdefault(part.keyword.lower(), part)
        if not _same(other.class_word, part.class_word):
            classes = f"{other.class_word or 'none'} and {part.class_word or 'none'}"
            raise UserError(
                f"{display(other.folder)} and {display(part.folder)} give the keyword {part.keyword!r} two classes, "
                f"{classes}; rename one of them, or say --class"
            )


def _no_conflicts(settings: TrainSettings, dataset: DataSet) -> None:
    """Raise UserError for keywords that cannot all be learned."""
    seen = list(dict.fromkeys(part.keyword.lower() for part in dataset.taught))
    for part in dataset.parts:
        for keyword in seen if part.is_class else ():
            if says(part.class_word, keyword):
                raise UserError(
                    f"the class pictures in {display(part.folder)} are called {part.class_word!r}, with the keyword "
                    f"{keyword!r} in it; call them by the class alone"
                )
    kinds = {method.kind for method in find_methods(settings.method).values()}
    if len(seen) > 1 and "embedding" in kinds:
        raise UserError(
            f"{display(dataset.root)} names the keywords {' and '.join(seen)}, but an embedding is one word; "
            "train them one by one, or all as one with --keyword"
        )


def no_keyword_of_class(captions: Sequence[str | None], names: Sequence[str], keywords: Iterable[str]) -> None:
    """Raise UserError for captions of class pictures that say a keyword: it would come to mean the class."""
    for keyword in filter(None, keywords):
        saying = [name for caption, name in zip(captions, names, strict=True) if caption and says(caption, keyword)]
        if not saying:
            continue
        raise UserError(
            f"{len(saying)} caption{' of class images has' if len(saying) == 1 else 's of class images have'} the "
            f"keyword {keyword!r} in {'it' if len(saying) == 1 else 'them'} ({named(saying)}), which would then mean "
            "the class; call class images by the class alone"
        )


def teaching(settings: TrainSettings) -> Teaching:
    """What the settings say where a part leaves it open."""
    return Teaching(
        template=settings.template,
        tags=Tags(settings.shuffle_captions, settings.keep_tags, settings.tag_dropout),
        dropout=settings.caption_dropout,
        crops=settings.crops or 0,
        mirror=bool(settings.mirror),
        colour_jitter=settings.colour_jitter,
        masks=settings.masks,
        alpha_masks=settings.alpha_masks,
        mask_background=settings.mask_background or 0.0,
    )


def remarks(data: RunData, settings: TrainSettings) -> Iterator[Warned]:
    """What a person should know about the pictures."""
    said = [*data.dataset.warnings, *(remark for each in data.loaded for remark in each.remarks)]
    said += data.class_folder.remarks if data.class_folder else []
    yield from map(Warned, dict.fromkeys(said))
    if data.of_class and (settings.prior != "images" or settings.class_images):
        why = f"class_images = {settings.class_images}" if settings.class_images else f"prior = {settings.prior}"
        yield Warned(f"the data set's {len(data.of_class)} pictures of the class are left out, because {why}")
    left = data.class_folder.skipped if data.class_folder else []
    for skipped in [*(each for part in data.loaded for each in part.skipped), *left]:
        yield Warned(f"{display(skipped.path)} {skipped.reason}; it is left out")
    count = len(data.taught)
    if count == 1:
        yield Warned(
            f"{display(data.taught[0].path.name)} is the only picture: its pose, light and background will be learned "
            "as part of the subject; ten or more different ones leave these free"
        )
    if count > MANY:
        yield Warned(
            f"{count:,} pictures are many for one subject, and each will be seen only a few times; "
            "choose the best twenty to a hundred, or raise --steps"
        )
    bare = [picture for picture in data.taught if picture.mask is None]
    if 0 < len(bare) < count:
        names = named([picture.path.name for picture in bare])
        yield Warned(f"{len(bare)} of {count} pictures have no mask ({names}); all of them counts")


def remarks_on_captions(items: Sequence[Item]) -> Iterator[Warned]:
    varied = [item for item in items if item.tags is not None]
    if varied and not any(item.caption.count(",") > item.tags.keep for item in varied if item.tags):
        yield Warned(
            "shuffling and dropping tags changes nothing: no caption has two tags, separated by commas, "
            f"behind the first {varied[0].tags.keep if varied[0].tags else 0} that are kept"
        )


def _sides(items: Sequence[Item]) -> dict[Path, str]:
    """What keeps pictures from being mirrored."""
    if all_one_way([item.picture for item in items]):
        return {item.picture.path: "a subject that always faces one way" for item in items}
    sides = {item.picture.path: side_of(item.picture, item.caption) for item in items}
    return {path: side for path, side in sides.items() if side}


def choose_mirrored(settings: TrainSettings, items: Sequence[Item]) -> list[Chosen]:
    """What became of mirror = auto."""
    if settings.mirror != "auto" or not items:
        return []
    sides = list(dict.fromkeys(item.side for item in items if item.side))
    why = f"the others have {' or '.join(sides)}" if sides else "nothing in them has a left and a right"
    return [Chosen("mirror", f"{sum(item.mirror for item in items)} of {len(items)} pictures", why)]


def remarks_on_size(data: RunData, resolution: int) -> Iterator[Warned]:
    blurred = [(picture, by) for picture, by in enlarged(data.taught, resolution) if by > MOST_ENLARGEMENT]
    if blurred:
        picture, by = max(blurred, key=lambda pair: pair[1])
        others = f" and {len(blurred) - 1} more" if len(blurred) > 1 else ""
        yield Warned(
            f"{display(picture.path.name)} ({picture.width}x{picture.height}){others} must be enlarged, up to {by:.1f} "
            "times, and will be learned as blurred; take larger pictures if you have them"
        )


def choose_background(settings: TrainSettings, data: RunData) -> list[Chosen]:
    """How much what lies outside the masks counts, if there are any and nobody says it."""
    masked = sum(picture.mask is not None for picture in _all(data))
    if not masked or settings.mask_background is not None:
        return []
    reason = f"{masked} of {len(_all(data))} pictures have a mask, and a little of what lies outside should count"
    return [Chosen("mask_background", MASK_BACKGROUND, reason)]


def _all(data: RunData) -> list[Picture]:
    return [picture for each in data.loaded for picture in each.pictures]


def _same(one: str, other: str) -> bool:
    return one.lower() == other.lower()
