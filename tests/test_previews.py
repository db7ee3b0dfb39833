"""Pictures drawn while a LoRA is being trained: they show it, and they leave it alone."""

import numpy as np
import torch

from limner.base.model import BaseModel
from limner.generate import Request, generate
from limner.methods.method import find_method


def picture(model: BaseModel) -> np.ndarray:
    (made,) = generate(model, Request("a cat", steps=2, seed=1))
    return np.asarray(made.image)


def test_a_preview_shows_the_adapter_and_changes_nothing(tiny_base: BaseModel) -> None:
    plain = picture(tiny_base)
    method_class = find_method("lora")
    method = method_class(method_class.Config())
    parameters = [parameter for group in method.attach(tiny_base, seed=0) for parameter in group.parameters]
    assert np.array_equal(picture(tiny_base), plain)
    with torch.no_grad():
        for parameter in parameters:
            parameter += 0.1
    method.refresh()
    before = [parameter.detach().clone() for parameter in parameters]
    assert not np.array_equal(picture(tiny_base), plain)
    assert all(torch.equal(*pair) for pair in zip(before, parameters, strict=True))
    assert all(parameter.requires_grad and parameter.grad is None for parameter in parameters)
    method.detach()
    assert np.array_equal(picture(tiny_base), plain)
