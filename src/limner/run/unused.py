"""Settings that say something and do nothing, because another setting or the method leaves no place for them."""

from collections.abc import Iterator, Mapping
from dataclasses import fields

from limner.base.model import BaseModel
from limner.config import Settings, TrainSettings
from limner.diffusion import Objective
from limner.events import Warned
from limner.methods.method import Method, find_method
from limner.optimize import OPTIMIZERS

OF_GROUPS = ("rates", "up_rate", "rate")  # of methods' settings, those that give parts of it a learning rate


def unused(
    settings: TrainSettings, methods: Mapping[str, Settings], model: BaseModel, has_masks: bool
) -> Iterator[Warned]:
    """A warning for each setting that was given, differs from its default, and does not act in this run."""
    for name, why in _unused(settings, methods, model, has_masks):
        yield Warned(f"{name} does nothing here: {why}")


def _unused(
    settings: TrainSettings, methods: Mapping[str, Settings], model: BaseModel, has_masks: bool
) -> Iterator[tuple[str, str]]:
    given = {name for name, field in TrainSettings.model_fields.items() if getattr(settings, name) != field.default}
    own_loss = [name for name in methods if find_method(name).loss is not Method.loss]
    if own_loss:
        for name in sorted(given & {each.name for each in fields(Objective)} - {"clip_skip"}):
            yield _said(settings, name), f"the method {own_loss[0]} has a loss of its own"
    elif settings.weighting != "min-snr" and "min_snr_gamma" in given:
        yield _said(settings, "min_snr_gamma"), f"weighting = {settings.weighting} does not use it"
    if settings.zero_terminal_snr and model.prediction_type == "flow":
        yield "zero_terminal_snr", f"{model.name} ends in pure noise as it is"
    if "keep_tags" in given and not (settings.shuffle_captions or settings.tag_dropout):
        yield _said(settings, "keep_tags"), "no tags are shuffled or left out"
    if settings.prior == "none":
        for name in sorted(given & {"prior_weight", "class_seed"}):
            yield _said(settings, name), "prior = none shows nothing of the class"
    if settings.mask_background is not None and not has_masks:
        yield _said(settings, "mask_background"), "no picture has a mask"
    if OPTIMIZERS[settings.optimizer].one_rate:
        for method, config in methods.items():
            for name in OF_GROUPS:
                field = type(config).model_fields.get(name)
                value = getattr(config, name, None)
                if field is not None and value != field.get_default(call_default_factory=True):
                    yield f"{method}.{name} = {value}", f"{settings.optimizer} has one learning rate for everything"


def _said(settings: TrainSettings, name: str) -> str:
    value = getattr(settings, name)
    return f"{name} = {value:g}" if isinstance(value, float) else f"{name} = {value}"
