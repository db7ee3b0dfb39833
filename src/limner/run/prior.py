"""What a run shows its model of the class, so that it is not lost: pictures of it, or the base's own predictions."""

import hashlib
from collections.abc import Generator, Sequence

from limner.base.model import BaseModel
from limner.classes import Size, class_request, drawn, shares
from limner.config import TrainSettings
from limner.data.batch import Example, Known
from limner.data.cache import ask, encode_caption, encode_view
from limner.data.caption import class_caption
from limner.data.crop import centre_crop
from limner.data.crop import sizes as sizes_of
from limner.data.folder import Picture
from limner.device import generator
from limner.diffusion import Objective, add_noise, draw_noise, draw_timesteps, signal_levels
from limner.events import Prepared
from limner.run.data import RunData

DRAWING, ENCODING, ASKING = "drawing class pictures", "encoding class pictures", "asking the base about the class"


def class_prompt(settings: TrainSettings) -> str:
    """What pictures of the class are called: by default what the subject's are, without the keyword."""
    return settings.class_prompt or class_caption(settings.class_word, settings.template)


def load_class(settings: TrainSettings, data: RunData) -> list[Picture]:
    """The person's own pictures of the class, each once, from their folder, or else those beside the subject's in its
    data set."""
    if settings.prior != "images":
        return []
    own = data.of_class if data.class_folder is None else data.class_folder.pictures
    return _different(own)[: settings.class_count]


def prior_examples(
    model: BaseModel,
    settings: TrainSettings,
    own: list[Picture],
    subject: Sequence[Example],
    objective: Objective,
    live_text: bool,
) -> Generator[Prepared, None, list[Example]]:
    """The second source of the run's batches, none if it has no prior preservation. To be called before a method
    attaches. own: the person's pictures of the class, if any. live_text: leave captions to be encoded as the run goes.
    """
    if settings.prior == "match":
        return (yield from _answers(model, settings, subject, objective, live_text))
    if settings.prior == "images":
        sizes = _sizes(model, subject, len(own) or settings.class_count or 0)
        if own:
            pictures = [(own[index % len(own)], size) for index, size in enumerate(sizes)]
        else:
            pictures = yield from _drawn(model, settings, sizes)
        return (yield from _encoded(model, settings, pictures, live_text))
    return []


def _sizes(model: BaseModel, subject: Sequence[Example], count: int) -> list[Size]:
    """A size for each of `count` pictures: the subject's, each in its share, and if need be more to have them all."""
    return shares([(e.latents.shape[2] * model.factor, e.latents.shape[1] * model.factor) for e in subject], count)


def _drawn(
    model: BaseModel, settings: TrainSettings, sizes: list[Size]
) -> Generator[Prepared, None, list[tuple[Picture, Size]]]:
    """Pictures that the base draws of the class, as many as there are sizes; those of earlier runs are taken again."""
    assert settings.resolution is not None
    found: list[tuple[Picture, Size]] = []
    for size in dict.fromkeys(sizes):
        request = class_request(model, class_prompt(settings), size, settings.resolution, settings.clip_skip)
        end = len(found) + sizes.count(size)
        for pictures in drawn(model, request, settings.class_seed, settings.cache):
            found += [(picture, size) for picture in pictures[: end - len(found)]]
            yield Prepared(len(found), len(sizes), DRAWING)
            if len(found) == end:
                break
    kept = {picture.path for picture in _different([picture for picture, _ in found])}
    return [(picture, size) for picture, size in found if picture.path in kept]


def _different(pictures: list[Picture]) -> list[Picture]:
    """Each picture once, by what it shows."""
    seen: dict[str, Picture] = {}
    for picture in pictures:
        image = picture.open()
        seen.setdefault(hashlib.sha256(f"{image.size}".encode() + image.tobytes()).hexdigest(), picture)
    return list(seen.values())


def _encoded(
    model: BaseModel, settings: TrainSettings, pictures: list[tuple[Picture, Size]], live_text: bool
) -> Generator[Prepared, None, list[Example]]:
    """One example of each picture; the caption of one that has none is the class prompt."""
    cache = settings.cache / "examples"
    found = []
    for picture, size in pictures:
        caption = picture.caption or class_prompt(settings)
        told = None if live_text else encode_caption(model, caption, cache, settings.clip_skip)
        view = centre_crop(picture, *size)
        latents = encode_view(model, picture, view, cache)
        found.append(Example(latents, caption, told, sizes=sizes_of(picture, view)))
        yield Prepared(len(found), len(pictures), ENCODING)
    return found


def _answers(
    model: BaseModel, settings: TrainSettings, subject: Sequence[Example], objective: Objective, live_text: bool
) -> Generator[Prepared, None, list[Example]]:
    """What the base predicts under the class prompt for the subject's own pictures with noise: of these it must not
    come to see the subject in them. Stratified over timesteps; every example about as often as any other."""
    sizes = _sizes(model, subject, settings.class_count or 0)
    count, prompt, cache = len(sizes), class_prompt(settings), settings.cache / "examples"
    told = encode_caption(model, prompt, cache, settings.clip_skip)
    levels = signal_levels(model, objective.zero_terminal_snr)
    random = generator(settings.class_seed)
    timesteps = draw_timesteps(model, count, random, objective.timesteps)
    found = []
    for index, (timestep, size) in enumerate(zip(timesteps.tolist(), sizes, strict=True)):
        shape = (size[1] // model.factor, size[0] // model.factor)
        fitting = [example for example in subject if tuple(example.latents.shape[1:]) == shape]
        own = fitting[index % len(fitting)]
        noise = draw_noise(own.latents[None], random, objective.noise_offset)
        noisy = add_noise(own.latents[None], noise, levels[timestep])[0]
        answer = ask(model, noisy, timestep, told.with_sizes(own.sizes), cache)
        known = Known(timestep, answer)
        found.append(Example(noisy, prompt, None if live_text else told, known=known, sizes=own.sizes))
        yield Prepared(len(found), count, ASKING)
    return found
