"""Pictures that are made on the command line, by `generate` and `grid`."""

import re
import time
from collections.abc import Iterable
from pathlib import Path

from limner.cli.opening import open_with_bar
from limner.cli.output import Output, duration
from limner.config import GenerateSettings, GridSettings
from limner.errors import UserError

# Endings of pictures that are not written, so that a name with one of them is no folder's.
OTHERS = (".jpg", ".jpeg", ".webp", ".avif", ".gif", ".bmp", ".tif", ".tiff", ".heic", ".safetensors", ".txt", ".json")
LARGE = 1e9  # bytes of a base; reading so many takes seconds
NAMED = re.compile(r"(\d{5})-\d+\.png")  # 00012-1234.png: number and seed, as the webui names them


def draw(settings: GenerateSettings, output: Output) -> dict:
    """Make the pictures of a request and save each with its `parameters`."""
    from limner.base.announce import size_of
    from limner.device import peak_memory_bytes
    from limner.files import free_names
    from limner.generate import generate as generated
    from limner.generate.read import read_request
    from limner.infotext import next_numbers, save_png
    from limner.prompt import parse_prompt
    from limner.run.outputs import prompt_files
    from limner.samplers import find_sampler
    from limner.upscalers import find_upscaler

    first = _first_number(settings.out)
    _check_out(settings, [_path(settings, first + number, 0) for number in range(settings.count)])
    files = prompt_files(settings.models, settings.lora, settings.embedding)
    request = read_request(settings)
    find_sampler(settings.sampler, settings.schedule)
    find_upscaler(settings.hires_upscaler)
    tags = parse_prompt(settings.prompt).loras
    named = [tag.name for tag in tags]
    for name in named:  # what can be wrong is found before the base is loaded
        files.find_lora(name)
    for question in (question for tag in tags for question in tag.questions()):
        output.warn(question)
    remarks = Remarks(output)
    remarks.say(files.not_named(named, [settings.prompt, settings.negative_prompt]))
    model = open_with_bar(settings, output)
    remarks.said += model.warnings
    if model.source is not None and size_of(model.source) > LARGE:
        output.say("working out the base's hash, which the pictures' text names ...")
        assert model.sha256  # kept for all of them
    began = time.monotonic()
    pictures: list[dict[str, str | int]] = []
    with output.progress("picture", settings.count) as bar:
        for picture in generated(model, request, files):
            wished = _path(settings, first + len(pictures), picture.seed)
            names = free_names if _is_file(settings.out) else next_numbers
            path = save_png(picture.image, picture.infotext, wished, "", settings.overwrite, names, "--out")
            if path != wished and _is_file(settings.out):
                output.warn(_taken(wished, path))
            pictures.append({"file": str(path), "seed": picture.seed, "parameters": picture.infotext})
            remarks.say(picture.remarks)
            bar.at(len(pictures))
    for made in pictures:
        output.result(str(made["file"]))
    output.say(f"done in {duration(time.monotonic() - began)}")
    seconds = round(time.monotonic() - began, 3)
    return {
        "pictures": pictures,
        "seconds": seconds,
        "peak_memory_bytes": peak_memory_bytes(),
        "warnings": remarks.said,
    }


def draw_grid(settings: GridSettings, output: Output) -> dict:
    """Draw every cell of a grid and save them as one picture."""
    from limner.device import peak_memory_bytes
    from limner.files import free_names
    from limner.grid import check_cells, common_infotext, compose, draw_cells, opener, plan_cells, read_axes
    from limner.infotext import save_png
    from limner.prompt import parse_prompt
    from limner.run.outputs import prompt_files

    if settings.out.suffix.lower() != ".png":
        raise UserError(f"{settings.out} does not end in .png; give the name of the picture with --out")
    axes = read_axes(settings)
    cells = plan_cells(settings, axes)
    out = settings.out
    if "out" not in settings.model_fields_set:  # nobody asked for that very name
        out = next(path for path in free_names(out) if not path.exists())
    _check_out(settings, [out])
    files = prompt_files(settings.models, settings.lora, settings.embedding)
    check_cells(cells, files)
    remarks = Remarks(output)
    named = [tag.name for cell in cells for tag in parse_prompt(cell.request.prompt).loras]
    texts = [text for cell in cells for text in (cell.request.prompt, cell.request.negative_prompt)]
    remarks.say(files.not_named(named, texts))
    began = time.monotonic()
    drawn = []
    with output.progress("picture", len(cells)) as bar:
        for each in draw_cells(cells, files, opener(settings)):
            remarks.say(each.warnings)
            drawn.append(each)
            bar.at(len(drawn))
    infotext = common_infotext(settings, drawn, axes)
    page = compose(drawn, axes)
    path = save_png(page, infotext, out, overwrite=settings.overwrite, option="--out")
    if path != out:
        output.warn(_taken(out, path))
    output.result(str(path))
    output.say(f"done in {duration(time.monotonic() - began)}")
    return {
        "file": str(path),
        "width": page.width,
        "height": page.height,
        "parameters": infotext,
        "cells": [
            {"place": each.cell.place, "base": each.cell.base, "parameters": each.infotext}
            for each in sorted(drawn, key=lambda each: each.cell.place)
        ],
        "seconds": round(time.monotonic() - began, 3),
        "peak_memory_bytes": peak_memory_bytes(),
        "warnings": remarks.said,
    }


def _check_out(settings: GenerateSettings, paths: list[Path]) -> None:
    """Raise UserError unless the pictures have a place, and take no other file's."""
    from limner.files import require_not_read, require_writable

    out = settings.out
    if not out.is_dir() and out.suffix.lower() in OTHERS:
        raise UserError(f"{out} is the name of a file, but pictures are written as .png; end it so, or give a folder")
    if out.exists() and not out.is_dir() and not _is_file(out):
        raise UserError(f"{out} is a file; give a folder, or the name of a .png file, with --out")
    for path in paths:
        require_not_read(path, [each for each in (settings.init_image, settings.mask) if each is not None])
        if path.exists() and not settings.overwrite and not path.is_dir():
            raise UserError(f"{path} is there already; give another name with --out, or say --overwrite")
    require_writable(paths[0])


def _is_file(out: Path) -> bool:
    """Whether a picture is asked for by name, and not a folder for several."""
    return out.suffix.lower() == ".png" and not out.is_dir()


def _taken(wished: Path, path: Path) -> str:
    return f"{wished} was written by something else meanwhile, and stays; the picture is {path}"


class Remarks:
    """Warnings, each said once, and what --json lists of them."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self.said: list[str] = []

    def say(self, remarks: Iterable[str]) -> None:
        for remark in remarks:
            if remark not in self.said:
                self.said.append(remark)
                self._output.warn(remark)


def _first_number(out: Path) -> int:
    """The number after those of the pictures that the folder holds."""
    if _is_file(out) or not out.is_dir():
        return 1
    return 1 + max((int(match[1]) for path in out.iterdir() if (match := NAMED.fullmatch(path.name))), default=0)


def _path(settings: GenerateSettings, number: int, seed: int) -> Path:
    """Where a picture goes: into the folder, or, if `out` is a .png, there, numbered if there are several."""
    out = settings.out
    if not _is_file(out):
        return out / f"{number:05d}-{seed}.png"
    return out if settings.count == 1 else out.with_stem(f"{out.stem}-{number}")
