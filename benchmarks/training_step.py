"""What a step of interactive training costs, with the model's own decoder and with the one arranged for training.

    python benchmarks/training_step.py [--canvas 512] [--images 4] [--masks 6] [--rounds 5] [--repeats 5] [-o DIR]

Both sides do the same on the same random views, in turn: encode, decode every mask `--rounds` times with the logits of
the round before handed back, and go back through all of it, in bfloat16 (autocast), for `tiny`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from _common import RESULTS, write
from torch import Tensor

from segany.modeling.build import build_model
from segany.modeling.canvas import at_canvas
from segany.modeling.folded_decoder import decode, fold
from segany.modeling.presets import TINY
from segany.modeling.sam import Sam
from segany.recipes.timing import interleaved

Decode = Callable[[Tensor | None], tuple[Tensor, Tensor]]


def step_of(model: Sam, pixels: Tensor, index: Tensor, rounds: int, *, folded: bool) -> Callable[[], None]:
    """One step: forward, backward, gradients thrown away."""
    canvas = pixels.shape[-1]
    points = torch.rand(len(index), 2, 2, generator=torch.Generator().manual_seed(0)) * canvas
    labels = torch.tensor([[1, -1]] * len(index))

    def decoder() -> Decode:
        embeddings = model.encode(pixels)
        if folded:
            images = fold(model.mask_decoder, embeddings, index)
            return lambda hints: decode(model, images, points=points, labels=labels, masks=hints)
        return lambda hints: model.decode(
            embeddings, points=points, labels=labels, masks=hints, image_index=index, pad_points=False
        )

    def run() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            decoded, hints = decoder(), None
            total = torch.zeros(())
            for _ in range(rounds):
                low_res, iou = decoded(hints)
                hints = low_res.detach()[:, :1].float()
                total = total + low_res.float().sigmoid().mean() + iou.float().square().mean()
        total.backward()
        model.zero_grad(set_to_none=True)

    return run


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--canvas", type=int, default=512)
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--masks", type=int, default=6, help="of each image")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path, default=RESULTS)
    options = parser.parse_args(words)
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    model = build_model(TINY).to(memory_format=torch.channels_last).train()
    at_canvas(model, options.canvas)
    pixels = torch.randn(options.images, 3, options.canvas, options.canvas)
    index = torch.arange(options.images).repeat_interleave(options.masks)
    works = {
        name: step_of(model, pixels, index, options.rounds, folded=folded)
        for name, folded in (("the model's own decoder", False), ("arranged for training", True))
    }
    timings = interleaved(works, options.repeats, note=print)
    own, arranged = (timing.median for timing in timings.values())
    settings = {key: getattr(options, key) for key in ("canvas", "images", "masks", "rounds", "repeats", "threads")}
    result = {
        "model": TINY.name,
        **settings,
        "seconds": {name: timing.to_dict() for name, timing in timings.items()},
        "ratio": own / arranged,
    }
    write(options.output, "training_step", result)
    print(f"{own:.2f} s and {arranged:.2f} s: {own / arranged:.2f} times")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
