"""Settings that have no effect in a run because of others: said, never dropped without a word.

A rule names settings and why they do nothing; only what somebody gave, other than the default, is spoken of. Every
setting of a training stands in a rule or in ALWAYS, which a test sees to.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from limner.config import TrainSettings
from limner.events import Warned
from limner.methods.method import Method, find_methods
from limner.optimize import OPTIMIZERS

if TYPE_CHECKING:
    from limner.run.job import Job

# What acts whatever else is said, or is an error where it cannot.
ALWAYS = {
    "images", "keyword", "class_word", "masks", "alpha_masks", "resolution", "method",
    "steps", "minutes", "batch_size", "optimizer", "learning_rate", "schedule", "warmup_steps", "max_grad_norm",
    "gradient_accumulation", "gradient_checkpointing", "prior", "class_images", "class_prompt", "base",
    "prediction_type", "vae", "models", "cache", "out", "bundle", "diffusers_folder", "overwrite", "run",
    "save_every", "preview_prompt", "stop", "keep", "tensorboard", "device", "precision", "seed",
}  # fmt: skip


@dataclass(frozen=True)
class Rule:
    """names: of settings. why: of a job, the clause that says why they have no effect in it, "" where they have."""

    names: tuple[str, ...]
    why: Callable[["Job"], str]


def _without_images(job: "Job") -> str:
    needs = any(method.needs_images for method in find_methods(job.settings.method).values())
    return "" if needs else f"the method {job.settings.method} learns from prompts alone"


def _own_loss(job: "Job") -> str:
    own = [name for name, method in find_methods(job.settings.method).items() if method.loss is not Method.loss]
    return f"the method {own[0]} has a loss of its own" if own else ""


def _without_prior(job: "Job") -> str:
    return "prior = none" if job.settings.prior == "none" else ""


def _keep_tags(job: "Job") -> str:
    changing = job.settings.shuffle_captions or job.settings.tag_dropout or any(item.tags for item in job.items)
    return "" if changing else "no tags are shuffled or left out"


def _mask_background(job: "Job") -> str:
    pictures = [*(item.picture for item in job.items), *job.class_pictures]
    return "" if any(picture.mask is not None for picture in pictures) else "no picture has a mask"


def _template(job: "Job") -> str:
    captioned = job.items and all(item.picture.caption is not None for item in job.items)
    return "every image has a caption of its own" if captioned and job.settings.prior == "none" else ""


def _min_snr(job: "Job") -> str:
    return (
        ""
        if job.settings.weighting == "min-snr"
        else f"it belongs to weighting = min-snr, not {job.settings.weighting}"
    )


def _weighting(job: "Job") -> str:
    is_off = job.settings.weighting == "min-snr" and not job.settings.min_snr_gamma
    return "min_snr_gamma = 0 turns it off" if is_off else ""


def _zero_terminal_snr(job: "Job") -> str:
    if job.model.prediction_type == "flow" or float(job.model.alphas_cumprod[-1]) == 0:
        return "the base ends in pure noise as it is"
    return ""


def _clip_skip(job: "Job") -> str:
    family = job.model.family
    return f"{family.title} always uses the last layer but one" if family.is_pooled else ""


def _class_count(job: "Job") -> str:
    given, own = job.settings.class_count or 0, len(job.class_pictures)
    if job.settings.prior == "images" and own and given > own:
        return f"there are {own} class images, and no more are generated beside them"
    return ""


def _class_seed(job: "Job") -> str:
    return _without_prior(job) or ("the class images are your own" if job.class_pictures else "")


def _file_precision(job: "Job") -> str:
    kinds = {method.kind for method in find_methods(job.settings.method).values()}
    return "an embedding's file is always fp32, as not every program reads others" if kinds == {"embedding"} else ""


def _held_out(job: "Job") -> str:
    blind = not job.settings.measure_every and not job.settings.milestones
    return "nothing is measured with measure_every = 0 and milestones = 0" if blind and job.held_out else ""


def _more_than_steps(name: str) -> Callable[["Job"], str]:
    def why(job: "Job") -> str:
        steps, value = job.settings.steps or 0, getattr(job.settings, name) or 0
        return f"there are only {steps} steps" if value > steps else ""

    return why


OF_IMAGES = (
    "template",
    "shuffle_captions",
    "tag_dropout",
    "keep_tags",
    "crops",
    "mirror",
    "colour_jitter",
    "caption_dropout",
)
OF_THE_LOSS = (
    "min_snr_gamma",
    "weighting",
    "timesteps",
    "zero_terminal_snr",
    "noise_offset",
    "input_perturbation",
    "huber",
)
RULES = (
    Rule(OF_IMAGES, _without_images),
    Rule(OF_THE_LOSS, _own_loss),
    Rule(("prior_weight",), _without_prior),
    Rule(("keep_tags",), _keep_tags),
    Rule(("mask_background",), _mask_background),
    Rule(("template",), _template),
    Rule(("min_snr_gamma",), _min_snr),
    Rule(("weighting",), _weighting),
    Rule(("zero_terminal_snr",), _zero_terminal_snr),
    Rule(("clip_skip",), _clip_skip),
    Rule(("class_count",), _class_count),
    Rule(("class_seed",), _class_seed),
    Rule(("file_precision",), _file_precision),
    Rule(("held_out",), _held_out),
    *(Rule((name,), _more_than_steps(name)) for name in ("measure_every", "previews", "milestones")),
)


def given_in(settings: TrainSettings) -> dict[str, Any]:
    """What somebody gave and that is not the default, by name."""
    fields = TrainSettings.model_fields
    values = {name: getattr(settings, name) for name in fields if name in settings.model_fields_set}
    return {
        name: value for name, value in values.items() if value != fields[name].get_default(call_default_factory=True)
    }


def without_effect(job: "Job", given: Mapping[str, Any]) -> Iterator[Warned]:
    """A sentence for each given setting that does nothing in this job, and for those that a data-set file overrules."""
    told = set()
    for rule in RULES:
        for name in rule.names:
            if name in given and given[name] and name not in told and (why := rule.why(job)):
                told.add(name)
                yield Warned(f"{name} = {_shown(given[name])} does nothing here: {why}")
    yield from _overruled(job, given)
    yield from _of_methods(job)


RATES = ("rate", "rates", "up_rate")  # of methods' own settings: learning rates times the run's


def _of_methods(job: "Job") -> Iterator[Warned]:
    if not OPTIMIZERS[job.settings.optimizer].one_rate:
        return
    for name, config in job.methods.items():
        for rate in RATES:
            if rate in config.model_fields_set and getattr(config, rate):
                value, optimizer = getattr(config, rate), job.settings.optimizer
                yield Warned(f"{name}.{rate} = {value} does nothing here: {optimizer} has one learning rate for all")


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


# A setting, and the field of a part of the data set that goes before it.
OF_PARTS = {
    "shuffle_captions": "tags",
    "tag_dropout": "tags",
    "caption_dropout": "dropout",
    "crops": "crops",
    "mirror": "mirror",
    "masks": "masks",
    "alpha_masks": "alpha_masks",
}


def _overruled(job: "Job", given: Mapping[str, Any]) -> Iterator[Warned]:
    taught = job.data.dataset.taught
    for name, field in OF_PARTS.items():
        others = [part for part in taught if getattr(part, field) is not None and not _agrees(part, field, name, given)]
        if name in given and others:
            folders = ", ".join(part.folder.name for part in others[:3])
            yield Warned(
                f"{name} = {_shown(given[name])} does nothing for {len(others)} of {len(taught)} folders ({folders}): "
                f"{job.data.dataset.root.name} sets it for them"
            )


def _agrees(part: Any, field: str, name: str, given: Mapping[str, Any]) -> bool:
    said = getattr(part, field)
    if field == "tags":
        said = {"shuffle_captions": said.shuffle, "tag_dropout": said.dropout}[name]
    if field == "crops":
        return not (said < given.get(name, 0))
    return bool(said == given.get(name))
