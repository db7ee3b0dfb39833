"""Fetch the icon packages from the npm registry and rasterise them."""

import io
import json
import subprocess
import tarfile
import tomllib
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import resvg_py
from PIL import Image

from recipes.pocket import BUILD, SIZE

# Name -> package and version. Licences and credits: NOTICE. What is drawn from them: styles.py.
SETS = {
    "glossy": ("fluent-emoji", "1.2.7"),
    "flat": ("fluent-emoji-flat", "1.2.6"),
    "rounded": ("noto", "1.2.9"),
    "minimal": ("twemoji", "1.2.5"),
    "classic": ("emojione", "1.2.3"),
}
HELD_OUT_STYLE = ("fxemoji", "1.2.2")


@dataclass(frozen=True)
class Nouns:
    """The vocabulary of nouns.toml: icon names, and the words that captions use for them."""

    nouns: tuple[str, ...]  # that scenes show
    learned: tuple[str, ...]  # those of them that the UNet is trained on
    held_out: tuple[str, ...]
    words: dict[str, str]

    @property
    def only_learned(self) -> "Nouns":
        return replace(self, nouns=self.learned)

    def word(self, icon: str) -> str:
        return self.words.get(icon, icon.replace("-", " "))


def read_nouns() -> Nouns:
    table = tomllib.loads((Path(__file__).parent / "nouns.toml").read_text())
    return Nouns(
        tuple(table["nouns"].split()), tuple(table["learned"].split()), tuple(table["held_out"].split()), table["words"]
    )


def fetch(package: str, version: str) -> dict:
    """The iconify JSON of one package, downloaded once into the build folder."""
    return _read(package, version, "icons.json")


def credit(package: str, version: str) -> tuple[str, str]:
    """Whose icons a package holds, and under which licence, by its SPDX name."""
    info = _read(package, version, "info.json")
    return info["author"]["name"], info["license"]["spdx"]


def _read(package: str, version: str, name: str) -> dict:
    folder = BUILD / "npm"
    folder.mkdir(parents=True, exist_ok=True)
    archive = folder / f"iconify-json-{package}-{version}.tgz"
    if not archive.exists():
        command = ["npm", "pack", "--silent", "--pack-destination", str(folder), f"@iconify-json/{package}@{version}"]
        subprocess.run(command, check=True)
    with tarfile.open(archive) as tar:
        member = tar.extractfile(f"package/{name}")
        assert member is not None
        return json.load(member)


def svg_of(package: dict, name: str) -> str | None:
    """The standalone SVG of an icon; None where the package has none of that name."""
    if name not in package["icons"]:
        alias = package.get("aliases", {}).get(name)
        return svg_of(package, alias["parent"]) if alias else None
    icon = package["icons"][name]
    left, top, width, height = (
        icon.get(key, package.get(key, default))
        for key, default in (("left", 0), ("top", 0), ("width", 16), ("height", 16))
    )
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{left} {top} {width} {height}" width="{width}" height="{height}">{icon["body"]}</svg>'
    )


def rasterise(svg: str, size: int = SIZE) -> np.ndarray:
    """RGBA pixels, uint8 (size, size, 4), the icon fitted into the square."""
    png = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=size, height=size))
    icon = Image.open(io.BytesIO(png)).convert("RGBA")
    canvas = Image.new("RGBA", (size, size))
    canvas.paste(icon, ((size - icon.width) // 2, (size - icon.height) // 2))
    return np.asarray(canvas)


def render(jobs: list[tuple[str, str]], package: dict) -> dict[str, np.ndarray]:
    """Rasterise (key, icon name) pairs on all cores."""
    found = [(key, svg) for key, name in jobs if (svg := svg_of(package, name))]
    with ProcessPoolExecutor() as pool:
        pixels = pool.map(rasterise, (svg for _, svg in found), chunksize=32)
        return dict(zip((key for key, _ in found), pixels, strict=True))


def is_held_out(name: str, held_out: tuple[str, ...]) -> bool:
    """Variants ("dragon-face", "left-tractor") of a held-out object are held out with it."""
    parts = f"-{name}-"
    return any(f"-{noun}-" in parts for noun in held_out)


def load_icons() -> dict[str, np.ndarray]:
    """Every icon of the sets, for the autoencoder: {"set/name": uint8 (128, 128, 4)}, no held-out object."""
    cache = BUILD / "icons.npz"
    if not cache.exists():
        nouns = read_nouns()
        icons: dict[str, np.ndarray] = {}
        for style, (package_name, version) in SETS.items():
            package = fetch(package_name, version)
            names = {*package["icons"], *(n for n in nouns.nouns if n in package.get("aliases", {}))}
            jobs = [(f"{style}/{n}", n) for n in sorted(names) if not is_held_out(n, nouns.held_out)]
            icons |= render(jobs, package)
        cache.parent.mkdir(parents=True, exist_ok=True)
        keys = sorted(icons)
        partial = cache.with_suffix(".partial.npz")
        np.savez(partial, keys=np.array(keys), pixels=np.stack([icons[k] for k in keys]))
        partial.rename(cache)
    data = np.load(cache)
    return dict(zip(data["keys"].tolist(), data["pixels"], strict=True))


def load_held_out() -> dict[str, np.ndarray]:
    """The unseen style and the unseen objects of the known styles, same keys and shapes."""
    nouns = read_nouns()
    icons: dict[str, np.ndarray] = {}
    for style, (package_name, version) in SETS.items():
        package = fetch(package_name, version)
        icons |= render([(f"{style}/{n}", n) for n in nouns.held_out], package)
    unseen = fetch(*HELD_OUT_STYLE)
    squeezed = {name.replace("-", ""): name for name in unseen["icons"]}
    names = (*nouns.nouns, *nouns.held_out)
    jobs = [(f"unseen/{n}", squeezed[n.replace("-", "")]) for n in names if n.replace("-", "") in squeezed]
    return icons | render(jobs, unseen)
