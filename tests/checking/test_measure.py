"""What is measured of one picture, by files made for it."""

import pickle
from pathlib import Path

import numpy as np
from PIL import Image

from limner.checking.measure import Measure, measure
from limner.data.source import Source


def test_features_are_a_direction_in_int8(tmp_path: Path) -> None:
    """They agree with the evaluator's own to the rounding."""
    from limner.evaluate.features import Evaluator

    image = Image.effect_noise((64, 48), 60).convert("RGB")
    image.save(tmp_path / "a.png")
    measured = pickle.loads(pickle.dumps(Measure()))(Source(tmp_path, "a.png"))
    assert measured.features is not None
    assert measured.features.dtype == np.int8
    ours = measured.features / np.linalg.norm(measured.features.astype(float))
    assert ours @ Evaluator()([image]).pooled[0].numpy() > 0.999
    assert Measure(features=False)(Source(tmp_path, "a.png")).features is None


def test_a_file_that_is_no_picture_has_a_problem_and_no_features(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    measured = measure(Source(tmp_path, "a.jpg"))
    assert measured.facts.problem == "is not an image that can be read"
    assert measured.features is None
