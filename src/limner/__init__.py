"""Limner teaches Stable Diffusion a new subject from a few images. Importing this package loads no torch.

import limner

for event in limner.train("photos", keyword="zqvx", class_word="dog"):
    print(event)
model = limner.load("pocket")
for picture in limner.generate(model, "a zqvx dog <lora:zqvx:1>"):
    picture.image.save(f"{picture.seed}.png")
"""

import importlib
import sys
from types import ModuleType
from typing import Any

__version__ = "0.1.0"
__all__ = [
    "compare",
    "convert",
    "dreambooth",
    "evaluate",
    "extract",
    "generate",
    "inspect",
    "keyword",
    "load",
    "merge",
    "prepare",
    "resize",
    "resume",
    "train",
]


class _Package(ModuleType):
    """The package with the functions of api.py, loaded when first used.

    They win over submodules of the same name (train.py, generate.py), which the import system would put in their
    place; those are imported from as ever: `from limner.train import Plan`.
    """

    def __getattribute__(self, name: str) -> Any:
        if name in __all__:
            return getattr(importlib.import_module("limner.api"), name)
        return super().__getattribute__(name)


sys.modules[__name__].__class__ = _Package
