"""Where and in which precision to compute, seeds, and memory."""

import sys

import psutil
import torch

from limner.config import Precision
from limner.errors import UserError

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


def choose_device(name: str = "auto") -> torch.device:
    """The named device, or the best one present: an accelerator (CUDA, MPS, XPU), else the CPU.

    Raises UserError for a name that torch does not know or a device that is not there.
    """
    if name == "auto":
        accelerator = torch.accelerator.current_accelerator(check_available=True)
        return accelerator if accelerator is not None else torch.device("cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UserError(f"device {name!r} is not available here; leave --device out or use cpu") from error
    return device


def choose_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """The dtype of the frozen network and its activations; `auto` takes bfloat16 where the hardware computes in it."""
    if precision != "auto":
        return DTYPES[precision]
    if device.type == "cpu":
        return torch.bfloat16 if torch.ops.mkldnn._is_mkldnn_bf16_supported() else torch.float32
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return torch.bfloat16 if device.type == "xpu" else torch.float32


def generator(seed: int) -> torch.Generator:
    """A CPU generator: noise drawn on the CPU is the same whatever device computes."""
    return torch.Generator("cpu").manual_seed(seed)


def peak_memory_bytes() -> int:
    """Peak resident memory of this process, in bytes."""
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset
    import resource  # not there on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
