"""A subject's folder: pictures as small PNG files, captions beside them, and what is to be known in subject.toml."""

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import tomlkit
from PIL import Image

FOLDER = Path(__file__).parent
COLOURS_IN_FILE = 256  # of a picture's palette; these drawings have few colours beside their smooth edges


@dataclass(frozen=True)
class Shot:
    """A picture and what it is called."""

    name: str
    image: Image.Image
    caption: str


@dataclass(frozen=True)
class Prompt:
    """What to draw for judging, and what pixels and a classifier can confirm in it."""

    prompt: str
    object: str
    style: str
    background: str


@dataclass(frozen=True)
class Subject:
    """What subject.toml says.

    said: how captions call the subject. floor: what stands in its place in a prompt for the untrained base, the
    nearest that this one knows. A file of judge/ shows what its caption says; a style's are named by the icon.
    """

    name: str
    kind: str
    keyword: str
    class_word: str
    said: str
    floor: str
    sources: tuple[str, ...]
    authors: tuple[str, ...]
    licences: tuple[str, ...]
    prompts: tuple[Prompt, ...]


def write(subject: Subject, train: list[Shot], judge: list[Shot]) -> Path:
    """Replace the subject's folder by a new one."""
    folder = FOLDER / subject.name
    shutil.rmtree(folder, ignore_errors=True)
    for name, shots in (("train", train), ("judge", judge)):
        (folder / name).mkdir(parents=True)
        for shot in shots:
            small = shot.image.quantize(COLOURS_IN_FILE, dither=Image.Dither.NONE)
            small.save(folder / name / f"{shot.name}.png", optimize=True)
            (folder / name / f"{shot.name}.txt").write_text(shot.caption + "\n", encoding="utf-8")
    values = {"class" if name == "class_word" else name: value for name, value in asdict(subject).items()}
    (folder / "subject.toml").write_text(tomlkit.dumps(values), encoding="utf-8")
    return folder
