"""The settings by which a training is judged as it runs, and ends by itself."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from limner.config.settings import Settings, Usual


class Watching(Settings):
    """When it is good."""

    title: ClassVar[str] = "When to stop"

    stop: Literal["auto", "never"] | None = Field(
        None, description="auto: when nothing more is gained, steps being the most; never: after all steps."
    )
    keep: Literal["best", "last", "all"] | None = Field(
        None,
        description="Which state becomes the file; all: the best, and each milestone is a file in the run's folder.",
    )
    held_out: Annotated[int | None, Usual(0, 50)] = Field(
        None, ge=0, description="Pictures to judge by, which are not learned from."
    )
    measure_every: Annotated[int | None, Usual(1, 5000, off=0)] = Field(
        None, ge=0, description="Steps between measurements of losses; 0 for none."
    )
    milestones: Annotated[int | None, Usual(0, 50)] = Field(
        None, ge=0, le=1000, description="How often, over all steps, to draw pictures and judge them."
    )
    tensorboard: bool = Field(False, description="Write the curves for TensorBoard too, into the run's folder.")

    @model_validator(mode="after")
    def _something_to_judge_by(self) -> Self:
        blind = self.measure_every == 0 and self.milestones == 0
        for name in ("stop", "keep"):
            if blind and getattr(self, name) in ("auto", "best", "all"):
                raise ValueError(
                    f"{name} = {getattr(self, name)} needs something to judge by, but measure_every = 0 and "
                    "milestones = 0; leave one of them out"
                )
        return self
