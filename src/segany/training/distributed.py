"""One process or several (`torchrun`): who we are, sums over all, and the model shared between us."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from segany.core.device import resolve_device
from segany.modeling.layers import ResidualBlock
from segany.training.config import Sharding


@dataclass(frozen=True)
class Processes:
    """The processes of a training, seen from one of them."""

    device: torch.device
    """Where this one computes."""
    rank: int = 0
    """Number of this one."""
    world: int = 1
    """How many there are."""

    @property
    def is_main(self) -> bool:
        """Whether this one writes the files."""
        return self.rank == 0

    def total(self, values: Tensor) -> Tensor:
        """Sum of a tensor over all processes; the same everywhere."""
        if self.world == 1:
            return values
        summed = values.detach().clone()
        distributed.all_reduce(summed)
        return summed

    def wait(self) -> None:
        """Until every process is here."""
        if self.world > 1:
            distributed.barrier()


@contextmanager
def processes(device: str = "auto") -> Iterator[Processes]:
    """Join the other processes that `torchrun` started, if it did.

    Args:
        device: as in `resolve_device`; with several GPUs each process takes its own.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    chosen = resolve_device(device)
    if world == 1:
        yield Processes(chosen)
        return
    if chosen.type == "cuda":
        chosen = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
        torch.cuda.set_device(chosen)
    distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    try:
        yield Processes(chosen, distributed.get_rank(), world)
    finally:
        distributed.destroy_process_group()


def shared(task: nn.Module, group: Processes, sharding: Sharding) -> nn.Module:
    """The task whose gradients are averaged over all processes.

    Args:
        task: module whose forward is the whole step.
        group: the processes.
        sharding: every process holds the whole model, or each a shard of every block.
    """
    if group.world == 1:
        return task
    if sharding == "fsdp":
        from torch.distributed.fsdp import fully_shard

        for module in task.modules():
            if isinstance(module, ResidualBlock):
                fully_shard(module)
        return cast(nn.Module, fully_shard(task))
    return DistributedDataParallel(task, find_unused_parameters=True)


def unsynchronised(task: nn.Module, last: bool) -> AbstractContextManager[Any]:
    """Inside, gradients stay with their process, unless this is the last batch of a step."""
    if isinstance(task, DistributedDataParallel):
        return nullcontext() if last else task.no_sync()
    if is_sharded(task):
        task.set_requires_gradient_sync(last)  # type: ignore[operator]
    return nullcontext()


def is_sharded(task: nn.Module) -> bool:
    """Whether the task's parameters lie in shards."""
    return hasattr(task, "set_requires_gradient_sync")


@contextmanager
def gathered(task: nn.Module) -> Iterator[None]:
    """Inside, every process holds whole weights, for looking at the model outside the task's forward."""
    sharded = [m for m in task.modules() if hasattr(m, "unshard")] if is_sharded(task) else []
    for module in sharded:
        module.unshard()  # type: ignore[operator]
    try:
        yield
    finally:
        for module in sharded:
            module.reshard()  # type: ignore[operator]


def whole(value: Any) -> Any:
    """A state without shards, on the CPU: dicts and lists are walked, everything else stays."""
    if isinstance(value, dict):
        return {key: whole(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(whole(item) for item in value)
    if isinstance(value, Tensor):
        full = value.full_tensor() if hasattr(value, "full_tensor") else value
        return full.detach().cpu()
    return value


def like(template: Any, value: Any) -> Any:
    """A whole tensor, shared out as the template is."""
    if hasattr(template, "full_tensor"):
        from torch.distributed.tensor import distribute_tensor

        return distribute_tensor(value.to(template.device), template.device_mesh, template.placements)
    return value
