"""`python -m recipes.pocket [STAGE ...]`: make the pocket base. Without a stage, all that are not done, in order.

`python -m recipes.pocket until unet`: those that are not done, up to that one.

Version 4 goes on from version 3: `python -m recipes.pocket.adopt` first. Beside other work, set OMP_WAIT_POLICY=passive
and GOMP_SPINCOUNT=0: threads that spin while others run took the classifier from 23 images a second, on one thread, to
4.4 on two (two cores, fifteen other processes).
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass

from recipes.pocket import BUILD, autoencoder, classifier, clip, report, ship, unet
from recipes.pocket.icons import load_icons
from recipes.pocket.styles import load_styled


@dataclass(frozen=True)
class Stage:
    """A step of the recipe; run, it goes on where it was stopped."""

    run: Callable[[], object]
    done: Callable[[], bool]


STAGES = {
    "icons": Stage(load_icons, (BUILD / "icons.npz").exists),
    "styles": Stage(load_styled, (BUILD / "styled.npz").exists),
    "autoencoder": Stage(autoencoder.run, (autoencoder.FOLDER / "done").exists),
    "clip": Stage(clip.run, (clip.FOLDER / "done").exists),
    "unet": Stage(unet.run, (unet.FOLDER / "done").exists),
    "decoder": Stage(autoencoder.sharpen, (autoencoder.FOLDER / "sharpened").exists),
    "pipeline": Stage(unet.write_pipeline, unet.is_written),
    "classifier": Stage(classifier.run, (classifier.FOLDER / "done").exists),
    "report": Stage(report.run, report.done),
    "ship": Stage(ship.run, ship.done),
}


def main() -> None:
    chosen = sys.argv[1:]
    until = chosen[:1] == ["until"]
    unknown = [name for name in chosen[until:] if name not in STAGES]
    if unknown or (until and len(chosen) != 2):
        sys.exit(f"there is no stage {' '.join(unknown) or 'after until'}; there are {', '.join(STAGES)}")
    last = chosen[1] if until else [*STAGES][-1]
    for name, stage in STAGES.items():
        if (name in chosen) if chosen and not until else not stage.done():
            print(f"== {name}", flush=True)
            stage.run()
        if name == last:
            break


if __name__ == "__main__":
    main()
