"""The verbs that change finished files: each reads its settings, edits, and says what came of it."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from limner.cli.app import verb
from limner.cli.opening import say_opening
from limner.cli.output import Output, duration, megabytes
from limner.config import ConvertSettings, ExtractSettings, MergeSettings, ResizeSettings

if TYPE_CHECKING:  # help loads no torch
    from limner.edit import Converted, Edit, Extracted, Resized

T = TypeVar("T")


@verb(ConvertSettings, "file", "out")
def convert(settings: ConvertSettings, output: Output) -> dict:
    """Write a LoRA, embedding or checkpoint in another format or number format."""
    say_opening(output, settings.file, doing="reading")
    from limner.edit import converting

    began = time.monotonic()
    made = follow(converting(settings), output, "tensor")
    _tell_name(settings.out, made.path, output)
    _warn(made.faults, output, made.warnings)
    output.result(f"{made.path}: {megabytes(made.size_bytes)}, before {megabytes(made.size_before)}")
    sizes = {"size_before": made.size_before, "size_bytes": made.size_bytes}
    return {"file": str(made.path), "kind": made.kind} | sizes | _said(made) | _cost(output, began)


@verb(ExtractSettings, "tuned", "base", "out")
def extract(settings: ExtractSettings, output: Output) -> dict:
    """Take a LoRA out of a fine-tuned checkpoint: what it does otherwise than the base that it was tuned from."""
    say_opening(output, settings.tuned, settings.base, doing="reading")
    from limner.edit import extracting

    began = time.monotonic()
    made = follow(extracting(settings), output, "weight")
    _tell_energy(made.energy, made.ranks, output)
    for what, share in made.left_out.items():
        output.say(f"left out: {what}, {share:.2%} of everything that differs")
    _tell_name(settings.out, made.path, output)
    _warn(made.faults, output, made.warnings)
    output.result(f"{made.path}: {megabytes(made.size_bytes)}, holds {made.energy['all']:.2%} of its layers' change")
    facts = {"ranks": made.ranks, "energy": made.energy, "left_out": made.left_out} | _said(made)
    return {"file": str(made.path), "size_bytes": made.size_bytes} | facts | _cost(output, began)


@verb(MergeSettings, "base", "out")
def merge(settings: MergeSettings, output: Output) -> dict:
    """Add LoRAs, or any of their kin, to a checkpoint; or, with --into lora, several LoRAs up into one."""
    say_opening(output, settings.base, doing="reading")
    from limner.edit import Merged, merging

    began = time.monotonic()
    made = follow(merging(settings), output, "layer" if settings.into == "lora" else "tensor")
    _tell_name(settings.out, made.path, output)
    if not isinstance(made, Merged):
        return _tell_lora(made, output, began)
    for word in made.left_out:
        output.warn(f"the embedding {word!r} that came with a LoRA is not in the checkpoint, which has no place for it")
    _warn({}, output, made.warnings)
    output.result(f"{made.path}: {megabytes(made.size_bytes)}, {made.layers} layers changed")
    facts = {"size_bytes": made.size_bytes, "layers": made.layers, "left_out": list(made.left_out)}
    facts |= {"warnings": list(made.warnings)}
    return {"file": str(made.path)} | facts | _cost(output, began)


@verb(ResizeSettings, "lora", "out")
def resize(settings: ResizeSettings, output: Output) -> dict:
    """Make a LoRA smaller: of each layer keep the directions that matter most."""
    say_opening(output, settings.lora, doing="reading")
    from limner.edit import resizing

    began = time.monotonic()
    made = follow(resizing(settings), output, "layer")
    _tell_name(settings.out, made.path, output)
    return _tell_lora(made, output, began)


def follow(edit: "Edit[T]", output: Output, what: str) -> T:
    """Show how far an edit is; returns what it makes."""
    with output.progress(what, 0) as bar:
        while True:
            try:
                progress = next(edit)
            except StopIteration as end:
                return end.value
            bar.total = progress.total
            bar.at(progress.done)


def _tell_lora(made: "Resized", output: Output, began: float) -> dict:
    _tell_energy(made.energy, made.ranks, output)
    _warn(made.faults, output, made.warnings)
    output.result(f"{made.path}: {megabytes(made.size_bytes)}, before {megabytes(made.size_before)}")
    facts = {"size_bytes": made.size_bytes, "ranks": made.ranks, "energy": made.energy, "faults": made.faults}
    facts |= {"warnings": list(made.warnings)}
    return {"file": str(made.path), "size_before": made.size_before} | facts | _cost(output, began)


def _tell_name(wished: Path, path: Path, output: Output) -> None:
    """That a file came under the name meanwhile."""
    if path != wished:
        output.warn(f"{wished} was written by something else meanwhile, and stays; the result is {path}")


def _warn(faults: dict[str, str], output: Output, warnings: Sequence[str] = ()) -> None:
    """What is to be said of the files that were read, and which programs would not use a file as it is meant."""
    for warning in (*warnings, *(f"{program} {fault}" for program, fault in faults.items())):
        output.warn(warning)


def _said(made: "Converted | Extracted") -> dict[str, Any]:
    return {"faults": made.faults, "warnings": list(made.warnings)}


def _tell_energy(energy: dict[str, float], ranks: dict[int, int], output: Output) -> None:
    output.table(("block", "of the change kept"), [(block, f"{share:.2%}") for block, share in energy.items()])
    output.say("rank (layers): " + ", ".join(f"{rank} ({count})" for rank, count in ranks.items()))


def _cost(output: Output, began: float) -> dict[str, Any]:
    from limner.device import peak_memory_bytes

    seconds = time.monotonic() - began
    output.say(f"done in {duration(seconds)}")
    return {"seconds": round(seconds, 3), "peak_memory_bytes": peak_memory_bytes()}
