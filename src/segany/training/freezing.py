"""Which part of a trained model learns on, and low-rank adapters for parts that hold still otherwise."""

from __future__ import annotations

from typing import Any, Literal, get_args

from torch import nn

from segany.core.errors import OptionError
from segany.core.optional import require
from segany.modeling.sam import Sam
from segany.training.optim import residual_blocks

Policy = Literal["decoder", "decoder+neck", "lora", "all"]
ADAPTED = ("qkv", "proj", "lin1", "lin2", "fc1", "fc2")
"""Linear layers of the encoder's blocks that get adapters, in transformers only those of the attention."""
ATTENTION = ("qkv", "proj")


def freeze(model: Sam, policy: Policy) -> None:
    """Leave gradients to what a policy trains.

    Args:
        model: changed in place.
        policy: "decoder" trains prompt encoder and mask decoder; "decoder+neck" the encoder's neck too; "lora" the
            decoder, while the encoder gets adapters (see `add_lora`); "all" everything.

    Raises:
        OptionError: another policy.
    """
    if policy not in get_args(Policy):
        raise OptionError(f"what is trained must be one of {', '.join(get_args(Policy))}; got {policy!r}.")
    model.requires_grad_(True)
    if policy != "all":
        model.image_encoder.requires_grad_(False)
    if policy == "decoder+neck":
        model.image_encoder.neck.requires_grad_(True)


def adapted_layers(model: nn.Module) -> list[str]:
    """Names of the linear layers that adapters go to: attention where blocks have one, else their MLP."""
    found = [
        f"{block}.{name}"
        for block, module in residual_blocks(model)
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Linear) and name.rpartition(".")[2] in ADAPTED
    ]
    attention = [name for name in found if name.rpartition(".")[2] in ATTENTION]
    return attention or found


class Adapters:
    """Low-rank adapters inside a model's encoder, until they are merged.

    Args:
        model: changed in place: the encoder's own weights freeze, the adapters train, the decoder as before.
        rank: of the updates.
        alpha: their scale is alpha / rank.

    Raises:
        MissingDependencyError: the library is not installed.

    Source: LoRA (arXiv 2106.09685).
    """

    def __init__(self, model: Sam, *, rank: int, alpha: float) -> None:
        peft = require("peft", "train")
        trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
        config = peft.LoraConfig(r=rank, lora_alpha=alpha, target_modules=adapted_layers(model), lora_dropout=0.0)
        self._tuner: Any = peft.LoraModel(model, {"default": config}, "default")
        own = dict(model.named_parameters())
        for name in trained:
            own[name].requires_grad_(True)

    def merge(self) -> None:
        """Add the updates to the weights and take the adapters out: the model has its own names again."""
        self._tuner.merge_and_unload()
