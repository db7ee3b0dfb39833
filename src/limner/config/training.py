"""The settings of a training, in sections; a section's `title` heads its options in the help."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from limner.config.common import Cache, ClassPrompt, Machine, Models, Seed
from limner.config.settings import FilePath, Settings, Usual, Words, nearest
from limner.config.watching import Watching
from limner.errors import UserError

# Settings of one training that another one does not take over from its run.toml, and how that file begins.
OF_ONE_RUN = ("out", "run", "diffusers_folder", "overwrite")
RUN_HEADER = f"One training, for limner resume. limner train --config takes over all but {', '.join(OF_ONE_RUN)}."
# Names that people know for a method, or for methods trained together.
METHOD_NAMES = {"dreambooth": "full", "pivotal": "embedding+lora"}


class Pictures(Settings):
    """What to learn."""

    title: ClassVar[str] = "What to learn"

    images: FilePath | None = Field(
        None,
        description="Folder of pictures, a .txt beside one is its caption; or kohya's folders or .toml file.",
    )
    keyword: Words = Field(
        "",
        max_length=100,
        description="The word that will stand for the subject in prompts; kohya's folders may say it.",
    )
    class_word: Words = Field(
        "", alias="class", description="What the subject is, in a word or two, as in dog or style."
    )
    template: str = Field(
        "{keyword} {class}",
        description="Caption of a picture that has none, or a list of such: object, person, animal, style, auto.",
    )
    shuffle_captions: bool = Field(False, description="Say the tags of captions, split at commas, in changing order.")
    keep_tags: Annotated[int, Usual(0, 20)] = Field(
        1, ge=0, le=1000, description="Tags at a caption's beginning that stay there."
    )
    tag_dropout: Annotated[float, Usual(0, 0.5)] = Field(
        0.0, ge=0, lt=1, description="Share of the other tags left out, the keyword never."
    )
    crops: Annotated[int | None, Usual(0, 16)] = Field(
        None, ge=0, le=100, description="Random crops of a picture, beside the centre one."
    )
    mirror: bool | Literal["auto"] = Field(
        False,
        description="Show all pictures mirrored too; not for faces and letters. auto: only those in which nothing has "
        "a left and a right.",
    )
    colour_jitter: Annotated[float, Usual(0, 0.4)] = Field(
        0.0,
        ge=0,
        le=1,
        description="Show all pictures in other lights too, brightness, contrast and saturation up to so much apart.",
    )
    masks: FilePath | None = Field(
        None, description="Folder of masks, white where a picture counts; by default name.mask.png beside name.jpg."
    )
    alpha_masks: bool = Field(False, description="Take the transparency of pictures without a mask as theirs.")
    mask_background: Annotated[float | None, Usual(0, 1)] = Field(
        None, ge=0, le=1, description="How much counts what lies outside a mask, 0 for nothing, 1 for all."
    )
    resolution: Annotated[int | None, Usual(256, 1536)] = Field(
        None, ge=32, le=4096, description="Pixels along a square picture's side."
    )


class Learning(Settings):
    """How to learn it."""

    title: ClassVar[str] = "How to learn it"

    method: str = Field(
        "lora", description="What is trained; its own settings are a table of its name, as in --set lora.rank=8."
    )
    steps: Annotated[int | None, Usual(1, 30_000)] = Field(None, ge=1, le=1_000_000, description="Optimizer steps.")
    minutes: Annotated[float | None, Usual(0, 2880)] = Field(
        None, gt=0, allow_inf_nan=False, description="End after so much time, with what is learned by then."
    )
    batch_size: Annotated[int | None, Usual(1, 64)] = Field(None, ge=1, le=1024, description="Pictures in a batch.")
    optimizer: Literal["adamw", "adafactor", "prodigy"] = Field(
        "adamw", description="Adafactor needs least memory, Prodigy finds its own learning rate."
    )
    learning_rate: Annotated[float | None, Usual(1e-7, 0.03)] = Field(
        None, gt=0, allow_inf_nan=False, description="Size of the steps at their largest."
    )
    schedule: Literal["constant", "cosine", "linear"] = Field("cosine", description="How the learning rate goes down.")
    warmup_steps: Annotated[int | None, Usual(0, 1000)] = Field(
        None, ge=0, description="Steps in which the learning rate rises from nothing."
    )
    caption_dropout: Annotated[float, Usual(0, 0.3)] = Field(
        0.05, ge=0, lt=1, description="Share of captions left empty, which guidance needs."
    )
    min_snr_gamma: Annotated[float, Usual(1, 20, off=0)] = Field(
        5.0, ge=0, allow_inf_nan=False, description="Bound on the weight of easy timesteps; 0 for none."
    )
    weighting: Literal["min-snr", "debiased", "p2", "none"] | None = Field(
        None,
        description="How much each timestep counts; by default min-snr, which min_snr_gamma bounds, and none where the "
        "last timestep is pure noise, which every other would leave out.",
    )
    timesteps: Literal["uniform", "middle", "low", "high"] = Field(
        "uniform", description="Which timesteps come up more often: low have little noise, high have much."
    )
    zero_terminal_snr: bool = Field(
        False, description="Train down to pure noise, for very dark and bright pictures; needs a base that predicts v."
    )
    noise_offset: Annotated[float, Usual(0, 0.2)] = Field(
        0.0, ge=0, le=1, description="Noise in the brightness of whole pictures, as in 0.05; 0 for none."
    )
    input_perturbation: Annotated[float, Usual(0, 0.3)] = Field(
        0.0, ge=0, le=1, description="Noise that the network is not told of, as in 0.1; 0 for none."
    )
    huber: Annotated[float, Usual(0, 1)] = Field(
        0.0, ge=0, le=100, description="Errors above this count less than their square, as in 0.1; 0 for none."
    )
    max_grad_norm: Annotated[float, Usual(0.01, 100)] = Field(
        1.0, gt=0, description="Longer gradients are cut to this length."
    )
    clip_skip: Annotated[int, Usual(1, 4)] = Field(
        1, ge=1, le=12, description="Which of the text encoder's last layers to use, counted from the end."
    )
    gradient_accumulation: Annotated[int, Usual(1, 64)] = Field(
        1, ge=1, le=1024, description="Batches in an optimizer step."
    )
    gradient_checkpointing: bool = Field(False, description="Take less memory and more time.")


class Prior(ClassPrompt):
    """What the model should not forget of the class that the subject belongs to."""

    title: ClassVar[str] = "What not to forget"

    prior: Literal["none", "images", "match"] = Field(
        "none",
        description="Keep the class as it was: by pictures of it, or by matching the base's own predictions; "
        "dreambooth takes images.",
    )
    class_images: FilePath | None = Field(
        None, description="Folder of pictures of the class; without one the base draws them."
    )
    class_count: Annotated[int | None, Usual(2, 1000)] = Field(
        None, ge=1, le=10_000, description="How many pictures of the class, or predictions to match."
    )
    prior_weight: Annotated[float, Usual(0.05, 5)] = Field(
        1.0, ge=0, le=100, description="How much the class counts against the subject, whatever their numbers."
    )


class Output(Cache):
    """What to write."""

    title: ClassVar[str] = "What to write"

    out: FilePath | None = Field(
        None, description="The file to write, .safetensors; by default MODELS/Lora/KEYWORD.safetensors."
    )
    bundle: bool = Field(
        False, description="Put an embedding into the file of the LoRA trained with it, which only A1111 reads whole."
    )
    diffusers_folder: FilePath | None = Field(
        None, description="Write a whole model as a folder in diffusers' layout too, here."
    )
    overwrite: bool = Field(False, description="Replace the file if it is there already.")
    file_precision: Literal["fp16", "bf16", "fp32"] = Field(
        "fp16", description="Number format of the file; an embedding's is fp32, as not every program reads others."
    )
    run: FilePath | None = Field(
        None, description="Folder of the run's log, state and previews; by default runs/KEYWORD-TIME."
    )
    save_every: Annotated[int, Usual(1, 5000)] = Field(
        50, ge=1, description="Steps between saved states, from which limner resume goes on."
    )
    previews: Annotated[int | None, Usual(0, 50)] = Field(
        None, ge=0, le=1000, description="Number of preview pictures over the run."
    )
    preview_prompt: str | None = Field(None, description="What they show; by default the keyword and the class.")


class TrainSettings(Pictures, Learning, Prior, Watching, Models, Output, Seed, Machine):
    """Settings of `limner train`, and of run.toml, beside the method's own."""

    @model_validator(mode="before")
    @classmethod
    def _dreambooth(cls, values: Any) -> Any:
        """DreamBooth is full fine-tuning with a second source of the batch."""
        if isinstance(values, dict) and values.get("method") == "dreambooth":
            return {"prior": "images"} | values
        return values

    @field_validator("method")
    @classmethod
    def _by_its_parts(cls, method: str) -> str:
        return METHOD_NAMES.get(method, method)

    @model_validator(mode="after")
    def _no_conflicts(self) -> Self:
        if self.optimizer == "prodigy" and self.learning_rate is not None and self.learning_rate < 0.1:
            raise ValueError(
                f"the optimizer prodigy finds its own learning rate, and learning_rate = {self.learning_rate:g} would "
                "stop it; leave learning_rate out, or use the optimizer adamw"
            )
        if self.steps is not None and self.warmup_steps is not None and self.warmup_steps >= self.steps:
            raise ValueError(
                f"warmup_steps = {self.warmup_steps} leaves nothing of steps = {self.steps}; make it smaller"
            )
        if self.preview_prompt is not None and self.previews == 0:
            raise ValueError("there is a preview_prompt, but previews = 0; leave one of them out")
        self._check_prior()
        return self

    def _check_prior(self) -> None:
        if self.class_images is not None and self.prior != "images":
            raise ValueError(
                f"class_images = {self.class_images} is of no use with prior = {self.prior}; say --prior images"
            )
        for name in ("class_count", "class_prompt"):
            if self.prior == "none" and getattr(self, name) is not None:
                raise ValueError(f"{name} is of no use with prior = none; say --prior images, or match")


class ResumeSettings(Machine):
    """Settings of `limner resume`."""

    title: ClassVar[str] = "The run"

    run: FilePath = Field(description="The folder of the run.")
    seed: int | None = Field(None, description="The run's own; another one is refused.")
    overwrite: bool = Field(False, description="Replace the finished file even if another run wrote it.")


def read_training(values: Mapping[str, Any], origin: str) -> tuple[TrainSettings, dict[str, Any]]:
    """The settings of a training and its methods' own tables by name, of what a TOML file or the command line holds.

    The tables are not checked: only a method knows what may stand in its own. Raises UserError.
    """
    tables = {name: value for name, value in values.items() if isinstance(value, dict)}
    settings = TrainSettings.read({name: value for name, value in values.items() if name not in tables}, origin)
    methods = settings.method.split("+")
    for name in tables.keys() - set(methods):
        near = nearest(name, methods)
        meant = f"did you mean [{near}]?" if near else f"the method's is [{'], ['.join(methods)}]"
        raise UserError(f"{origin}: unknown table [{name}]; {meant}")
    return settings, tables
