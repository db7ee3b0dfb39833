"""`python -m recipes.photographs`: learn to tell photographs from simple drawings, by what the evaluator's network sees
and by texture, and write the weights into the package. Prints how many are told wrong of what was not learned from.

Needs the group `recipe` of pyproject.toml, npm, and apt-get for one package of photographs.
"""

import numpy as np
from numpy.typing import NDArray

from limner.evaluate.photograph import WEIGHTS, seen, texture
from recipes.photographs.pictures import Named, drawings, photographs

FOLDS = 4
DECAY = 1e-2  # of ridge regression, in units of the mean of squares


def main() -> None:
    rows, labels, groups, forms = [], [], [], []
    for label, pictures in ((1.0, photographs()), (-1.0, drawings())):
        for picture in map(row_of, pictures):
            groups.append(picture[0])
            forms.append(picture[1])
            rows.append(picture[2])
            labels.append(label)
    x, y, group, form = np.array(rows), np.array(labels), np.array(groups), np.array(forms)
    report(y, form, held_out(x, y, group))
    np.save(WEIGHTS, fitted(x, y).astype(np.float16))
    print(f"wrote {WEIGHTS.name}: {len(y)} pictures of {len(set(groups))} photographs and sets of drawings")


def row_of(named: Named) -> tuple[str, str, NDArray[np.float64]]:
    """What `photographic` weighs."""
    group, form, image = named
    return group, form, np.concatenate([*seen([image]).astype(np.float64), texture(np.asarray(image)), [1.0]])


def fitted(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Least squares, photographs and drawings counting the same in all."""
    counts = np.where(y > 0, 1 / (y > 0).sum(), 1 / (y < 0).sum()) / 2
    return np.linalg.solve((x * counts[:, None]).T @ x + DECAY * np.eye(x.shape[1]), x.T @ (counts * y))


def held_out(x: NDArray[np.float64], y: NDArray[np.float64], groups: NDArray[np.str_]) -> NDArray[np.float64]:
    """The figure of each picture, by weights learned without its photograph or its set of drawings."""
    found = np.zeros(len(y))
    names = {label: np.random.default_rng(0).permutation(np.unique(groups[y == label])) for label in (1, -1)}
    for fold in range(FOLDS):
        other = np.isin(groups, np.concatenate([each[fold::FOLDS] for each in names.values()]))
        found[other] = x[other] @ fitted(x[~other], y[~other])
    return found


def report(y: NDArray[np.float64], forms: NDArray[np.str_], found: NDArray[np.float64]) -> None:
    for label, what in ((1, "photographs"), (-1, "drawings")):
        for form in dict.fromkeys(forms[y == label]):
            of_form = (forms == form) & (y == label)
            wrong = int((found[of_form] * label <= 0).sum())
            print(f"{what}, {form}: {wrong} of {int(of_form.sum())} wrong, middle {np.median(found[of_form]):.2f}")


if __name__ == "__main__":
    main()
