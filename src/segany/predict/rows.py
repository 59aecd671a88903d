"""Checked prompts → rows of tensors in the canvas frame, and back into groups that decode together.

A row is one prompt of one image. Rows with the same number of points and the same parts form a group, so that no row
is ever padded: each gets exactly what it would get alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segany.geometry.frames import Frame
from segany.masks.boxes import exact_box_xywh
from segany.prompts.prompt import Prompt

BINARY_MASK_LOGIT = 10.0
"""Logit given to a low-res cell that a binary mask covers wholly; minus this where it does not cover it at all."""


@dataclass(frozen=True, eq=False)
class PromptRow:
    """One prompt in the canvas frame.

    Attributes:
        points: (K, 2) float32 canvas pixels, or None.
        labels: (K,) 1 or 0, or None.
        box: (4,) float32 XYXY canvas pixels, or None.
        logits: (h, w) float32, or None.
    """

    points: NDArray[np.float32] | None
    labels: NDArray[np.int64] | None
    box: NDArray[np.float32] | None
    logits: NDArray[np.float32] | None

    @property
    def make(self) -> tuple[int, bool, bool]:
        """Rows of the same make can share a batch."""
        return (0 if self.points is None else len(self.points)), self.box is not None, self.logits is not None


def rows_of(prompt: Prompt, frame: Frame) -> list[PromptRow]:
    """The rows of a prompt on an image.

    A lone binary mask gets its exact box, edge to edge, as a second hint: a mask alone carries no token.
    """
    prompt.check_against(frame.original_hw, frame.low_res)
    count = 1 if prompt.count is None else prompt.count
    points = _rows(prompt.points, 2, count)
    labels = _rows(prompt.labels, 1, count)
    boxes = _rows(prompt.boxes, 1, count)
    masks = _rows(prompt.mask, 2, count)
    rows = []
    for index in range(count):
        mask, box = masks[index], boxes[index]
        if mask is not None and prompt.has_binary_mask and box is None and points[index] is None:
            x, y, width, height = exact_box_xywh(mask)
            box = np.array([x, y, x + width, y + height], np.float64)
        rows.append(
            PromptRow(
                _to_canvas(frame.to_canvas, points[index]),
                labels[index],
                _to_canvas(frame.boxes_to_canvas, box),
                binary_to_logits(mask, frame) if mask is not None and prompt.has_binary_mask else mask,
            )
        )
    return rows


def _rows(array: NDArray[Any] | None, axes: int, count: int) -> list[Any]:
    if array is None:
        return [None] * count
    return [array] if array.ndim == axes else list(array)


def _to_canvas(move: Any, array: NDArray[Any] | None) -> NDArray[np.float32] | None:
    return None if array is None else np.asarray(move(array), np.float32)


def binary_to_logits(mask: NDArray[np.bool_], frame: Frame) -> NDArray[np.float32]:
    """(H, W) bool of the original photo → (h, w) logits: ± `BINARY_MASK_LOGIT` by the share of each cell covered."""
    height, width = frame.resized_hw
    on_canvas = np.zeros((frame.canvas, frame.canvas), np.float32)
    on_canvas[:height, :width] = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    share = cv2.resize(on_canvas, (frame.low_res, frame.low_res), interpolation=cv2.INTER_AREA)
    return np.asarray((2 * share - 1) * BINARY_MASK_LOGIT, np.float32)


def stack(rows: list[PromptRow], device: torch.device) -> dict[str, Tensor | None]:
    """Rows of one make → arguments of `Sam.decode`."""

    def tensor(values: list[Any]) -> Tensor | None:
        return None if values[0] is None else torch.from_numpy(np.stack(values)).to(device)

    logits = tensor([row.logits for row in rows])
    return {
        "points": tensor([row.points for row in rows]),
        "labels": tensor([row.labels for row in rows]),
        "boxes": tensor([row.box for row in rows]),
        "masks": None if logits is None else logits.unsqueeze(1),
    }
