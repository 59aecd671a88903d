"""Where the time of encoder and decoder goes, operation by operation: the plain reference and this package.

    python benchmarks/profile_model.py [--model vit_b] [--prompts 64] [--repeats 3] [--threads N] [-o DIR]

torch's profiler counts the seconds that each operation itself takes; operations are put together by what they are for.
"Before" is the plain reference in float32 (`reference.py`), "after" this package as it runs by default; same random
weights, same photo, in turn. The profiler itself costs a little: compare shares, and take seconds from `automatic.py`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
from _common import RESULTS, large_photo, random_model, write
from reference import Reference
from torch.profiler import ProfilerActivity, profile

from segany.pictures.durations import stage_plot
from segany.predict.predictor import Predictor

KINDS = {
    "attention": ("scaled_dot", "flash", "bmm", "baddbmm", "softmax", "einsum"),
    "matrix products": ("addmm", "linear", "mm", "matmul"),
    "convolutions": ("conv", "slow_conv", "mkldnn_conv"),
    "norms and activations": ("norm", "gelu", "relu", "sigmoid", "var", "mean", "rsqrt", "sqrt", "pow"),
    "copies and casts": ("copy", "clone", "cat", "contiguous", "pad", "to_copy", "stack", "repeat", "index", "fill"),
    "sums and products": ("add", "mul", "sub", "div"),
}
OTHER = "other"


def kind_of(operation: str) -> str:
    """What an operation of torch is for, by its name."""
    name = operation.removeprefix("aten::").lstrip("_")
    for kind, names in KINDS.items():
        if any(name.startswith(start) or f"_{start}" in name for start in names):
            return kind
    return OTHER


def stages_of(work: Callable[[], Any]) -> dict[str, float]:
    """Seconds of one call, by kind of operation."""
    with profile(activities=[ProfilerActivity.CPU]) as trace:
        work()
    found: dict[str, float] = {}
    for event in trace.key_averages():
        kind = kind_of(event.key)
        found[kind] = found.get(kind, 0.0) + event.self_cpu_time_total / 1e6
    return found


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="vit_b", help="random weights of this model")
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--photo", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=RESULTS)
    options = parser.parse_args(words)
    model = random_model(options.model)
    plain = Reference({key: tensor.clone() for key, tensor in model.state_dict().items()}, model.config)
    predictor = Predictor(model, device="cpu", dtype=options.dtype, threads=options.threads)
    pixels, _ = plain.pixels(large_photo(options.photo)[1])
    features = predictor.encode_pixels(pixels)
    points = torch.rand(options.prompts, 2, generator=torch.Generator().manual_seed(0)) * model.config.canvas
    ones = torch.ones(options.prompts, 1, dtype=torch.long)
    works: dict[str, Callable[[], Any]] = {
        "encode, before": lambda: plain.encode_pixels(pixels),
        "encode, after": lambda: predictor.encode_pixels(pixels),
        f"decode {options.prompts} clicks, before": lambda: plain.decode(features, points),
        f"decode {options.prompts} clicks, after": lambda: predictor.decode_canvas(
            features, points=points[:, None], labels=ones
        ),
    }
    for work in works.values():
        work()
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in works}
    for number in range(options.repeats):
        for name, work in works.items():
            rounds[name].append(stages_of(work))
            print(f"round {number + 1}: {name}: {sum(rounds[name][-1].values()):.3f} s", flush=True)
    kinds = [*KINDS, OTHER]
    medians = {
        name: {kind: median(one.get(kind, 0.0) for one in several) for kind in kinds}
        for name, several in rounds.items()
    }
    dtype = str(predictor.dtype).removeprefix("torch.")
    write(
        options.output,
        "profile",
        {"model": options.model, "dtype": dtype, "prompts": options.prompts, "stages": medians},
    )
    title = f"{options.model}: operations before (plain, float32) and after ({dtype})"
    stage_plot(options.output / "profile.png", medians, title=title)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
