"""`python -m recipes.pocket [STAGE ...]`: make the pocket base. Without a stage, all that are not done, in order."""

import sys
from collections.abc import Callable
from dataclasses import dataclass

from filelock import FileLock, Timeout

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
    "classifier": Stage(classifier.run, (classifier.FOLDER / "done").exists),
    "report": Stage(report.run, report.done),
    "ship": Stage(ship.run, ship.done),
}


def main() -> None:
    chosen = sys.argv[1:]
    unknown = [name for name in chosen if name not in STAGES]
    if unknown:
        sys.exit(f"there is no stage {unknown[0]}; there are {', '.join(STAGES)}")
    BUILD.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(BUILD / "lock", timeout=0):
            for name, stage in STAGES.items():
                if name in chosen or (not chosen and not stage.done()):
                    print(f"== {name}", flush=True)
                    stage.run()
    except Timeout:
        sys.exit(f"the recipe is already running in {BUILD}")


if __name__ == "__main__":
    main()
