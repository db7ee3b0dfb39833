"""Pictures laid over each other."""

import numpy as np
from photos import photo
from PIL import ImageOps

from limner.vision.align import sketch


def test_the_points_of_a_mirror_image_are_those_that_would_be_found_in_it() -> None:
    image = photo(256, 192)
    (places, described), (found, descriptions) = sketch(image).mirrored.points, sketch(ImageOps.mirror(image)).points
    assert len(places) > 100
    nearest = (described @ descriptions.T).argmax(1)
    together = np.linalg.norm(places - found[nearest], axis=1) < 1
    assert together.mean() > 0.8
    cosines = (described * descriptions[nearest]).sum(1)[together]
    assert np.median(cosines) > 0.99
