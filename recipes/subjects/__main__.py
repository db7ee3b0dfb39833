"""`python -m recipes.subjects`: draw the six subjects from the icon sets, and a sheet of each to look at.

Needs the group `recipe` of pyproject.toml and npm. The same packages give the same files.
"""

from PIL import Image

from recipes.pocket import BUILD
from recipes.subjects import objects, styles
from recipes.subjects.table import OBJECTS, STYLES
from recipes.subjects.write import Shot, write

THUMBNAIL, COLUMNS = 96, 16


def sheet(shots: list[Shot]) -> Image.Image:
    """All pictures of a subject on one."""
    rows = -(-len(shots) // COLUMNS)
    canvas = Image.new("RGB", (COLUMNS * THUMBNAIL, rows * THUMBNAIL), "white")
    for number, shot in enumerate(shots):
        small = shot.image.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
        canvas.paste(small, (number % COLUMNS * THUMBNAIL, number // COLUMNS * THUMBNAIL))
    return canvas


def main() -> None:
    for made in (*map(styles.make, STYLES), *map(objects.make, OBJECTS)):
        subject, train, judge = made
        folder = write(subject, train, judge)
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        path = BUILD.parent / "subjects" / f"{subject.name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        sheet([*train, *judge]).save(path)
        print(f"{folder.name}: {len(train)} + {len(judge)} pictures, {size / 1000:.0f} kB, floor {subject.floor!r}")


if __name__ == "__main__":
    main()
