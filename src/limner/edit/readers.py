"""What the programs that people use make of an edited LoRA, whose base is not at hand: its family must do."""

import functools
import math
from pathlib import Path

from limner.base import single
from limner.base.families import UNETS
from limner.base.published import published
from limner.container.header import read_header, read_tensors
from limner.formats import inspect
from limner.formats.identify import BUNDLE
from limner.formats.layers import Layout, layout_of
from limner.formats.readers import READERS
from limner.methods.form import form_of, scale
from limner.weights import Weights


def faults_in(path: Path, weights: Weights) -> dict[str, str]:
    """{program: what it does with the file, where that is not what the weights say}: known of its form, and of a plain
    LoRA found out by reading it as each does."""
    found = dict(inspect(path).faults)
    modules = weights.modules() if weights.kind == "lora" else {}
    forms = {form.name for leaves in modules.values() if (form := form_of(leaves)) is not None}
    if forms != {"lora"} or weights.family not in UNETS or any("lora_mid" in leaves for leaves in modules.values()):
        return found
    metadata = read_header(path).metadata
    tensors = {key: tensor for key, tensor in read_tensors(path).items() if not key.startswith(BUNDLE)}
    for program, read in READERS.items():
        patches = read(tensors, _layout(weights.family), metadata).patches
        missed = [layer for layer in modules if layer not in patches]
        wrong = [
            layer
            for layer, patch in patches.items()
            if patch.scale is not None and layer in modules and not _is_strength(patch.scale, modules[layer])
        ]
        if program in found or not (missed or wrong):
            continue
        if missed:
            found[program] = f"finds no place for {len(missed)} of its {len(modules)} layers, {missed[0]} for one"
        else:
            found[program] = f"applies {len(wrong)} of its layers at another strength, {wrong[0]} for one"
    return found


def _is_strength(told: float, leaves: dict) -> bool:
    return math.isclose(told, scale(leaves, leaves["lora_down"].shape[0]), rel_tol=1e-5)


@functools.cache
def _layout(family: str) -> Layout:
    """The layers of a family as it is published."""
    configs = published(family)
    return layout_of(UNETS[family], {part: single.skeleton(part, configs) for part in single.networks_of(configs)})
