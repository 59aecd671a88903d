"""Parameter groups, optimisers, and learning rates over the steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from segany.core.errors import OptionError
from segany.modeling.layers import ResidualBlock
from segany.training.config import OptimizerConfig, ScheduleConfig
from segany.training.muon import MuonAdamW, is_matrix

UNDECAYED = ("pos_embed", "rel_pos_h", "rel_pos_w", "attention_biases")
"""Learned positions: no weight decay, as in ViTDet (arXiv 2203.16527)."""


def residual_blocks(model: nn.Module) -> list[tuple[str, ResidualBlock]]:
    """Blocks of the encoder's trunk with their names, from the first to the last."""
    return [(name, module) for name, module in model.named_modules() if isinstance(module, ResidualBlock)]


def set_drop_path(model: nn.Module, rate: float) -> None:
    """Drop path growing linearly from 0 at the first block to `rate` at the last.

    Source: Stochastic depth (arXiv 1603.09382).
    """
    blocks = residual_blocks(model)
    for index, (_, block) in enumerate(blocks):
        block.drop_path = rate * index / max(1, len(blocks) - 1)


def set_recompute(model: nn.Module, on: bool) -> None:
    """Whether the trunk's blocks compute their activations again in the backward pass."""
    for _, block in residual_blocks(model):
        block.recompute = on


def hold_still(model: nn.Module, but: Sequence[str]) -> None:
    """Freeze every parameter whose name begins with none of `but`; nothing changes when there are none.

    Raises:
        OptionError: a beginning that no parameter has.
    """
    names = [name for name, _ in model.named_parameters()]
    if unknown := [begin for begin in but if not any(name.startswith(begin) for name in names)]:
        raise OptionError(
            "optimizer.only must be beginnings of parameter names, such as mask_decoder.iou_prediction_head; no "
            f"parameter begins with {', '.join(unknown)}. This model's parts: "
            f"{', '.join(dict.fromkeys(name.partition('.')[0] for name in names))}."
        )
    for name, parameter in model.named_parameters():
        if but and not name.startswith(tuple(but)):
            parameter.requires_grad_(False)


def layer_of(name: str, blocks: Sequence[str]) -> int:
    """Depth of a parameter: 0 before the first block, i + 1 inside block i, one past the last for all the rest.

    What leads from one stage to the next counts with the block it leads to.

    Args:
        name: parameter name.
        blocks: names of the trunk's blocks, first to last.
    """
    for index, block in enumerate(blocks):
        if name.startswith(block + "."):
            return index + 1
    parts = name.split(".")
    if "image_encoder" not in parts or any(part in ("neck", "lateral") for part in parts):
        return len(blocks) + 1
    if "downsample" in parts:
        return _layer_after(parts, blocks)
    return 0


def _layer_after(parts: list[str], blocks: Sequence[str]) -> int:
    """Layer of the first block behind a downsampling: `downsample.i` or `layers.i.downsample`."""
    place = parts.index("downsample")
    stage = int(parts[place + 1]) if parts[place - 1] == "image_encoder" else int(parts[place - 1])
    for index, block in enumerate(blocks):
        numbers = [int(part) for part in block.split(".") if part.isdigit()]
        if numbers[0] > stage:
            return index + 1
    return len(blocks) + 1


def parameter_groups(model: nn.Module, config: OptimizerConfig) -> list[dict[str, Any]]:
    """Groups, one per layer, decay and way of moving; each carries its factor on the learning rate as `scale`.

    Parameters that do not require gradients are left out.
    """
    blocks = [name for name, _ in residual_blocks(model)]
    muon = config.kind == "muon"
    groups: dict[tuple[int, bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            decayed = parameter.ndim > 1 and name.rpartition(".")[2] not in UNDECAYED
            layer = layer_of(name, blocks) if config.layer_decay < 1 else len(blocks) + 1
            groups.setdefault((layer, decayed, muon and decayed and is_matrix(parameter)), []).append(parameter)
    return [
        {
            "params": parameters,
            "weight_decay": config.weight_decay if decayed else 0.0,
            "scale": config.layer_decay ** (len(blocks) + 1 - layer),
            "matrices": matrices,
        }
        for (layer, decayed, matrices), parameters in sorted(groups.items(), key=lambda item: item[0])
    ]


def optimizer_of(model: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    """The config's optimiser over a model's groups; the rate is set step by step."""
    fused = all(parameter.device.type in ("cpu", "cuda") for parameter in model.parameters())
    groups = parameter_groups(model, config)
    if config.kind == "muon":
        return MuonAdamW(groups, betas=config.betas, fused=fused)
    return torch.optim.AdamW(groups, lr=0.0, betas=config.betas, fused=fused)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every group its share of a learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("scale", 1.0)


@dataclass(frozen=True)
class Schedule:
    """Step (from 0) → learning rate, of a config with its own shape."""

    config: ScheduleConfig

    def __call__(self, step: int) -> float:
        config = self.config
        rate = config.rate * _warm(step, config.warm_up)
        if config.shape == "steps":
            return rate * config.factor ** sum(step >= milestone for milestone in config.milestones)
        if config.shape == "cosine":
            share = (step - config.warm_up) / max(1, config.steps - config.warm_up)
            fallen = (1 + math.cos(math.pi * min(1.0, max(0.0, share)))) / 2
            return rate * (config.final + (1 - config.final) * fallen)
        return rate


@dataclass(frozen=True)
class Spans:
    """Half a cosine after the other: (steps, first rate, last rate) each, with one warm-up at the start."""

    spans: tuple[tuple[int, float, float], ...]
    warm_up: int

    def __call__(self, step: int) -> float:
        begin = 0
        for steps, first, last in self.spans:
            if step < begin + steps:
                fallen = (1 + math.cos(math.pi * (step - begin) / steps)) / 2
                return (last + (first - last) * fallen) * _warm(step, self.warm_up)
            begin += steps
        return self.spans[-1][2]


def _warm(step: int, warm_up: int) -> float:
    return min(1.0, (step + 1) / warm_up) if warm_up else 1.0
