"""The run card: what a finished file says about its making, without folders, file names or captions of its maker."""

from pathlib import Path
from typing import Any

from limner.formats import Description
from limner.run.job import Job
from limner.run.watch import Outcome

# Settings that say where things lie or how the run was watched; none of them changes what was learned.
PRIVATE = {
    "images", "class_images", "base", "models", "out", "overwrite", "run", "cache", "save_every", "previews",
    "preview_prompt", "template", "masks", "tensorboard", "diffusers_folder",
}  # fmt: skip


def describe(job: Job, loss: float | None, outcome: Outcome | None = None) -> Description:
    """The file's description. It holds no time of day, so that equal runs give equal files, byte for byte."""
    settings = job.settings
    assert settings.resolution is not None
    return Description(
        title=job.out.stem,
        keyword=settings.keyword,
        about=f"{settings.keyword}: {settings.class_word}" if settings.class_word else None,
        resolution=(settings.resolution, settings.resolution),
        prediction_type=job.model.prediction_type,
        run_card=run_card(job, loss, outcome),
        base_name=Path(settings.base).name,
        seed=settings.seed,
        steps=settings.steps if outcome is None else outcome.step,
        max_steps=settings.steps,
        learning_rate=settings.learning_rate,
        optimizer=settings.optimizer,
        schedule=settings.schedule,
        warmup_steps=settings.warmup_steps,
        batch_size=settings.batch_size,
        gradient_accumulation=settings.gradient_accumulation,
        gradient_checkpointing=settings.gradient_checkpointing,
        max_grad_norm=settings.max_grad_norm,
        min_snr_gamma=(settings.min_snr_gamma or None) if settings.weighting == "min-snr" else None,
        precision=settings.precision,
        clip_skip=settings.clip_skip,
        num_images=len(job.pictures),
        num_class_images=(len(job.class_pictures) or settings.class_count) if settings.prior == "images" else None,
    )


def run_card(job: Job, loss: float | None, outcome: Outcome | None = None) -> dict[str, Any]:
    """Everything that another person needs to make the file again, given the pictures; `loss` as the log has it, and
    which state the file is, why, and with which figures."""
    figures: dict[str, Any] = {} if loss is None else {"loss": loss}
    if outcome is not None and outcome.why:
        last = {"last_step": outcome.done.step, "ended": outcome.done.reason}
        figures["kept"] = {"step": outcome.step, "why": outcome.why, **last, "figures": outcome.figures}
    judges = sorted(
        source.sha256 for source in job.record.held_out
    )  # by which the state that became the file was chosen
    chosen_by = {"held_out_sha256": judges} if judges else {}
    return _origin(job) | chosen_by | {"versions": job.record.versions, "figures": figures}


def made_from(card: dict[str, Any] | None, job: Job) -> bool:
    """Whether a file's card says that this very run made it."""
    return card is not None and all(card.get(name) == value for name, value in _origin(job).items())


def _origin(job: Job) -> dict[str, Any]:
    """All that decides what a run learns."""
    record = job.record
    return {
        "settings": job.settings.model_dump(mode="json", by_alias=True, exclude=PRIVATE, exclude_none=True),
        "methods": {name: method.model_dump(mode="json", by_alias=True) for name, method in job.methods.items()},
        "base": {"name": Path(job.settings.base).name, "sha256": record.base},
        "images_sha256": sorted(source.sha256 for source in record.sources),
    } | ({"class_images_sha256": sorted(each.sha256 for each in record.class_sources)} if record.class_sources else {})
