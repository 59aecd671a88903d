"""Everything in a photo at ViT-B sizes: this package beside the plain reference, stage by stage.

    python benchmarks/automatic.py [--points-per-side 32] [--repeats 3] [--threads N] [--photo F] [-o DIR]

Both sides have the same random ViT-B weights and run encoder and decoder in full. Random weights make masks of noise,
which nothing survives; so after each side's decoder has run, what it said is replaced by the same recorded, smooth
logits and predicted IoUs: those of `tiny` for the same clicks on the same photo, resized to ViT-B's 256 × 256 and
scaled until at least 100 records survive the released thresholds (0.88, 0.95). The replacing itself is not counted.
Then `tiny` for real, with its own thresholds. Rounds alternate between the sides; medians are shown.

P prompts · M masks per prompt · h, w low-res grid
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from _common import EXACT, RESULTS, large_photo, matching, random_model, write
from numpy.typing import NDArray
from reference import Reference, Stages
from torch import Tensor
from torch.nn import functional

from segany.geometry.frames import Frame
from segany.geometry.grids import point_grid
from segany.pictures.durations import stage_plot
from segany.predict.automatic.config import SweepConfig
from segany.predict.automatic.generator import AutomaticMaskGenerator
from segany.predict.predictor import Predictor
from segany.recipes.timing import interleaved, machine

ENOUGH = 100
"""Records that have to survive."""
PASSING = (0.4, 0.6, 0.8, 0.95)
"""Shares of the candidates whose recorded IoU is put above the threshold, tried in this order for every factor."""
FACTORS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
"""Tried on the recorded logits, the smoothest first: larger ones make steeper borders, and so stabler masks."""


@dataclass
class Recorded:
    """What a decoder said to every click of a grid, row by row.

    Attributes:
        logits: (N, 4, h, w) float32, never changed.
        iou: (N, 4).
        side: clicks along each edge.
    """

    logits: Tensor
    iou: Tensor
    side: int

    def part(self, start: int, end: int) -> tuple[Tensor, Tensor]:
        return self.logits[start:end], self.iou[start:end]

    def of(self, canvas_xy: Tensor, frame: Frame) -> tuple[Tensor, Tensor]:
        """The answers to clicks of the grid in any order, (P, 2) canvas pixels; no copy when they follow each other."""
        size = torch.tensor([frame.resized_hw[1], frame.resized_hw[0]])
        cell = (canvas_xy.cpu() / size * self.side - 0.5).round().long().clamp(0, self.side - 1)
        index = cell[:, 1] * self.side + cell[:, 0]
        first = int(index[0])
        if torch.equal(index, torch.arange(first, first + len(index))):
            return self.part(first, first + len(index))
        return self.logits[index], self.iou[index]


class Injected(Predictor):
    """A predictor whose decoder's words are replaced after it has run.

    Attributes:
        recorded, frame: what to say instead.
        dry: run neither encoder nor decoder; for choosing the scale.
        stages: seconds of encoder and decoder, and of the replacing, which belongs to neither side.
    """

    recorded: Recorded
    frame: Frame
    dry = False
    stages: Stages

    def encode_pixels(self, pixels: Tensor) -> Tensor:
        if self.dry:
            return torch.zeros(len(pixels), self.config.width, self.config.grid, self.config.grid)
        with self.stages("encode"):
            return super().encode_pixels(pixels)

    def decode_canvas(self, features: Tensor, **prompts: Any) -> tuple[Tensor, Tensor]:
        if not self.dry:
            with self.stages("decode"):
                super().decode_canvas(features, **prompts)
        with self.stages("replacing"):
            return self.recorded.of(prompts["points"][:, 0], self.frame)


def record(rgb: NDArray[np.uint8], side: int, low_res: int) -> tuple[Tensor, Tensor]:
    """(N, 4, h, w) logits and (N, 4) IoU of `tiny` for a grid of clicks, at another model's low-res size."""
    tiny = Predictor.from_pretrained("tiny", device="cpu", dtype="float32")
    image = tiny.encode(rgb)
    points = torch.from_numpy(image.frame.to_canvas(point_grid(side) * [rgb.shape[1], rgb.shape[0]]).astype(np.float32))
    logits, iou = [], []
    for batch in points.split(64):
        ones = torch.ones(len(batch), 1, dtype=torch.long)
        said, quality = tiny.decode_canvas(image.features[None], points=batch[:, None], labels=ones)
        logits.append(functional.interpolate(said, (low_res, low_res), mode="bilinear", align_corners=False))
        iou.append(quality)
    return torch.cat(logits), torch.cat(iou)


def scaled(predictor: Injected, rgb: NDArray[np.uint8], side: int, thresh: float) -> dict[str, float]:
    """Give `predictor` recorded answers of which at least 100 survive; returns how they were scaled."""
    logits, iou = record(rgb, side, predictor.config.low_res)
    best = float(iou[:, 1:].max())
    predictor.dry = True
    for factor, passing in product(FACTORS, PASSING):
        cut = float(iou[:, 1:].quantile(1 - passing))
        raised = thresh + (iou - cut) * (0.99 - thresh) / max(best - cut, 1e-6)
        predictor.recorded = Recorded(logits * factor, raised, side)
        survivors = len(ours(predictor, rgb, side, EXACT))
        if survivors >= ENOUGH:
            break
    predictor.dry = False
    return {"factor": factor, "passing": passing, "survivors": survivors}


def ours(predictor: Predictor, rgb: NDArray[np.uint8], side: int, knobs: dict[str, Any]) -> list[Any]:
    """Released thresholds, whatever the weights recommend."""
    return AutomaticMaskGenerator(predictor, SweepConfig.of(points_per_side=side, **knobs)).generate(rgb)


@dataclass
class Side:
    """One way of doing it: what it found last, and its stages, round by round."""

    name: str
    rounds: list[dict[str, float]]
    records: Sequence[Any] = ()

    def medians(self) -> dict[str, float]:
        names = dict.fromkeys(stage for seconds in self.rounds for stage in seconds)
        return {stage: median(seconds.get(stage, 0.0) for seconds in self.rounds) for stage in names}

    def total(self) -> float:
        return median(sum(seconds.values()) for seconds in self.rounds)


def run_reference(side: Side, plain: Reference, rgb: NDArray[np.uint8], recorded: Recorded) -> None:
    stages = Stages()
    side.records = plain.generate(
        rgb,
        points_per_side=recorded.side,
        inject=lambda start, end, low_res, iou: recorded.part(start, end),
        stages=stages,
    )
    side.rounds.append(stages.seconds)


def run_ours(side: Side, predictor: Injected, rgb: NDArray[np.uint8], knobs: dict[str, Any]) -> None:
    predictor.stages = Stages()
    start = time.perf_counter()
    side.records = ours(predictor, rgb, predictor.recorded.side, knobs)
    whole = time.perf_counter() - start
    seconds = predictor.stages.seconds
    replacing = seconds.pop("replacing")
    seconds["post-processing"] = whole - replacing - sum(seconds.values())
    side.rounds.append(seconds)


def compare(options: argparse.Namespace, name: str, rgb: NDArray[np.uint8]) -> dict[str, Any]:
    model = random_model(options.model)
    plain = Reference({key: tensor.clone() for key, tensor in model.state_dict().items()}, model.config)
    predictor = Injected(model, device="cpu", dtype=options.dtype, threads=options.threads)
    predictor.frame = model.frame((rgb.shape[0], rgb.shape[1]))
    predictor.stages = Stages()
    scaling = scaled(predictor, rgb, options.points_per_side, SweepConfig().pred_iou_thresh)
    print(f"recorded logits: {scaling}", flush=True)
    before = float(predictor.recorded.logits.double().sum())
    sides = [Side("reference", []), Side("segany", [])] + ([Side("segany, exact", [])] if EXACT else [])
    for number in range(options.repeats):
        for side in sides[number % len(sides) :] + sides[: number % len(sides)]:
            if side.name == "reference":
                run_reference(side, plain, rgb, predictor.recorded)
            else:
                run_ours(side, predictor, rgb, EXACT if side.name.endswith("exact") else {})
            show(side, f"round {number + 1}")
    if float(predictor.recorded.logits.double().sum()) != before:
        raise SystemExit("one side changed the recorded logits: the comparison is void")
    reference, fast = sides[0], sides[1]
    return {
        "model": options.model,
        "dtype": str(predictor.dtype).removeprefix("torch."),
        "photo": {"name": name, "size_hw": list(rgb.shape[:2])},
        "points_per_side": options.points_per_side,
        "repeats": options.repeats,
        "recorded": scaling,
        "sides": {
            side.name: {
                "seconds": side.total(),
                "stages": side.medians(),
                "rounds": side.rounds,
                "records": len(side.records),
                "matching_reference": matching(reference.records, side.records),
            }
            for side in sides
        },
        "ratio": reference.total() / fast.total(),
        "enough_records": len(reference.records) >= ENOUGH,
    }


def show(side: Side, when: str) -> None:
    stages = ", ".join(f"{stage} {seconds:.2f}" for stage, seconds in side.rounds[-1].items())
    total = sum(side.rounds[-1].values())
    print(f"{when}: {side.name}: {total:.2f} s ({stages}), {len(side.records)} records", flush=True)


def tiny_for_real(options: argparse.Namespace, rgb: NDArray[np.uint8]) -> dict[str, Any]:
    predictor = Predictor.from_pretrained("tiny", device="cpu", dtype=options.dtype, threads=options.threads)
    generator = AutomaticMaskGenerator(predictor, points_per_side=options.points_per_side)
    found: list[int] = []
    works = {"tiny": lambda: found.append(len(generator.generate(rgb)))}
    timing = interleaved(works, options.repeats)["tiny"]
    print(f"tiny for real: {timing.median:.2f} s, {found[-1]} records")
    return {"seconds": timing.to_dict(), "records": found[-1]}


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="vit_b", help="random weights of this model")
    parser.add_argument("--points-per-side", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--dtype", default="auto", help="precision of our side")
    parser.add_argument("--threads", type=int, help="of both sides")
    parser.add_argument("--photo", type=Path, help="default: a photo of 1800 x 1200")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS)
    options = parser.parse_args(words)
    load = machine()["load_average"]
    name, rgb = large_photo(options.photo)
    result = compare(options, name, rgb)
    result["tiny"] = tiny_for_real(options, rgb)
    result["load_average_before"] = load
    write(options.output, "automatic", result)
    bars = {side: about["stages"] for side, about in result["sides"].items()}
    title = f"everything in {name}, {options.points_per_side}² clicks, {options.model} sizes: {result['ratio']:.1f}x"
    stage_plot(options.output / "automatic.png", bars, title=title)
    for side, about in result["sides"].items():
        print(f"{side}: {about['seconds']:.2f} s, {about['matching_reference']}")
    print(f"ratio: {result['ratio']:.2f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
