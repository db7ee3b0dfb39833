"""The pocket base's recipe: captions of its scenes are true in every style, and its trainings can be killed."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("resvg_py")  # of the group "recipe"

from limner.evaluate.fidelity import background_colour
from limner.vision.colours import COLOURS
from recipes.pocket.icons import SETS, read_nouns
from recipes.pocket.scenes import Placed, Scene, draw_scene, render_scene
from recipes.pocket.styles import HELD_OUT_STYLES, STYLES, Style, draw_icon, style_of
from recipes.pocket.training import MasterAdamW, fit
from recipes.pocket.unet import extended

SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 36 36" width="36" height="36">'
    '<circle cx="18" cy="18" r="16" fill="#e23"/><path fill="#ffd" d="M10 12h16v5H10z"/>'
    '<path fill="#271" d="M12 24h12v4H12z"/></svg>'
)


@pytest.fixture(scope="module")
def icons() -> dict[str, np.ndarray]:
    return {f"{name}/thing": draw_icon(style, SVG) for name, style in (STYLES | HELD_OUT_STYLES).items()}


def scene(style: str, colour: str, side: int = 112) -> Scene:
    return Scene(style, colour, COLOURS[colour], (Placed("thing", side, ((128 - side) // 2,) * 2),), "")


@pytest.mark.parametrize("style", STYLES | HELD_OUT_STYLES)
def test_the_background_has_the_named_colour_in_every_style(style: str, icons: dict[str, np.ndarray]) -> None:
    drawn = {colour: render_scene(scene(style, colour), icons) for colour in COLOURS}
    assert {colour: background_colour(Image.fromarray(pixels)) for colour, pixels in drawn.items()} == {
        colour: colour for colour in COLOURS
    }
    for colour, pixels in drawn.items():  # and something is seen on it
        assert np.abs(pixels.astype(float) - COLOURS[colour]).max(2).max() > 80


def test_no_two_styles_draw_alike(icons: dict[str, np.ndarray]) -> None:
    drawn = {style: render_scene(scene(style, "teal"), icons).astype(float) for style in STYLES | HELD_OUT_STYLES}
    for one, pixels in drawn.items():
        assert [other for other in drawn if np.abs(drawn[other] - pixels).mean() < 4] == [one]


def test_pixel_art_is_of_equal_squares_wherever_it_lies(icons: dict[str, np.ndarray]) -> None:
    cell = style_of("pixel art").cell
    placed = Placed("thing", 65, (31, 44))
    pixels = render_scene(Scene("pixel art", "blue", COLOURS["blue"], (placed,), ""), icons)
    whole = pixels[: 128 // cell * cell, : 128 // cell * cell]
    assert (whole == whole[::cell, ::cell].repeat(cell, axis=0).repeat(cell, axis=1)).all()


def test_held_out_styles_share_no_drawing_with_the_known_ones() -> None:
    assert not STYLES.keys() & HELD_OUT_STYLES.keys()

    def way(style: Style) -> tuple[Callable[..., np.ndarray], bool]:
        return style.draw, style.finish is not None

    assert not {way(style) for style in STYLES.values()} & {way(style) for style in HELD_OUT_STYLES.values()}
    assert {style.icons for style in (STYLES | HELD_OUT_STYLES).values()} <= SETS.keys()


def test_captions_name_what_the_scene_shows() -> None:
    nouns = read_nouns()
    scenes = [draw_scene(0, index, nouns.only_learned) for index in range(400)]
    assert {placed.noun for each in scenes for placed in each.objects} <= {*nouns.learned}
    for each in scenes:
        assert all(nouns.word(placed.noun) in each.caption for placed in each.objects)
        said = [style for style in STYLES if f"{style} style" in each.caption]
        assert said in ([], [each.style])
        assert all(f"{other} background" not in each.caption for other in COLOURS if other != each.colour)
    assert np.mean(["style" in each.caption for each in scenes]) > 0.9
    assert {each.style for each in scenes} == STYLES.keys()


def train(folder: Path, killed_at: int | None = None) -> torch.Tensor:
    torch.manual_seed(0)
    layer = torch.nn.Linear(4, 4)
    optimizer = MasterAdamW(layer.parameters(), weight_decay=0.01, ema_decay=0.9)
    seen = []

    def loss_of(rng: np.random.Generator) -> tuple[torch.Tensor, int]:
        seen.append(1)
        if killed_at is not None and len(seen) > killed_at:
            raise KeyboardInterrupt
        x = torch.from_numpy(rng.standard_normal((8, 4), dtype=np.float32)) + torch.randn(8, 4)
        return (layer(x) - x).square().mean(), 8

    fit("tiny", folder, loss_of, optimizer, 12, 1e-2, save_every=0.0)
    return torch.cat([each.flatten() for each in (*optimizer.masters, *optimizer.average)])


def test_a_killed_training_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    whole = train(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "killed", killed_at=7)
    assert torch.equal(train(tmp_path / "killed"), whole)


def test_a_cached_array_is_extended_after_a_torn_row(tmp_path: Path) -> None:
    made = []

    def make(start: int, stop: int) -> np.ndarray:
        made.extend(range(start, stop))
        return np.arange(start * 3, stop * 3, dtype=np.int16).reshape(-1, 3)

    path = tmp_path / "rows"
    extended(path, 4, make)
    with path.open("ab") as file:
        file.write(b"torn")
    assert (np.array(extended(path, 9, make)) == np.arange(27).reshape(9, 3)).all()
    assert made == list(range(9))
