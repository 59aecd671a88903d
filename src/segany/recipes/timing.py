"""Measuring fairly: everything in turn in one run, medians, and what the machine itself can do."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

import torch

from segany.core.identity import run_identity

Work = Callable[[], Any]
PRODUCTS = ((2048, 2048, 2048), (4096, 768, 3072), (4096, 3072, 768))
"""(M, K, N) of the matrix products that say how fast this machine is: a large square one and those of a ViT's MLP."""
PRODUCT = "matrix product"
"""How the names of `matrix_products` begin."""
LIBRARIES = ("torch", "numpy", "opencv-python-headless", "pycocotools", "transformers", "onnxruntime", "openvino")


@dataclass(frozen=True)
class Timing:
    """Seconds of one thing, one per round."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return median(self.seconds)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: median, extremes and every round."""
        return {
            "median": self.median,
            "min": min(self.seconds),
            "max": max(self.seconds),
            "rounds": [round(value, 6) for value in self.seconds],
        }


def interleaved(
    works: Mapping[str, Work], repeats: int, *, warm_up: bool = True, note: Callable[[str], None] | None = None
) -> dict[str, Timing]:
    """Time several things in turn, so that a slow minute of the machine hits all of them.

    Args:
        works: name to what is timed; the order turns by one place each round.
        repeats: rounds, at least 1.
        warm_up: run everything once before, untimed.
        note: told what is going on.
    """
    names = list(works)
    if warm_up:
        for name in names:
            works[name]()
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(repeats):
        turn = number % len(names) if names else 0
        for name in names[turn:] + names[:turn]:
            seconds[name].append(timed(works[name]))
            if note is not None:
                note(f"round {number + 1} of {repeats}: {name} {seconds[name][-1]:.3f} s")
    return {name: Timing(tuple(values)) for name, values in seconds.items()}


def timed(work: Work) -> float:
    """Seconds of one call; work queued on a GPU is waited for."""
    wait = torch.cuda.synchronize if torch.cuda.is_available() else _nothing
    wait()
    start = time.perf_counter()
    work()
    wait()
    return time.perf_counter() - start


def _nothing() -> None:
    return None


def matrix_products(device: torch.device, dtypes: Sequence[torch.dtype]) -> dict[str, tuple[float, Work]]:
    """Name → (operations, the product) for every shape and precision, to be timed in turn with others."""
    found: dict[str, tuple[float, Work]] = {}
    for dtype in dtypes:
        short = str(dtype).removeprefix("torch.")
        for m, k, n in PRODUCTS:
            left = torch.randn(m, k, device=device).to(dtype)
            right = torch.randn(k, n, device=device).to(dtype)
            found[f"{PRODUCT} {short} {m}x{k}x{n}"] = (2.0 * m * k * n, _product(left, right))
    return found


def _product(left: torch.Tensor, right: torch.Tensor) -> Work:
    return lambda: left @ right


def rates(products: Mapping[str, tuple[float, Work]], timings: Mapping[str, Timing]) -> dict[str, float]:
    """Precision → the highest rate that any shape's median reached, operations per second: the machine's bound."""
    best: dict[str, float] = {}
    for name, (operations, _) in products.items():
        short = name.removeprefix(PRODUCT).split()[0]
        best[short] = max(best.get(short, 0.0), operations / timings[name].median)
    return best


def machine() -> dict[str, Any]:
    """Where a number comes from: processor, cores, threads, load, versions, revision."""
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    affinity = getattr(os, "sched_getaffinity", None)
    load = os.getloadavg() if hasattr(os, "getloadavg") else None
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        **run_identity(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "cores_allowed": len(affinity(0)) if affinity is not None else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load_average": None if load is None else [round(value, 2) for value in load],
        "gpus": gpus,
        "libraries": versions,
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _processor() -> dict[str, Any]:
    """Model name and the instruction sets that decide the speed."""
    found: dict[str, Any] = {"name": platform.processor() or platform.machine(), "features": []}
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return found
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            found["name"] = value.strip()
        if key.strip() == "flags":
            wanted = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
            found["features"] = [flag for flag in wanted if flag in value.split()]
            break
    return found


def peak_bytes() -> int:
    """The most memory this process has held since it started, bytes."""
    try:
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) << 10
    except OSError:
        pass
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(most if platform.system() == "Darwin" else most << 10)
