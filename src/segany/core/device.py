"""Where to compute and in which precision."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from segany.core.bfloat16 import WORTH_IT, bfloat16_speedup
from segany.core.errors import OptionError

if TYPE_CHECKING:
    import torch

DTYPES = ("float32", "bfloat16", "float16")
DTYPE_VARIABLE = "SEGANY_DTYPE"
"""Environment variable that answers for `auto`."""


def resolve_device(name: str | torch.device = "auto") -> torch.device:
    """`auto` is CUDA, then Apple's MPS, then the CPU.

    Raises:
        OptionError: an unknown device, or one this machine does not have.
    """
    import torch

    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise OptionError(f"device must be auto, cpu, cuda, cuda:N or mps; got {name!r}. Try auto.") from error
    mps = int(torch.backends.mps.is_available())
    present = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": mps}.get(device.type, 0)
    if (device.index or 0) >= present:
        raise OptionError(f"device must be one this machine has; got {str(name)!r}, which it has not. Try auto or cpu.")
    return device


def resolve_dtype(name: str, device: str | torch.device) -> torch.dtype:
    """`auto` is what SEGANY_DTYPE says, else bfloat16 where the device is fast at it, and float32 elsewhere.

    A GPU says itself whether it computes in bfloat16; a CPU is measured once (`segany.core.bfloat16`).

    Raises:
        OptionError: an unknown precision, or float16 on a CPU.
    """
    import torch

    on = torch.device(device).type
    said = f"dtype must be auto, {', '.join(DTYPES)}"
    if name == "auto" and (chosen := os.environ.get(DTYPE_VARIABLE, "auto")) != "auto":
        name, said = chosen, f"the environment variable {DTYPE_VARIABLE} must be auto, {', '.join(DTYPES)}"
    if name == "auto":
        fast = on == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        fast = fast or (on == "cpu" and bfloat16_speedup() >= WORTH_IT)
        return torch.bfloat16 if fast else torch.float32
    if name not in DTYPES:
        raise OptionError(f"{said}; got {name!r}. Try auto.")
    if name == "float16" and on == "cpu":
        raise OptionError("dtype float16 needs a GPU; got device cpu. Use bfloat16 or float32.")
    dtype: torch.dtype = getattr(torch, name)
    return dtype
