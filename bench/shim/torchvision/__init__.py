"""Not torchvision: the few transforms of pictures that diffusers' example scripts import from it (transforms.py).

The real package has no build for the CPU build of torch that Limner is tested with. run.py beside this folder lets the
example scripts find it, and nothing else does.
"""

from torchvision import transforms

__all__ = ["transforms"]
