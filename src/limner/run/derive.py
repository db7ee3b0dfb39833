"""What a person left open, decided from the number of pictures and the size of the base; each with its reason."""

from collections.abc import Iterator, Mapping

from limner.config import Settings, TrainSettings, Usual
from limner.errors import UserError
from limner.evaluate.pictures import SMALL
from limner.evaluate.protocol import subject_kind
from limner.events import Chosen
from limner.methods.method import Rates
from limner.optimize import OPTIMIZERS
from limner.run.data import MOST_BESIDE
from limner.run.schedule import derive_watching

FAR_ABOVE, FAR_BELOW = 20, 250  # times the usual learning rate, and one over that, beyond which it is questioned
HOPELESS = 1.0  # learning rate, with optimizers whose every step is about that long
LARGE = 768  # pixels: beyond, one picture at a time fills an accelerator


def derive(
    settings: TrainSettings,
    pictures: int,
    base_resolution: int,
    on_cpu: bool,
    rates: Rates = (1.0, 1.0, 1.0),
    ends_in_noise: bool = False,
) -> list[Chosen]:
    """A value for each setting that is None, in an order in which each can rest on those before.

    rates: the method's, as methods/method.py has them. ends_in_noise: whether the last timestep is pure noise.
    """
    resolution = settings.resolution or base_resolution
    small = resolution <= SMALL
    views = _views(small, pictures)
    crops = settings.crops if settings.crops is not None else _crops(small, on_cpu, pictures, views)
    batch = settings.batch_size or _batch_size(resolution, on_cpu, pictures * (1 + crops) or 8)
    steps = settings.steps or max(1, round(views / (batch * settings.gradient_accumulation)))
    patient = small or not on_cpu
    watching = derive_watching(settings, pictures, steps, batch * settings.gradient_accumulation)
    most = "at most " if any(each.name == "stop" and each.value == "auto" for each in watching) else ""
    name = settings.keyword if not settings.class_word else f"{settings.keyword} {settings.class_word}"
    choices = [
        Chosen("resolution", resolution, "it is the base's own"),
        Chosen(
            "crops",
            crops,
            _why_crops(crops, small, on_cpu),
        ),
        Chosen("batch_size", batch, f"pictures of {resolution} pixels are {'small' if small else 'large'}"),
        Chosen(
            "steps",
            steps,
            f"{pictures or 'its own'} pictures at this size want to be seen {most}{views:,} times in all",
        ),
        _learning_rate(settings, rates, small),
        _class_count(settings, patient),
        _weighting(ends_in_noise),
        Chosen("warmup_steps", min(steps // 20, 100), "it is a twentieth of the steps, at most 100"),
        Chosen(
            "previews", 4 if patient else 1, f"one takes {'seconds' if patient else 'a minute or more'} on this machine"
        ),
        Chosen("preview_prompt", name, "it says keyword and class"),
        *watching,
    ]
    unused = {"preview_prompt"} if settings.previews == 0 else set()
    unused |= {"class_count"} if settings.prior == "none" or settings.class_images is not None else set()
    return [each for each in choices if getattr(settings, each.name) is None and each.name not in unused]


def _learning_rate(settings: TrainSettings, rates: Rates, small: bool) -> Chosen:
    optimizer = OPTIMIZERS[settings.optimizer]
    reason = f"{settings.optimizer} does well with it"
    is_style = subject_kind(settings.class_word) == "style"
    rate = rates[2] if not small else rates[1] if is_style else rates[0]
    if optimizer.one_rate:
        return Chosen("learning_rate", optimizer.learning_rate, reason)
    if small and rates[0] != rates[1]:
        reason += " for a style" if is_style else " for an object"
    if rate != 1:
        reason += f" by the method {settings.method}"
    return Chosen("learning_rate", optimizer.learning_rate * rate, reason)


def unusual(
    settings: TrainSettings, methods: Mapping[str, Settings], base_resolution: int, rates: Rates
) -> Iterator[str]:
    """A sentence for each number that is far from what is usual, on this base and by these methods. Raises UserError
    for a learning rate that can only fail."""
    rate = float(str(_learning_rate(settings, rates, (settings.resolution or base_resolution) <= SMALL).value))
    one_rate = OPTIMIZERS[settings.optimizer].one_rate
    if settings.learning_rate is not None and not one_rate and settings.learning_rate >= HOPELESS:
        raise UserError(
            f"learning_rate = {settings.learning_rate:g} can only destroy what is learned with {settings.optimizer}; "
            f"the usual one here is {rate:g}, so lower it or leave it out"
        )
    ranges = {
        "learning_rate": Usual(0.1, 3) if one_rate else Usual(_rounded(rate / FAR_BELOW), _rounded(rate * FAR_ABOVE)),
        "resolution": Usual(round(base_resolution / MOST_BESIDE), round(base_resolution * MOST_BESIDE)),
    }
    yield from settings.questions(ranges)
    for name, config in methods.items():
        yield from (f"{name}.{sentence}" for sentence in config.questions())


def _rounded(rate: float) -> float:
    """To one figure."""
    return float(f"{rate:.0e}")


def _weighting(ends_in_noise: bool) -> Chosen:
    """In pure noise the signal-to-noise ratio is 0, and so is every weight that is made of it; v and flows, which are
    all that is learned there, are trained with equal weights (Lin et al. 2023, Esser et al. 2024)."""
    if ends_in_noise:
        return Chosen("weighting", "none", "the last timestep is pure noise, which the others give no weight")
    return Chosen("weighting", "min-snr", "easy timesteps would crowd out the others")


def _class_count(settings: TrainSettings, patient: bool) -> Chosen:
    """A picture takes forty times as long as a prediction."""
    if settings.prior == "match":
        return Chosen("class_count", 256 if patient else 64, "so many predictions cover all noise levels well")
    seconds = "seconds" if patient else "minutes"
    return Chosen("class_count", 100 if patient else 20, f"drawing one takes {seconds} on this machine")


def _crops(small: bool, on_cpu: bool, pictures: int, views: int) -> int:
    """No more than will be seen. On the pocket base a LoRA learned less from crops than from whole pictures, and drew
    what is cut off at the edges (docs/defaults.md)."""
    return min(_most_crops(small, on_cpu), max(0, views // max(pictures, 1) - 1))


def _most_crops(small: bool, on_cpu: bool) -> int:
    return 0 if small else 1 if on_cpu else 4


def _why_crops(crops: int, small: bool, on_cpu: bool) -> str:
    if small:
        return "small pictures show little else than the subject, which crops would cut"
    if crops < _most_crops(small, on_cpu):
        return "with so many pictures, more would hardly be seen"
    return "they are cheap to encode on this machine" if crops > 1 else "encoding takes long on this machine"


def _batch_size(resolution: int, on_cpu: bool, examples: int) -> int:
    """A step on XL at 1024 pixels takes what a common card has with one picture."""
    return min(8 if resolution <= SMALL else 1 if on_cpu or resolution > LARGE else 2, examples)


def _views(small: bool, pictures: int) -> int:
    """How many times pictures are shown in all: 64 times each to a small network, a hundred times to a large one,
    within bounds, but each once at least."""
    return max(pictures, min(max(64 * pictures, 1200), 6400) if small else min(max(100 * pictures, 1000), 3000))
