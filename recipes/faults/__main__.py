"""`python -m recipes.faults`: pictures with planted faults, and truth.json beside them, in two halves.

Needs the group `recipe` of pyproject.toml, npm, and apt-get of Debian. The same packages give the same files.
"""

import argparse
from collections import Counter
from pathlib import Path

from recipes.faults import HALVES, ROOT, sources
from recipes.faults.write import write


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "faults")
    parser.add_argument("--half", choices=HALVES, action="append", help="both by default")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for half in options.half or HALVES:
        truths = write(half, options.out / half, options.seed)
        counts = Counter(truth.planted or f"clean: {truth.kind}" for truth in truths)
        print(f"{options.out / half}: {len(truths)} pictures")
        print("  " + ", ".join(f"{count} {name}" for name, count in counts.items()))
    for package in sources.packages():
        print(f"{package.name}: {package.licence}; {package.credit}")


if __name__ == "__main__":
    main()
