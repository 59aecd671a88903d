"""How prompts in the canvas frame are decoded: the fast way where it serves and pays, by the modules elsewhere.

B images · P prompts · T tokens · M mask tokens · C channels · g grid side
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from segany.modeling.config import ModelConfig
from segany.modeling.fast_decoder import FastDecoder, PreparedImage, working_bytes
from segany.modeling.layers import MLP, LayerNorm2d
from segany.modeling.mask_decoder import MaskDecoder
from segany.modeling.prompt_encoder import PositionEmbeddingRandom, PromptEncoder
from segany.modeling.sam import Sam
from segany.modeling.two_way import Attention, MLPBlock, TwoWayAttentionBlock, TwoWayTransformer

MEMORY = 1 << 30
"""Bytes that decoding may take at once beside the weights, unless told otherwise; bounds memory, changes no result."""
KEPT_IMAGES = 4
"""Photos whose prepared tensors are kept: a person clicks many times on the same one."""
FOLDED = {
    *(Attention, LayerNorm2d, MLP, MLPBlock, MaskDecoder, PositionEmbeddingRandom, PromptEncoder),
    *(TwoWayAttentionBlock, TwoWayTransformer),
    *(nn.Conv2d, nn.ConvTranspose2d, nn.Embedding, nn.GELU, nn.LayerNorm, nn.Linear, nn.ModuleList, nn.Sequential),
}
"""Modules whose arithmetic the fast decoder knows; a model with any other is decoded by its modules."""


def result_bytes(config: ModelConfig) -> int:
    """Bytes of one prompt's results: float32 logits of every mask token."""
    return (config.decoder.multimask_outputs + 1) * config.low_res**2 * torch.float32.itemsize


def module_bytes(config: ModelConfig, dtype: torch.dtype) -> int:
    """Bytes that one prompt takes where the modules decode it: its own image tokens and their upscaling, several times.

    Args:
        config: the model's.
        dtype: precision it is computed in.
    """
    tokens = 8 * config.grid**2 * config.width
    upscaled = 3 * config.low_res**2 * config.width // 8
    return (tokens + upscaled) * dtype.itemsize + result_bytes(config)


def prompts_per_pass(config: ModelConfig, budget_bytes: int = MEMORY, dtype: torch.dtype = torch.float32) -> int:
    """Prompts to hand to `Predictor.decode_canvas` at once so that it stays within a budget; at least 1.

    Args:
        config: the model's.
        budget_bytes: for results and working memory, beside the weights.
        dtype: precision it is computed in.
    """
    fixed = working_bytes(config, dtype)
    return max(1, (budget_bytes - fixed) // result_bytes(config))


class Decoding:
    """A model's decoder with what it keeps between calls, none of which a result depends on. Serves many threads.

    Args:
        model: in evaluation, on its device.
        dtype: precision of the image side.
    """

    def __init__(self, model: Sam, dtype: torch.dtype) -> None:
        self.model = model
        self.dtype = dtype
        self._lock = threading.Lock()
        self._fast: tuple[tuple[Any, ...], FastDecoder] | None = None
        self._images: OrderedDict[int, tuple[FastDecoder, Tensor, PreparedImage]] = OrderedDict()
        self._serial = 0

    def __getstate__(self) -> dict[str, Any]:
        return {"model": self.model, "dtype": self.dtype}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def decode(
        self,
        features: Sequence[Tensor],
        *,
        points: Tensor | None,
        labels: Tensor | None,
        boxes: Tensor | None,
        masks: Tensor | None,
        image_index: Tensor | None,
        token_mask: Tensor | None = None,
        memory: int = MEMORY,
    ) -> tuple[Tensor, Tensor]:
        """All mask tokens of P prompts, without gradients: (P, M, 4g, 4g) logits and (P, M) predicted IoU, float32.

        Args:
            features: B embeddings (C, g, g).
            points, labels, boxes, masks, image_index, token_mask: as for `Sam.decode`.
            memory: bytes that the modules may take at once where they decode.
        """
        prompts = {"points": points, "labels": labels, "boxes": boxes, "masks": masks, "token_mask": token_mask}
        count = next((len(x) for x in (points, boxes, masks) if x is not None), len(features))
        tokens = _tokens(points, boxes)
        with torch.no_grad():
            fast = self.fast(tokens)
            images = _images_of(len(features), count, image_index)
            if fast is None:
                return self._by_modules(features, prompts, images, count, memory)
            with torch.autocast(self.model.device.type, enabled=False):
                return self._fast_decode(fast, features, prompts, images, count)

    def fast(self, tokens: int) -> FastDecoder | None:
        """The fast decoder for prompts of T tokens, made anew when weights have changed; None if it does not serve."""
        model = self.model
        if not _known(model) or model.device.type not in ("cpu", "cuda") or self.dtype is torch.float16:
            return None
        parts = (model.prompt_encoder, model.mask_decoder)
        tensors = [tensor for part in parts for tensor in (*part.parameters(), *part.buffers())]
        if any(tensor.dtype is not torch.float32 for tensor in tensors):
            return None
        state = tuple((x.data_ptr(), 0 if x.is_inference() else x._version) for x in tensors)
        with self._lock:
            kept = self._fast
        if kept is None or kept[0] != state:
            kept = (state, FastDecoder(model.prompt_encoder, model.mask_decoder, self.dtype))
            with self._lock:
                self._fast = kept
                self._images.clear()
        return kept[1] if kept[1].pays(tokens) else None

    def _fast_decode(
        self,
        fast: FastDecoder,
        features: Sequence[Tensor],
        prompts: dict[str, Tensor | None],
        images: list[int] | None,
        count: int,
    ) -> tuple[Tensor, Tensor]:
        points, labels, masks, token_mask = (prompts[name] for name in ("points", "labels", "masks", "token_mask"))
        encoder = self.model.prompt_encoder
        pair = None if points is None or labels is None else (points, labels)
        sparse = encoder.embed_sparse(pair, prompts["boxes"], count)
        if token_mask is not None:
            rest = token_mask.new_ones(count, sparse.shape[1] - token_mask.shape[1])
            token_mask = torch.cat([token_mask, rest], dim=1)
        out = fast.empty(sparse)
        if masks is not None:
            for prompt in range(count):
                row = slice(prompt, prompt + 1)
                image = fast.prepare(features[images[prompt] if images else 0], encoder.embed_dense(masks[row], 1)[0])
                fast.decode(image, sparse[row], _rows(token_mask, row), out=(out[0][row], out[1][row]))
            return out
        if images is None:
            return fast.decode(self._prepared(fast, features[0]), sparse, token_mask, out=out)
        for number in dict.fromkeys(images):
            rows = torch.tensor([i for i, image in enumerate(images) if image == number], device=sparse.device)
            part = fast.decode(self._prepared(fast, features[number]), sparse[rows], _rows(token_mask, rows))
            out[0][rows], out[1][rows] = part
        return out

    def _by_modules(
        self,
        features: Sequence[Tensor],
        prompts: dict[str, Tensor | None],
        images: list[int] | None,
        count: int,
        memory: int,
    ) -> tuple[Tensor, Tensor]:
        device = self.model.device
        stacked = torch.stack([x.to(device) for x in features])
        index = None if images is None else torch.tensor(images, device=device)
        step = max(1, memory // module_bytes(self.model.config, self.dtype))
        done = []
        with torch.autocast(device.type, self.dtype, enabled=self.dtype is not torch.float32):
            for start in range(0, count, step):
                row = slice(start, start + step)
                part: dict[str, Any] = {name: _rows(value, row) for name, value in prompts.items()}
                low_res, iou = self.model.decode(stacked, image_index=_rows(index, row), **part)
                done.append((low_res.float(), iou.float()))
        if len(done) == 1:
            return done[0]
        return torch.cat([low_res for low_res, _ in done]), torch.cat([iou for _, iou in done])

    def _prepared(self, fast: FastDecoder, features: Tensor) -> PreparedImage:
        """Prepared tensors of a photo, kept on a CPU; a photo is known by its whole embedding, value for value."""
        if features.device.type != "cpu" or self.model.device.type != "cpu":
            return fast.prepare(features.to(self.model.device))
        with self._lock:
            kept = list(self._images.items())
        for number, (made_by, known, image) in reversed(kept):
            if made_by is fast and torch.equal(known, features):
                with self._lock:
                    if number in self._images:
                        self._images.move_to_end(number)
                return image
        image = fast.prepare(features)
        with self._lock:
            self._serial += 1
            self._images[self._serial] = (fast, features.clone(), image)
            while len(self._images) > KEPT_IMAGES:
                self._images.popitem(last=False)
        return image


def _known(model: Sam) -> bool:
    """The model is decoded by our own code, unchanged."""
    if type(model).decode is not Sam.decode or "decode" in vars(model):
        return False
    parts = (*model.prompt_encoder.modules(), *model.mask_decoder.modules())
    return all(type(part) in FOLDED for part in parts)


def _tokens(points: Tensor | None, boxes: Tensor | None) -> int:
    """Prompt tokens that these make, the padding point included."""
    return (0 if points is None else points.shape[1] + (boxes is None)) + (0 if boxes is None else 2)


def _images_of(count: int, prompts: int, image_index: Tensor | None) -> list[int] | None:
    """Image of each prompt; None when there is but one."""
    if count == 1:
        return None
    return list(range(prompts)) if image_index is None else [int(i) for i in image_index.tolist()]


def _rows(value: Tensor | None, rows: slice | Tensor) -> Tensor | None:
    return None if value is None else value[rows]
