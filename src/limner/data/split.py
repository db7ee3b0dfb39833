"""Which pictures are kept back from training, so that there is something unseen to judge it by."""

import random
from collections.abc import Sequence

from limner.data.folder import Picture
from limner.errors import UserError


def hold_out(pictures: Sequence[Picture], count: int, seed: int) -> set[str]:
    """The SHA-256 of `count` different pictures, by chance: files with the same bytes go or stay together.

    Which ones depends on the seed and the pictures' bytes, not on their names. Raises UserError if none would be left.
    """
    different = sorted({picture.sha256 for picture in pictures})
    if count and count >= len(different):
        raise UserError(
            f"held_out = {count} leaves nothing to learn from, for there are {len(different)} different pictures; "
            "make it smaller"
        )
    return set(random.Random(f"held out {seed}").sample(different, count))
