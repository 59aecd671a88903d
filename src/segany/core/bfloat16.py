"""Whether this machine is fast at bfloat16: measured once, remembered in the user's cache folder."""

from __future__ import annotations

import contextlib
import json
import platform
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from segany.core.files import atomic_write_json, cache_dir

if TYPE_CHECKING:
    import torch

WORTH_IT = 1.5
"""Matrix products in bfloat16 this many times faster than in float32 make it the choice of `auto`.

Processors without bfloat16 instructions lie far below 1, those with them near 2 or far above; nothing was seen between.
"""
SIDE = 1024
"""Side of the square matrices that are multiplied."""


@cache
def bfloat16_speedup() -> float:
    """Time of a float32 matrix product over that of a bfloat16 one, on this CPU.

    The first call on a machine takes about 0.2 s and is remembered, for this processor and this torch, in
    `machine.json` in the cache folder; a folder that cannot be written costs the measurement again.
    """
    name = _machine()
    known = _known()
    if name not in known:
        known[name] = round(measure(), 2)
        with contextlib.suppress(OSError):
            atomic_write_json(_file(), known, indent=1)
    return known[name]


def measure() -> float:
    """The speedup as it is now, best of four interleaved products each."""
    import torch

    small = _times(256, 1)
    if small[torch.bfloat16] > 4 * small[torch.float32]:
        return small[torch.float32] / small[torch.bfloat16]
    times = _times(SIDE, 4)
    return times[torch.float32] / times[torch.bfloat16]


def _times(side: int, rounds: int) -> dict[torch.dtype, float]:
    """Least seconds of a product of two side × side matrices, by precision; the first of each is not counted."""
    import torch

    draw = torch.Generator().manual_seed(0)
    matrices = {dtype: torch.randn(side, side, generator=draw).to(dtype) for dtype in (torch.float32, torch.bfloat16)}
    best = dict.fromkeys(matrices, float("inf"))
    for attempt in range(rounds + 1):
        for dtype, matrix in matrices.items():
            start = time.perf_counter()
            torch.mm(matrix, matrix)
            if attempt:
                best[dtype] = min(best[dtype], time.perf_counter() - start)
    return best


def _file() -> Path:
    return cache_dir() / "machine.json"


def _known() -> dict[str, float]:
    try:
        read = json.loads(_file().read_text(encoding="utf-8"))
        return {str(name): float(value) for name, value in read.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _machine() -> str:
    import torch

    return f"{_processor()}, {torch.backends.cpu.get_cpu_capability()}, torch {torch.__version__}"


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            wanted = ("model name", "cpu family", "model\t")
            lines = [
                line.split(":", 1)[1].strip()
                for line in file.read().split("\n\n")[0].splitlines()
                if line.startswith(wanted)
            ]
    except (OSError, IndexError):
        lines = []
    return " ".join(lines) or platform.processor() or platform.machine()
