"""Sentences for people who may sit at another machine: files by the names that the studio has for them, no paths."""

import re
from functools import lru_cache
from pathlib import Path

from limner.studio.forms import in_words_of_forms
from limner.studio.places import Places

BETWEEN = r"[\\/]+"  # the parts of a path, which Python writes doubled in quotes where it is a backslash
# What is no place of the studio's: by its last name, if the machine has such a folder at all.
ELSEWHERE = re.compile(
    r"(?<![\w.:/\\~-])((?:/|[A-Za-z]:[\\/]+)[^\s/\\'\"]+)(?:[\\/]+[^\s/\\'\":;,()<>]+)*[\\/]+(?=[\w.])"
)


def for_the_page(sentence: str, places: Places) -> str:
    """What the command line would say, in the words of the page."""
    return without_places(in_words_of_forms(sentence), places)


def without_places(sentence: str, places: Places) -> str:
    """A sentence without paths of this machine: a model by its name on the shelf, a picture by that in its set."""
    return ELSEWHERE.sub(lambda found: "" if Path(found[1]).exists() else found[0], of_the_studio(sentence, places))


def of_the_studio(text: str, places: Places) -> str:
    """A text in which what lies in the studio's folders and in the person's own goes by its name there."""
    for pattern, name in _known(places):
        text = pattern.sub(lambda found, name=name: "" if found[1] else name, text)  # type: ignore[misc]
    return text


@lru_cache(maxsize=8)
def _known(places: Places) -> list[tuple[re.Pattern[str], str]]:
    """The longest first. The pattern's group is what stands between a folder and what lies in it."""
    number = rf"{BETWEEN}\d+"
    found = []
    for root, models, home in {(places.root, places.models, Path.home())} | {
        (places.root.resolve(), places.models.resolve(), Path.home().resolve())
    }:
        jobs, datasets = _plain(root / "jobs"), _plain(root / "datasets")
        found += [
            (jobs + number, "the job's folder"),
            (f"{datasets}{number}{BETWEEN}(?:originals|zips|prepared)", "the set of pictures"),
            (datasets + number, "the set of pictures"),
            *(
                (_plain(folder), name)
                for folder, name in ((models, "the models folder"), (root, "the studio's folder"))
            ),
            *((_plain(folder), "the home folder") for folder in (home,) if folder != Path(folder.anchor)),
        ]
    found.sort(key=lambda each: -len(each[0]))
    return [(re.compile(rf"{pattern}(?:({BETWEEN})(?=\S)|(?![\w-]))"), name) for pattern, name in found]


def _plain(folder: Path) -> str:
    return BETWEEN.join(map(re.escape, re.split(r"[\\/]", str(folder))))
