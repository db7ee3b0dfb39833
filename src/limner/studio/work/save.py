"""Pictures put where the gallery finds them, with a small copy for its list."""

from datetime import datetime
from pathlib import Path
from typing import Any

from PIL import Image

from limner.files import atomic_path
from limner.infotext import next_numbers, save_png
from limner.studio.feed import Drawn
from limner.studio.gallery import Gallery, thumbnail_of
from limner.studio.work.task import Task

THUMBNAIL = 384  # pixels of the longer side: twice what the page shows, for screens that are twice as fine


def save(
    task: Task, image: Image.Image, infotext: str, seed: int, request: dict[str, Any], kind: str = "picture"
) -> Drawn:
    """Write a picture as DAY/NUMBER-SEED.png, as the webui names them, and its row. request: what gives it again."""
    places = task.places
    day = datetime.now().strftime("%Y-%m-%d")  # noqa: DTZ005 (a name for people, in their own time)
    free = free_name(places.pictures / day, seed)
    path = save_png(image, infotext, free, overwrite=False, names=next_numbers)  # another worker may be as quick
    name = f"{day}/{path.name}"
    small = image.convert("RGB")
    small.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    with atomic_path(thumbnail_of(places, name)) as temporary:
        small.save(temporary, "WEBP", quality=85)
    gallery = Gallery(places)
    try:
        number = gallery.add(
            name,
            kind=kind,
            job=task.number,
            width=image.width,
            height=image.height,
            seed=seed,
            infotext=infotext,
            request=request,
        )
    finally:
        gallery.close()
    return Drawn(path, seed, infotext, number)


def free_name(folder: Path, seed: int) -> Path:
    """A name of its own in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = [int(path.name.split("-")[0]) for path in folder.glob("[0-9]*-*.png")]
    return folder / f"{max(numbers, default=-1) + 1:05d}-{seed}.png"
