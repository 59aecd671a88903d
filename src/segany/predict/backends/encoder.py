"""One image encoder for prediction: its prepared form where there is one, the plain module elsewhere."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from segany.core.device import DTYPE_VARIABLE, resolve_dtype
from segany.core.errors import OptionError
from segany.modeling.conv import ConvBlock, ConvEncoder, GlobalAttention, Neck
from segany.modeling.layers import LayerNorm2d
from segany.modeling.sam import Sam
from segany.modeling.vit import Attention, Block, ImageEncoderViT, MLPBlock, PatchEmbed
from segany.predict.backends.conv import PreparedConv
from segany.predict.backends.int8 import missing_int8
from segany.predict.backends.vit import PreparedViT

Run = Callable[[Tensor], Tensor]
INT8 = "int8"
"""The precision whose ViT has linear layers in 8-bit integers, and all else as `auto` has it."""
WIDE = 256
"""Channels of an embedding from which on `auto` decodes in the encoder's precision: those of the released models."""
KNOWN = {
    *(ImageEncoderViT, PatchEmbed, Block, Attention, MLPBlock),
    *(ConvEncoder, ConvBlock, GlobalAttention, Neck),
    *(LayerNorm2d, nn.LayerNorm, nn.Linear, nn.Conv2d, nn.Sequential, nn.ModuleList),
}
"""Parts whose arithmetic the prepared forms know. Any other (an adapter, a quantised layer) rules them out."""


def has_prepared(model: Sam) -> bool:
    """Whether this model's encoder has a form made for prediction."""
    encoder = model.image_encoder
    return (
        type(model) is Sam
        and type(encoder) in (ImageEncoderViT, ConvEncoder)
        and model.device.type in ("cpu", "cuda")
        and all(type(part) in KNOWN and not _hooked(part) for part in encoder.modules())
        and all(tensor.dtype is torch.float32 for tensor in encoder.parameters())
    )


def _hooked(part: nn.Module) -> bool:
    return bool(part._forward_hooks or part._forward_pre_hooks)


def choose_dtype(name: str, model: Sam) -> torch.dtype:
    """`resolve_dtype`, except that `auto` on a CPU stays with float32 where bfloat16 was not seen to gain.

    For `int8` it is the precision of everything that is not in 8 bits: what `auto` gives.

    Raises:
        OptionError: an unknown precision, float16 on a CPU, or `int8` where `check_int8` refuses it.
    """
    on = model.device
    if name == INT8:
        check_int8(on, model)
        name = "auto"
    if name == "auto" and on.type == "cpu" and not has_prepared(model) and DTYPE_VARIABLE not in os.environ:
        return torch.float32
    return resolve_dtype(name, on)


def check_int8(device: torch.device, model: Sam | None = None) -> None:
    """Refuse `int8` where it cannot be had.

    Raises:
        OptionError: no CPU, one without fast 8-bit products, a torch without them, or a model without a prepared ViT.
    """
    found = f"device {device}" if device.type != "cpu" else missing_int8()
    if found is None and model is not None and not (has_prepared(model) and _is_vit(model)):
        found = f"model {model.config.name}, whose encoder is none or was changed"
    if found is not None:
        raise OptionError(
            f"dtype int8 needs a plain ViT encoder (vit_b, vit_l, vit_h) on a CPU with 8-bit products; got {found}. "
            "Use auto."
        )


def _is_vit(model: Sam) -> bool:
    return isinstance(model.image_encoder, ImageEncoderViT)


def choose_decoding_dtype(name: str, model: Sam, encoding: torch.dtype) -> torch.dtype:
    """Precision of the prompts' side: the encoder's, except that `auto` decodes small models in float32 on a CPU.

    Their masks hang on few channels, so bfloat16 moves a border now and then, and there is little time to gain.
    """
    small = name == "auto" and model.device.type == "cpu" and model.config.width < WIDE
    return torch.float32 if small and DTYPE_VARIABLE not in os.environ else encoding


class PredictionEncoder:
    """Runs a model's image encoder in a precision, without gradients; serves any number of threads.

    The prepared form is made on first use, and again when a weight has changed since: in place, by an optimiser or
    by `load_state_dict`. Changes through `.data` go unseen.

    Args:
        model: on its device, in evaluation.
        dtype: precision to compute in; the embedding is float32 whatever it is.
        int8: have a ViT's larger linear layers in 8 bits, where `check_int8` allows it.
    """

    def __init__(self, model: Sam, dtype: torch.dtype, *, int8: bool = False) -> None:
        self.model, self.dtype, self.int8 = model, dtype, int8
        self._lock = threading.Lock()
        self._ready: tuple[tuple[int, ...], Run] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"model": self.model, "dtype": self.dtype, "int8": self.int8}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def __call__(self, pixels: Tensor) -> Tensor:
        """(B, 3, S, S) normalised and padded canvas, on any device → (B, C, g, g) float32 on the model's."""
        device = self.model.device
        if device.type == "cuda" and pixels.device.type == "cpu":
            pixels = pixels.pin_memory()
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            return self._current()(pixels.to(device, non_blocking=True))

    def _current(self) -> Run:
        parts = list(self.model.image_encoder.parameters())
        state = tuple(n for x in parts for n in (x.data_ptr(), 0 if x.is_inference() else x._version))
        with self._lock:
            if self._ready is None or self._ready[0] != state:
                self._ready = None  # the old copy goes before the new one comes
                self._ready = state, self._prepare()
            return self._ready[1]

    def _prepare(self) -> Run:
        encoder = self.model.image_encoder
        if not has_prepared(self.model):
            return self._plain
        if isinstance(encoder, ConvEncoder):
            return PreparedConv(encoder, self.dtype)
        assert isinstance(encoder, ImageEncoderViT)
        prepared, canvas = PreparedViT(encoder, self.dtype, int8=self.int8), (encoder.img_size, encoder.img_size)
        return lambda pixels: (prepared if tuple(pixels.shape[-2:]) == canvas else self._plain)(pixels)

    def _plain(self, pixels: Tensor) -> Tensor:
        with torch.autocast(pixels.device.type, self.dtype, enabled=self.dtype is not torch.float32):
            return self.model.encode(pixels).float()
