"""Not torchvision: the few transforms of pictures that diffusers' example scripts import from it (transforms.py).

The real package has no build for the CPU build of torch that Limner is tested with. bench.time_to_likeness puts this
folder on the PYTHONPATH of the example scripts, and of nothing else.
"""

from torchvision import transforms

__all__ = ["transforms"]
