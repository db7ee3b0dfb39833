"""What a training is judged by at milestones: a few drawn pictures, by other eyes than those of `limner evaluate`.

The eyes are the base's own: the first half of its network, copied before anything is taught to it, sees the pictures'
latents under a little noise. A denoiser's inner layers tell things apart well (Xiang et al. 2023, arXiv 2303.09769);
they are there for any base without another file, and share nothing with the network that reports.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from limner.base.half import first_half
from limner.base.model import BaseModel
from limner.device import generator
from limner.diffusion import add_noise
from limner.evaluate.metrics import near_copies
from limner.evaluate.online import some
from limner.evaluate.pictures import SMALL, encode
from limner.generate import Generated, Request, generate_each

LEVEL = 0.1  # part of the schedule: the little noise under which pictures are looked at
SCALE_FLOOR = 1e-2  # a channel that hardly varies counts as if it varied by this share of the typical one's deviation
# At the usual guidance of 7 so few steps leave noise; at 4 the pocket base's pictures are nearly those of 20 steps.
SAMPLER_STEPS, GUIDANCE = 6, 4.0
COLOURS = ("red", "green", "blue")  # of backgrounds: words that every base understands, and pixels can confirm
CAPTIONED = 3  # pictures drawn of captions
IMAGES = CAPTIONED + len(COLOURS)  # of a milestone
PASSES = IMAGES * (2 * SAMPLER_STEPS + 2) + 24  # through the network, of a milestone, roughly
SEEN = 24  # training pictures that the eyes look at
FEWEST_JUDGES = 4  # unseen pictures that can do without the others
LEAST_ROOM = 0.05  # between the base's pictures and real ones, below which likeness says nothing
LEAST_RESPONSE = 0.02  # mean squared change of the borders by the colour in the prompt, in units of the range of 0..1


class Eyes:
    """Features of pictures by the first half of the base's network, as it is when this is made."""

    def __init__(self, model: BaseModel) -> None:
        self._half = first_half(model)
        self._timestep = int(LEVEL * len(model.alphas_cumprod))
        self._signal = model.alphas_cumprod[self._timestep]
        self._model = model

    @torch.no_grad()
    def __call__(self, images: Sequence[Image.Image]) -> Tensor:
        """(n, channels) float32: mean and deviation of every channel, level by level, for pictures of one size."""
        return torch.cat([self._look(encode(self._model, image)) for image in images])

    def _look(self, latents: Tensor) -> Tensor:
        noise = torch.randn(latents.shape, generator=generator(0))
        noisy = add_noise(latents.float().cpu(), noise, self._signal[None]).to(self._model.device, self._model.dtype)
        return torch.cat([_statistics(level) for level in self._half(noisy, self._timestep)], dim=1)

    @property
    def weights(self) -> Tensor:
        """(channels,): one over the root of a level's number of them, so that all levels count the same."""
        return torch.cat([torch.full((2 * width,), width**-0.5) for width in self._half.widths])


def _statistics(x: Tensor) -> Tensor:
    """Means and deviations (1, 2 * channels) of a map (1, channels, h, w)."""
    x = x.float().cpu()
    return torch.cat([x.mean((2, 3)), x.flatten(2).std(2, correction=0)], dim=1)


@dataclass(frozen=True)
class Drawn:
    """The pictures of a milestone, and its figures by name."""

    pictures: list[Generated]
    figures: dict[str, float]


class Judge:
    """Draws the same prompts from the same noise at every milestone, and judges them.

    To be made before anything is taught to the model: the base's own pictures of the prompts are what the figures are
    measured against. before: those pictures. measures_likeness: whether the real pictures differ enough from them.
    """

    def __init__(
        self,
        model: BaseModel,
        captions: Sequence[str],
        name: str,
        unseen: Sequence[Image.Image],
        learned: Sequence[Image.Image],
        request: Request,
        sampler_steps: int = SAMPLER_STEPS,
    ) -> None:
        """captions: prompts for likeness. name: how the prompts call the subject, "zqvx dog". unseen, learned: real
        pictures, squares of one size; with few unseen ones the learned ones judge too. request: all but the prompt,
        count, steps and guidance."""
        request = replace(request, steps=sampler_steps, cfg_scale=GUIDANCE, count=1)
        self._requests = [
            replace(request, prompt=captions[number % len(captions)], seed=request.seed + number)
            for number in range(CAPTIONED)
        ]
        self._requests += [replace(request, prompt=f"{name} on a {colour} background") for colour in COLOURS]
        self._learned = learned
        self._model, self._eyes = model, Eyes(model)
        self.before = self._draw()
        before = [picture.image for picture in self.before]
        self._response = _response(before[CAPTIONED:])
        real = self._eyes([*unseen, *some(learned, SEEN)])
        base = self._eyes(before)
        self._origin, self._scale = base.mean(0), _scale(torch.cat([real, base])) / self._eyes.weights
        real = self._directions(real)
        self._judges = judges = real[: len(unseen)] if len(unseen) >= FEWEST_JUDGES else real
        self._floor = float((self._directions(base) @ judges.T).mean())
        self._ceiling = _to_others(real)

    @property
    def measures_likeness(self) -> bool:
        return self._ceiling - self._floor >= LEAST_ROOM

    def __call__(self) -> Drawn:
        """Draw with the model as it is now. Raises UserError where the pictures are no numbers.

        likeness: mean cosine to the real pictures, 0 at the base's and 1 at real ones'; both seen from the middle of
        the base's pictures. prompt_fidelity: how much of the difference that the background's colour makes to the
        base's pictures is there still. near_copies: share of the drawn pictures.
        """
        pictures = self._draw()
        images = [picture.image for picture in pictures]
        copies = near_copies(images, self._learned)
        figures = {"near_copies": sum(copies) / len(copies)}
        if self.measures_likeness:
            cosine = float((self._directions(self._eyes(images)) @ self._judges.T).mean())
            figures["likeness"] = (cosine - self._floor) / (self._ceiling - self._floor)
        room = float(self._response.square().mean())
        if room >= LEAST_RESPONSE:
            kept = float((_response(images[CAPTIONED:]) * self._response).mean()) / room
            figures["prompt_fidelity"] = min(max(kept, 0.0), 1.0)
        return Drawn(pictures, figures)

    def _draw(self) -> list[Generated]:
        at_once = len(self._requests) if self._model.resolution <= SMALL else 1
        groups = (self._requests[at : at + at_once] for at in range(0, len(self._requests), at_once))
        return [picture for group in groups for picture in generate_each(self._model, group)]

    def _directions(self, features: Tensor) -> Tensor:
        return normalize((features - self._origin) / self._scale, dim=1)


def _scale(features: Tensor) -> Tensor:
    """What a unit is in each channel: its deviation over all pictures."""
    deviation = features.std(0)
    return deviation + SCALE_FLOOR * deviation.mean() + torch.finfo().tiny


def _to_others(directions: Tensor) -> float:
    """Mean cosine of different pictures; 1 of a single one."""
    count = len(directions)
    if count < 2:
        return 1.0
    cosines = directions @ directions.T
    return float((cosines.sum() - cosines.trace()) / (count * (count - 1)))


def _response(images: Sequence[Image.Image]) -> Tensor:
    """How the mean colour (0..1) of each picture's border differs from that of all of them: (n, 3)."""
    borders = torch.stack([_border(image) for image in images])
    return borders - borders.mean(0)


def _border(image: Image.Image) -> Tensor:
    """Mean colour (3,) of the outermost tenth on the left, the right and above, where subjects seldom reach."""
    small = image.convert("RGB").resize((20, 20), Image.Resampling.BOX)
    levels = torch.frombuffer(bytearray(small.tobytes()), dtype=torch.uint8).view(20, 20, 3).float() / 255
    return torch.cat([levels[:2].flatten(0, 1), levels[2:, :2].flatten(0, 1), levels[2:, -2:].flatten(0, 1)]).mean(0)
