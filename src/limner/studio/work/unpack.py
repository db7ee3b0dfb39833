"""Zips that a person dropped, made into files of their set: bounded in number and size, whatever their headers say."""

import shutil
import tempfile
import zipfile
from collections.abc import Generator
from pathlib import Path

from limner.data.decode import Unusable
from limner.data.source import Source
from limner.events import Event, Prepared
from limner.studio.sets import MOST_FILES, MOST_SET_BYTES, ZIP, PictureSet, clean_name

UNPACKING = "unpacking-"  # beginning of the folders in which members are on their way


def unpack(pictures: PictureSet) -> Generator[Event, None, list[dict[str, str]]]:
    """Unpacks all zips of a set and removes them. Returns what was left out, as {name, why}."""
    skipped: list[dict[str, str]] = []
    for left in pictures.folder.glob(f"{UNPACKING}*"):  # by a worker that was killed
        shutil.rmtree(left, ignore_errors=True)
    for path in sorted(pictures.zips.glob(f"*{ZIP}")) if pictures.zips.is_dir() else []:
        try:
            with zipfile.ZipFile(path) as archive:
                names = sorted({name for name in archive.namelist() if not name.endswith("/")})
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            skipped.append({"name": path.name, "why": f"is not a zip that can be read ({error}); pack it again"})
            path.unlink()
            continue
        yield from _members(pictures, path, names, skipped)
        path.unlink()
    return skipped


def _members(
    pictures: PictureSet, path: Path, names: list[str], skipped: list[dict[str, str]]
) -> Generator[Event, None, None]:
    have = [each.stat().st_size for each in pictures.files()]
    files, room = MOST_FILES - len(have), MOST_SET_BYTES - sum(have)
    # One by one, grouped by their names, so that a picture is followed by what belongs to it.
    with tempfile.TemporaryDirectory(dir=pictures.folder, prefix=UNPACKING) as folder:
        batch: list[tuple[str, Path]] = []
        for number, name in enumerate(names):
            cleaned, why = clean_name(name)
            if cleaned is None or cleaned.endswith(ZIP):
                skipped += [{"name": name, "why": why or "is a zip inside a zip"}] if why or cleaned else []
                continue
            try:
                data = Source(path, name, archive=True).read()
            except (Unusable, KeyError) as problem:
                skipped.append({"name": name, "why": str(problem)})
                continue
            files, room = files - 1, room - len(data)
            if files < 0 or room < 0:
                most = f"{MOST_FILES:,} files" if files < 0 else f"{MOST_SET_BYTES >> 30} GiB"
                skipped.append({"name": path.name, "why": f"was unpacked only in part: a set holds at most {most}"})
                break
            place = Path(folder) / str(number)
            place.write_bytes(data)
            batch.append((name, place))
            yield Prepared(number + 1, len(names), "unpacking")
        added = pictures.add(batch)
        skipped += [{"name": name, "why": why} for name, why in added.skipped]
