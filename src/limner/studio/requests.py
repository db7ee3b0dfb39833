"""What a job is asked for: settings as in the commands, but sets of pictures by number and models by name.

No request holds a path: what it names is looked up among what the studio knows.
"""

from functools import partial
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from limner.config import PrepareSettings, Settings, TrainSettings, Words, read_training
from limner.errors import UserError
from limner.studio.forms import in_words_of_forms, no_places
from limner.studio.inputs import InputName
from limner.studio.methods import missing_settings
from limner.upscalers import NONE, find_upscaler

MODEL = "A model by its name on the shelf, as in Stable-diffusion/name.safetensors, or pocket."

OR_NONE = f"{MODEL} Left empty it is pocket too, which photographs are refused on then."

OfTraining = Annotated[dict[str, Any], AfterValidator(lambda values: no_places(TrainSettings, values))]
OfPreparing = Annotated[dict[str, Any], AfterValidator(lambda values: no_places(PrepareSettings, values))]


def _named(name: str, of_pixels: bool = False) -> str:
    try:
        return find_upscaler(name, of_pixels)
    except UserError as error:
        raise ValueError(str(error)) from error


Upscaler = Annotated[str, StringConstraints(max_length=100), AfterValidator(_named)]
PixelUpscaler = Annotated[str, StringConstraints(max_length=100), AfterValidator(partial(_named, of_pixels=True))]


def check_training(values: dict[str, Any]) -> None:
    """Raise ValueError for settings of `limner train` that no training can have, as far as a server without torch can
    tell: values out of bounds, unknown names, and what a method cannot do without."""
    try:
        settings, tables = read_training(values, "More")
    except UserError as error:
        raise ValueError(in_words_of_forms(str(error))) from error
    for method in settings.method.split("+"):
        for name in missing_settings(method, tables.get(method, {})):
            raise ValueError(f'fill in "{name.replace("_", " ")}" under More: {method} cannot be trained without it')


class TrainRequest(Settings):
    """Train on a set of pictures. more: other settings of `limner train` by name, and a method's own in its table."""

    dataset: int | None = Field(None, ge=1, description="Number of the set of pictures; a slider needs none.")
    keyword: Words = Field("", max_length=100, description="The word that will stand for the subject in prompts.")
    class_word: Words = Field("", alias="class", max_length=100, description="What the subject is, as in dog or style.")
    base: str = Field("", max_length=500, description=OR_NONE)
    method: str = Field("lora", max_length=100, description="What is trained.")
    name: Words = Field("", max_length=100, description="Of the file, without its ending; by default the keyword.")
    replace: bool = Field(False, description="Whether the file takes the place of one of its name.")
    more: OfTraining = Field({}, description="Other settings of limner train, by name.")
    preparing: OfPreparing = Field({}, description="Other settings of limner prepare, by name.")

    @model_validator(mode="after")
    def _possible(self) -> Self:
        """What can be seen to be wrong without opening anything is refused before there is a job."""
        own = {"keyword": self.keyword, "class": self.class_word, "method": self.method}
        check_training(dict(self.more) | own)
        return self


class EmbeddingRequest(Settings):
    """Make a word for prompts, to be trained."""

    name: str = Field(min_length=1, max_length=100, description="The word, and the name of its file.")
    vectors: int = Field(4, ge=1, le=16, description="How many, each taking one of a prompt's 75 places.")
    initial: str = Field("", max_length=500, description="Words from which it starts; by default chance.")
    overwrite: bool = Field(False, description="Whether it takes the place of one of its name.")
    base: str = Field("pocket", max_length=500, description=MODEL)


class CompareRequest(Settings):
    """Teach several methods the same set of pictures, and judge them by pictures that taught none."""

    dataset: int = Field(ge=1, description="Number of the set of pictures, at least 4.")
    keyword: Words = Field(min_length=1, max_length=100, description="The word that will stand for the subject.")
    class_word: Words = Field("", alias="class", max_length=100, description="What the subject is, as in dog or style.")
    base: str = Field("", max_length=500, description=OR_NONE)
    methods: str = Field("lora,embedding", max_length=500, description="What to compare, as in lora,lokr,pivotal.")
    minutes: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="For the training of each method; by default to its own stop."
    )
    count: int = Field(3, ge=1, le=100, description="Pictures of each prompt.")
    drawing_steps: int = Field(20, ge=1, le=1000, description="Steps of the sampler.")
    prompts: tuple[str, ...] = Field((), max_length=100, description="What to draw; by default the pictures' captions.")
    more: OfTraining = Field({}, description="Other settings of limner train, by name, for all methods.")
    preparing: OfPreparing = Field({}, description="Other settings of limner prepare, by name.")


class CheckRequest(Settings):
    """Look at a set of pictures."""

    dataset: int = Field(ge=1, description="Number of the set of pictures.")
    keyword: Words = Field("", max_length=100, description="The word that will stand for the subject in prompts.")
    class_word: Words = Field("", alias="class", max_length=100, description="What the subject is, as in dog or style.")
    base: str = Field("pocket", max_length=500, description=MODEL)
    method: str = Field("lora", max_length=100, description="What will be trained.")
    resolution: int | None = Field(None, ge=32, le=4096, description="Pixels; by default the base's own.")


class PrepareRequest(Settings):
    """Make a data set of a set of pictures. more: other settings of `limner prepare` by name."""

    dataset: int = Field(ge=1, description="Number of the set of pictures.")
    keyword: Words = Field("", max_length=100, description="The word that will stand for the subject in prompts.")
    class_word: Words = Field("", alias="class", max_length=100, description="What the subject is, as in dog or style.")
    base: str = Field("pocket", max_length=500, description=MODEL)
    more: OfPreparing = Field({}, description="Other settings of limner prepare, by name.")


class KeywordRequest(Settings):
    """Ask a base what a keyword means to it."""

    keyword: Words = Field(min_length=1, max_length=100, description="The word that is to stand for the subject.")
    class_word: Words = Field("", alias="class", max_length=100, description="What the subject is, as in dog or style.")
    base: str = Field("pocket", max_length=500, description=MODEL)
    count: int = Field(2, ge=1, le=20, description="Pictures of each prompt.")
    drawing_steps: int = Field(12, ge=1, le=150, description="Steps of the sampler.")
    proposals: int = Field(4, ge=0, le=20, description="How many other keywords to propose.")


class InitRequest(Settings):
    """What to start from, as in `limner generate`; pictures by the names under which they were kept (inputs.py)."""

    images: tuple[InputName, ...] = Field(min_length=1, max_length=16, description="One for each of a batch, in turn.")
    strength: float = Field(0.75, ge=0, le=1, description="How far to leave the picture: 0 keeps it, 1 draws anew.")
    resize: Literal["stretch", "crop", "fill", "latent"] = Field("crop", description="How the picture gets the size.")
    mask: InputName | None = Field(None, description="White where to draw anew; the rest stays.")
    mask_invert: bool = Field(False, description="Draw anew where the mask is black.")
    mask_blur: float = Field(4, ge=0, le=256, description="Pixels by which the mask's edge is softened.")
    fill: Literal["fill", "original", "noise", "nothing"] = Field("original", description="What is put there at first.")
    only_masked: bool = Field(False, description="Draw only the part around the mask, in the full size.")
    padding: int = Field(32, ge=0, le=2048, description="Pixels around the mask that only masked sees as well.")


class HiresRequest(Settings):
    """A second pass at a larger size, as in `limner generate`."""

    scale: float = Field(2.0, ge=1, le=8, description="How many times larger.")
    width: int | None = Field(None, ge=64, le=4096, description="Pixels, instead of the scale; what stands over goes.")
    height: int | None = Field(None, ge=64, le=4096, description="Pixels, instead of the scale.")
    upscaler: Upscaler = Field("Latent", description="What makes it larger, as the webui calls it.")
    steps: int = Field(0, ge=0, le=150, description="Of the second pass; 0 takes as many as the first has.")
    strength: float = Field(0.7, ge=0.01, le=1, description="How far to leave what was drawn first.")


class EnlargeRequest(Settings):
    """Make finished pictures larger, without drawing them anew."""

    images: tuple[InputName, ...] = Field(min_length=1, max_length=100, description="As they were kept (inputs.py).")
    scale: float = Field(2.0, gt=0, le=8, allow_inf_nan=False, description="How many times larger.")
    width: int | None = Field(None, ge=1, le=8192, description="Pixels; with the height instead of the scale.")
    height: int | None = Field(None, ge=1, le=8192, description="Pixels; with the width instead of the scale.")
    crop: bool = Field(True, description="Cut to that width and height; else they are covered.")
    upscaler: PixelUpscaler = Field(NONE, description="As the webui calls it; None leaves them as they are.")
    second_upscaler: PixelUpscaler = Field(NONE, description="Of a second picture, laid over the first.")
    share: float = Field(0.0, ge=0, le=1, description="How much of the second is seen.")


class GenerateRequest(Settings):
    """Draw pictures. keep: in the gallery, not only in the job's folder, which goes when it is forgotten."""

    prompt: str = Field("", max_length=20_000, description="In the webui's grammar.")
    negative_prompt: str = Field("", max_length=20_000, description="What the pictures should not show.")
    base: str = Field("pocket", max_length=500, description=MODEL)
    steps: int = Field(20, ge=1, le=150, description="Sampling steps.")
    sampler: str = Field("DPM++ 2M", max_length=100, description="As the webui calls it.")
    schedule: str = Field("automatic", max_length=100, description="As the webui calls it.")
    cfg_scale: float = Field(7.0, ge=0, le=50, allow_inf_nan=False, description="How much the prompt counts.")
    width: int | None = Field(None, ge=64, le=2048, description="Pixels; by default the base's own.")
    height: int | None = Field(None, ge=64, le=2048, description="Pixels; by default the base's own.")
    seed: int = Field(-1, ge=-1, lt=2**62, description="Of the first picture; -1 for any.")
    count: int = Field(1, ge=1, le=100, description="Pictures.")
    batch_size: int = Field(1, ge=1, le=16, description="Pictures that are computed together.")
    clip_skip: int = Field(1, ge=1, le=24, description="Layers of the text encoder that are left out, and one.")
    subseed: int = Field(-1, ge=-1, lt=2**62, description="Of other noise, to vary a picture with; -1 for any.")
    subseed_strength: float = Field(0.0, ge=0, le=1, description="How far to go from the seed's noise to the other.")
    init: InitRequest | None = Field(None, description="What to start from; by default noise alone.")
    hires: HiresRequest | None = Field(None, description="A second pass at a larger size; by default none.")
    keep: bool = Field(True, description="Whether the pictures go into the gallery.")

    @model_validator(mode="after")
    def _larger_from_noise(self) -> Self:
        if self.init is not None and self.hires is not None:
            raise ValueError(
                "a second pass makes larger what was drawn from noise; leave out hires, or the picture to start from"
            )
        return self


class GridAxis(Settings):
    """What changes along one direction of a grid. words: the first value stands in the prompt, and the others in its
    place. weight: that of a LoRA of the prompt. All others are settings of a picture."""

    name: Literal[
        "words", "weight", "base", "seed", "steps", "sampler", "schedule", "cfg_scale", "clip_skip", "width", "height"
    ] = Field(description="What changes.")
    values: tuple[Annotated[Words, StringConstraints(min_length=1, max_length=2000)], ...] = Field(
        min_length=1, max_length=100, description="From the first to the last."
    )
    lora: str = Field("", max_length=500, description="Whose weight changes; by default that of the prompt's first.")

    @model_validator(mode="after")
    def _values_that_can_be(self) -> Self:
        for value in self.values if self.name in GenerateRequest.model_fields else ():
            try:
                GenerateRequest.read({self.name: value}, "a value of the grid")
            except UserError as error:
                raise ValueError(str(error)) from error
        return self


class GridRequest(GenerateRequest):
    """Draw pictures that differ along two or three directions, and put them on one page."""

    x: GridAxis = Field(description="To the right.")
    y: GridAxis | None = Field(None, description="Downwards.")
    z: GridAxis | None = Field(None, description="From one table to the next.")

    @model_validator(mode="after")
    def _from_noise(self) -> Self:
        if self.init is not None or not self.keep:
            raise ValueError("a grid starts from noise alone and goes into the gallery; leave out init and keep")
        return self


class DownloadRequest(Settings):
    """Fetch a model that a search found, onto the shelf."""

    id: str = Field(max_length=500, description="As a search shows it: civitai:MODEL@VERSION or hub:OWNER/NAME.")
    file: str | None = Field(None, max_length=500, description="Which of a model's files; by default the main one.")
    pickle: bool = Field(False, description="Take a pickle too, which can carry programs; it is never run.")
    unverified: bool = Field(False, description="Take what is not scanned, or has no published hash.")
    max_gb: float = Field(20.0, gt=0, le=1000, allow_inf_nan=False, description="Most gigabytes to fetch.")


class HashRequest(Settings):
    """Work out hashes of models that have none yet."""

    names: tuple[Annotated[str, Field(max_length=4096)], ...] = Field(
        (), max_length=1000, description="Models by name; all of them by default."
    )
