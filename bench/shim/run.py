"""`python -P run.py SCRIPT ARGUMENTS`: an example script of diffusers with the `torchvision` of this folder.

The libraries are imported before it can be found (hence -P): they ask whether torchvision is there, and would take it
for the real one and use what it does not have.
"""

import runpy
import sys
from pathlib import Path

import accelerate  # noqa: F401
import diffusers
import peft  # noqa: F401
from transformers import AutoTokenizer, CLIPTextModel, CLIPTokenizer  # noqa: F401
from transformers.utils import is_torchvision_available

is_torchvision_available()  # the answer is kept
for name in ("StableDiffusionPipeline", "DiffusionPipeline", "AutoencoderKL", "UNet2DConditionModel", "DDPMScheduler"):
    getattr(diffusers, name)  # loads what the script will ask for
sys.path.insert(0, str(Path(__file__).resolve().parent))
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
