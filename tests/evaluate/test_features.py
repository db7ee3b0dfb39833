"""The offline evaluator sees what is shown, and how it is drawn."""

import subprocess
import sys

import torch
from PIL import Image, ImageFilter

from limner.evaluate.features import Evaluator


def test_pooled_features_know_an_object_again(evaluator: Evaluator, samples: dict[str, Image.Image]) -> None:
    cat, dog = samples["cat"], samples["guitar"]
    turned = cat.rotate(8, fillcolor="white").resize((100, 100))
    features = evaluator([cat, turned, dog]).pooled
    assert float(features[0] @ features[1]) > 0.75
    assert float(features[0] @ features[2]) < 0.55
    torch.testing.assert_close(features.norm(dim=1), torch.ones(3))


def test_features_do_not_depend_on_the_company(evaluator: Evaluator, samples: dict[str, Image.Image]) -> None:
    pictures = list(samples.values())[:18]
    together, alone = evaluator(pictures), evaluator(pictures[17:])
    torch.testing.assert_close(together[17:].pooled, alone.pooled, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(together[17:].style, alone.style, atol=1e-4, rtol=1e-4)


def test_the_network_tells_real_things_apart(evaluator: Evaluator, samples: dict[str, Image.Image]) -> None:
    """Its weights are the trained ones: a blurred picture is nearer to itself than to any other."""
    names = list(samples)[:8]
    sharp = evaluator([samples[name] for name in names]).pooled
    soft = evaluator([samples[name].filter(ImageFilter.GaussianBlur(1.5)) for name in names]).pooled
    assert (soft @ sharp.T).argmax(1).tolist() == list(range(8))


def test_the_evaluator_needs_no_torchvision() -> None:
    code = "import sys; sys.modules['torchvision'] = None; from limner.evaluate.features import Evaluator; Evaluator()"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
