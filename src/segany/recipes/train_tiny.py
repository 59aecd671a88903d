"""Train the embedded model: low resolution first, then its own canvas, with synthetic scenes mixed in."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from segany.data.cache import INDEX, CachedPhoto, PhotoCache, build_cache
from segany.data.packs import PACKS, iter_pack
from segany.modeling.build import build_model
from segany.modeling.presets import TINY
from segany.modeling.sam import Sam
from segany.training.batches import BatchConfig, BatchMaker
from segany.training.interactive import InteractiveConfig, InteractiveStep
from segany.transforms.augment import ViewConfig


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A stretch of training at one canvas."""

    steps: int
    """Optimiser steps."""
    canvas: int
    """Side of the canvas, pixels."""
    images: int
    """Views per step."""
    masks: int
    """Masks per view."""
    start_rate: float
    """Learning rate at the start of the phase."""
    end_rate: float
    """Learning rate at its end; cosine between."""
    rounds: int = 2
    """Decodes per mask."""
    synthetic: float = 0.2
    """Share of synthetic scenes."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The whole run."""

    phases: tuple[Phase, ...]
    seed: int = 0
    warm_up: int = 200
    """Steps of linear warm-up at the very start."""
    weight_decay: float = 0.05
    clip: float = 1.0
    """Largest gradient norm."""
    average: float = 0.998
    """Decay of the exponential moving average of the weights."""
    step: InteractiveConfig = dataclasses.field(default_factory=InteractiveConfig)


def at_canvas(model: Sam, canvas: int) -> Sam:
    """The same weights on another canvas; for encoders without learned positions."""
    model.config = dataclasses.replace(model.config, canvas=canvas)
    grid = model.config.grid
    encoder = model.prompt_encoder
    encoder.image_embedding_size, encoder.input_image_size = (grid, grid), (canvas, canvas)
    encoder.mask_input_size = (4 * grid, 4 * grid)
    return model


def for_watching(photo: CachedPhoto) -> bool:
    """Photos kept from training to watch it; none of them belongs to the held-out part."""
    return int(hashlib.sha1(f"watch/{photo.pack}/{photo.key}".encode()).hexdigest(), 16) % 40 == 0


class Run:
    """State of a training run: model, average, optimiser, step, and the files in `out`."""

    def __init__(self, recipe: Recipe, cache: PhotoCache, out: Path) -> None:
        self.recipe, self.cache, self.out = recipe, cache, out
        torch.manual_seed(recipe.seed)
        self.model = build_model(TINY).to(memory_format=torch.channels_last)
        self.average = {k: v.clone() for k, v in self.model.state_dict().items()}
        decayed = [p for p in self.model.parameters() if p.ndim >= 2]
        plain = [p for p in self.model.parameters() if p.ndim < 2]
        groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": plain, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.98))
        self.step = 0
        self.seconds = 0.0
        self.watch = [p for p in cache.photos if for_watching(p)]
        self.photos = [p for p in cache.photos if not for_watching(p)]
        if (out / "last.pt").is_file():
            self._load(out / "last.pt")

    def _load(self, path: Path) -> None:
        state = torch.load(path, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.average = state["average"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds = state["step"], state["seconds"]

    def save(self, name: str = "last.pt") -> None:
        state = {
            "model": self.model.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
        torch.save(state, self.out / f"{name}.part")
        (self.out / f"{name}.part").replace(self.out / name)

    def phase_at(self, step: int) -> tuple[int, Phase, float]:
        """Index, phase and learning rate of a step."""
        begin = 0
        for index, phase in enumerate(self.recipe.phases):
            if step < begin + phase.steps:
                share = (step - begin) / phase.steps
                span = phase.start_rate - phase.end_rate
                rate = phase.end_rate + span * (1 + math.cos(math.pi * share)) / 2
                return index, phase, rate * min(1.0, (step + 1) / self.recipe.warm_up)
            begin += phase.steps
        raise IndexError(step)

    def maker(self, phase: Phase, photos: list[CachedPhoto], rng: np.random.Generator, view: ViewConfig) -> BatchMaker:
        weights = dict(BatchConfig().weights)
        real = sum(v for k, v in weights.items() if k != "synthetic")
        weights = {k: v / real * (1 - phase.synthetic) for k, v in weights.items() if k != "synthetic"}
        weights["synthetic"] = phase.synthetic
        config = BatchConfig(
            canvas=phase.canvas, images=phase.images, masks_per_image=phase.masks, weights=weights, view=view
        )
        return BatchMaker(config, self.cache, photos, TINY.pixel_mean, TINY.pixel_std, rng)

    def train(self) -> None:
        total = sum(phase.steps for phase in self.recipe.phases)
        recent: list[dict[str, float]] = []
        current = -1
        while self.step < total:
            index, phase, rate = self.phase_at(self.step)
            if index != current:
                current = index
                maker = self.maker(phase, self.photos, np.random.default_rng([self.recipe.seed, self.step]), ViewConfig())
                generator = torch.Generator().manual_seed(self.recipe.seed * 7919 + self.step)
                judge = InteractiveStep(dataclasses.replace(self.recipe.step, rounds=phase.rounds), generator)
                at_canvas(self.model, phase.canvas)
            began = time.monotonic()
            recent.append(self._one(maker, judge, rate))
            self.seconds += time.monotonic() - began
            if self.step % 50 == 0:
                self._log("train", recent, rate)
                recent = []
            if self.step % 250 == 0 or self.step == total:
                self.save()
            if self.step % 1000 == 0 or self.step == total:
                self._log("watch", self.look(phase), rate)

    def _one(self, maker: BatchMaker, judge: InteractiveStep, rate: float) -> dict[str, float]:
        batch = maker.draw()
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        pixels = batch.pixels.to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            result = judge(self.model, pixels, batch.masks, batch.image_index)
        result.loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip)
        if torch.isfinite(norm):
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        decay = min(self.recipe.average, self.step / (self.step + 10))
        for key, value in self.model.state_dict().items():
            self.average[key].lerp_(value, 1 - decay)
        return result.numbers | {"norm": float(norm), "masks": float(len(batch.masks))}

    @torch.no_grad()
    def look(self, phase: Phase) -> list[dict[str, float]]:
        """Interactive quality of the averaged weights on the photos kept for watching."""
        own = {k: v.clone() for k, v in self.model.state_dict().items()}
        self.model.load_state_dict(self.average)
        whole = ViewConfig(whole=1.0, flip=0.0, colour=0.0, grey=0.0)
        rows: list[dict[str, float]] = []
        still = dataclasses.replace(phase, synthetic=0.0, images=4)
        for pack in sorted({p.pack for p in self.watch}):
            photos = [p for p in self.watch if p.pack == pack]
            maker = self.maker(still, photos, np.random.default_rng(1), whole)
            for point in (1.0, 0.0):
                config = dataclasses.replace(self.recipe.step, point_first=point, interior=1.0, rounds=3)
                judge = InteractiveStep(config, torch.Generator().manual_seed(1))
                kind = "point" if point else "box"
                for _ in range(4):
                    batch = maker.draw()
                    with torch.autocast("cpu", torch.bfloat16):
                        numbers = judge(self.model, batch.pixels, batch.masks, batch.image_index).numbers
                    rows.append({f"{pack}/{kind}_{k[4:]}": v for k, v in numbers.items() if k.startswith("iou")})
        self.model.load_state_dict(own)
        return rows

    def _log(self, kind: str, rows: list[dict[str, float]], rate: float) -> None:
        keys = sorted({key for row in rows for key in row})
        means: dict[str, Any] = {k: round(float(np.mean([r[k] for r in rows if k in r])), 4) for k in keys}
        line = {"kind": kind, "step": self.step, "seconds": round(self.seconds, 1), "rate": round(rate, 6), **means}
        with open(self.out / "metrics.jsonl", "a") as file:
            file.write(json.dumps(line) + "\n")


def read_recipe(path: Path) -> Recipe:
    """Recipe from JSON: `{"phases": [{…}], "seed": 0, …}`."""
    value = json.loads(path.read_text())
    phases = tuple(Phase(**phase) for phase in value.pop("phases"))
    step = InteractiveConfig(**value.pop("step", {}))
    return Recipe(phases=phases, step=step, **value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data packs")
    parser.add_argument("--cache", type=Path, required=True, help="folder for decoded photos")
    parser.add_argument("--recipe", type=Path, required=True, help="JSON of the recipe")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("-o", "--out", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    arguments.out.mkdir(parents=True, exist_ok=True)
    if not (arguments.cache / INDEX).is_file():
        build_cache(arguments.cache, (image for pack in PACKS for image in iter_pack(pack, arguments.data, "train")))
    Run(read_recipe(arguments.recipe), PhotoCache(arguments.cache), arguments.out).train()


if __name__ == "__main__":
    main()
