"""The judge of milestones: it measures against the base's own pictures, by eyes that training does not change."""

import pytest
import torch
from PIL import Image

from limner.base.model import BaseModel
from limner.evaluate import milestone
from limner.evaluate.milestone import Eyes, Judge
from limner.generate import Generated, Request


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(milestone, "SAMPLER_STEPS", 1)


def noise(seed: int, side: int = 64) -> Image.Image:
    levels = torch.randint(0, 255, (side, side, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    return Image.fromarray(levels.numpy())


def flat(*colours: str) -> list[Image.Image]:
    return [Image.new("RGB", (64, 64), colour) for colour in colours]


def shaken(model: BaseModel, size: float = 0.3) -> None:
    """Another UNet than it was."""
    with torch.no_grad():
        for parameter in model.networks["unet"].parameters():
            parameter += size * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(parameter.numel()))


def test_eyes_see_what_the_base_saw_whatever_is_learned_since(tiny_base: BaseModel) -> None:
    eyes = Eyes(tiny_base)
    pictures = [noise(1), *flat("red")]
    before = eyes(pictures)
    assert before.shape == (2, 2 * (32 + 32 + 64 + 64 + 64))
    assert len(eyes.weights) == before.shape[1]
    assert torch.equal(eyes([pictures[1]])[0], before[1])
    assert not torch.allclose(before[0], before[1], atol=1e-2)
    shaken(tiny_base)
    assert torch.equal(eyes(pictures), before)
    assert not torch.equal(Eyes(tiny_base)(pictures), before)


def test_the_base_has_no_likeness(tiny_base: BaseModel) -> None:
    judge = Judge(tiny_base, ["a cat", "a dog"], "zqvx cat", [], flat("red", "blue", "green"), Request("", seed=1))
    assert judge.measures_likeness
    drawn = judge()
    assert [each.image.tobytes() for each in drawn.pictures] == [each.image.tobytes() for each in judge.before]
    # the tiny base answers every prompt alike, so there is no fidelity to lose
    assert drawn.figures == pytest.approx({"near_copies": 0, "likeness": 0}, abs=1e-5)
    assert [each.infotext.split("\n")[0] for each in drawn.pictures] == [
        "a cat",
        "a dog",
        "a cat",
        *(f"zqvx cat on a {colour} background" for colour in ("red", "green", "blue")),
    ]
    state = torch.random.get_rng_state()
    shaken(tiny_base)
    moved = judge()
    assert moved.figures["likeness"] != pytest.approx(0, abs=1e-3)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_fidelity_is_what_is_left_of_the_backgrounds_colours(
    tiny_base: BaseModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    backgrounds = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]

    def draw(model: BaseModel, requests: list[Request]) -> list[Generated]:
        colours = [backgrounds[["red", "green", "blue"].index(r.prompt.split()[-2])] for r in requests[3:]]
        return [Generated(Image.new("RGB", (64, 64), each), 0, "") for each in ["gray"] * 3 + colours]

    monkeypatch.setattr(milestone, "generate_each", draw)
    judge = Judge(tiny_base, ["a cat"], "zqvx cat", [], [noise(1), noise(2)], Request("", seed=1))
    assert judge().figures["prompt_fidelity"] == pytest.approx(1)
    backgrounds[:] = [(170, 85, 85), (85, 170, 85), (85, 85, 170)]
    assert judge().figures["prompt_fidelity"] == pytest.approx(1 / 3, abs=0.01)
    backgrounds[:] = [(0, 0, 255), (255, 0, 0), (0, 255, 0)]
    assert judge().figures["prompt_fidelity"] == 0


def test_what_is_drawn_again_is_most_like_itself_and_a_copy(tiny_base: BaseModel) -> None:
    first = Judge(tiny_base, ["a cat"], "zqvx cat", [], flat("red", "blue"), Request("", seed=1))
    shaken(tiny_base)
    goal = [each.image for each in first().pictures]
    with torch.no_grad():
        for parameter in tiny_base.networks["unet"].parameters():  # back again
            parameter -= 0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(parameter.numel()))
    judge = Judge(tiny_base, ["a cat"], "zqvx cat", [], goal, Request("", seed=1))
    assert judge().figures["likeness"] == pytest.approx(0, abs=1e-3)
    shaken(tiny_base)
    figures = judge().figures
    assert figures["likeness"] > 0.9
    assert figures["near_copies"] > 0


def test_pictures_that_the_base_draws_already_leave_likeness_unmeasured(tiny_base: BaseModel) -> None:
    request = Request("", seed=1)
    drawn = Judge(tiny_base, ["a cat"], "a cat", [], flat("red", "blue"), request).before
    judge = Judge(tiny_base, ["a cat"], "a cat", [], [each.image for each in drawn], request)
    assert not judge.measures_likeness
    assert "likeness" not in judge().figures
