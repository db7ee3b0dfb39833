"""The leaves of one layer of a LoRA or another of its family: which form they are of, and that they fit each other."""

from collections.abc import Mapping

import torch
from torch import Tensor

from limner.errors import UserError
from limner.methods.form import Form, fit_together, form_of, forms, is_number


def spellings() -> dict[str, str]:
    """{a leaf as files spell it: its neutral name}, of all forms."""
    return {spelled: leaf for form in forms().values() for leaf, spelled in form.leaves.items()}


def check_factors(leaves: Mapping[str, Tensor], module: str, file: str) -> type[Form]:
    """The form of a layer. Raises UserError unless the leaves are all of one form and fit each other."""
    form = form_of(leaves)
    if form is None:
        raise UserError(f"{file} has {', '.join(leaves)} for the layer {module}, which makes no change; use another")
    strange = leaves.keys() - form.leaves.keys()
    if strange:
        raise UserError(f"{file} has {min(strange)} for the layer {module}, which no {form.name} has; use another file")
    missing = form.missing(leaves)
    if missing:
        raise UserError(f"{file} lacks {missing[0]} of the layer {module}; the file is incomplete, so use another")
    for leaf in ("alpha", "on_input"):
        if not is_number(leaves, leaf):
            shape = tuple(leaves[leaf].shape)
            raise UserError(
                f"{file} has {leaf} of shape {shape} for the layer {module}, not one number, so that its tensors "
                "do not fit together; use another file"
            )
    if not fit_together(form, leaves):
        shapes = " and ".join(str(tuple(tensor.shape)) for leaf, tensor in leaves.items() if leaf != "alpha")
        raise UserError(
            f"{file} has factors of shapes {shapes} for the layer {module}, which do not fit together; use another file"
        )
    return form


def change(leaves: Mapping[str, Tensor], weight: Tensor) -> Tensor:
    """What a layer's weight would change by, shaped like it, float32 on the CPU."""
    form = form_of(leaves)
    assert form is not None
    exact = {leaf: tensor.detach().to("cpu", torch.float32) for leaf, tensor in leaves.items()}
    return form.change(weight.detach().to("cpu", torch.float32), exact)
