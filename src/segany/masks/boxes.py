"""Boxes around masks."""

# N masks · H, W mask height and width

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from segany.core.errors import DataError
from segany.masks.rle import BoolArray, as_bool_mask

if TYPE_CHECKING:
    from torch import Tensor


@overload
def masks_to_boxes(masks: NDArray[Any]) -> NDArray[np.int64]: ...
@overload
def masks_to_boxes(masks: Tensor) -> Tensor: ...
def masks_to_boxes(masks: NDArray[Any] | Tensor) -> NDArray[np.int64] | Tensor:
    """The box of each mask by the reference's rule: the maximum is the last foreground pixel itself.

    Args:
        masks: (N, H, W) boolean or integer, numpy or torch.

    Returns:
        (N, 4) int64 x0, y0, x1, y1 in pixels, same kind, same device; an empty mask gives zeros.

    Raises:
        DataError: not (N, H, W), or a floating type.
    """
    if not isinstance(masks, np.ndarray):
        return _tensor_boxes(masks)
    stack = as_bool_mask(masks, ndim=3)
    columns: BoolArray = np.any(stack, axis=1)
    rows: BoolArray = np.any(stack, axis=2)
    height, width = stack.shape[1:]
    x0, y0 = columns.argmax(axis=1), rows.argmax(axis=1)
    x1 = width - 1 - columns[:, ::-1].argmax(axis=1)
    y1 = height - 1 - rows[:, ::-1].argmax(axis=1)
    boxes = np.stack([x0, y0, x1, y1], axis=1).astype(np.int64)
    boxes[~np.any(rows, axis=1)] = 0
    return boxes


def exact_box_xywh(mask: Any) -> tuple[int, int, int, int]:
    """The exact extent of one mask: w and h count pixels, so a single pixel is 1 x 1.

    Args:
        mask: (H, W) boolean or integer.

    Returns:
        x, y, w, h in pixels; an empty mask gives zeros.

    Raises:
        DataError: not (H, W), or a floating type.
    """
    array = as_bool_mask(mask)
    if not array.any():
        return (0, 0, 0, 0)
    x0, y0, x1, y1 = (int(value) for value in masks_to_boxes(array[None])[0])
    return (x0, y0, x1 - x0 + 1, y1 - y0 + 1)


def _tensor_boxes(masks: Tensor) -> Tensor:
    if masks.ndim != 3 or 0 in masks.shape[-2:] or masks.is_floating_point():
        raise DataError(
            f"masks must be (N, H, W), boolean or integer, with at least one pixel; got {tuple(masks.shape)} "
            f"{masks.dtype}. Threshold logits first: logits > 0."
        )
    height, width = masks.shape[1:]
    foreground = masks.bool()
    columns, rows = foreground.any(dim=1).int(), foreground.any(dim=2).int()
    x0, y0 = columns.argmax(dim=1), rows.argmax(dim=1)
    x1 = width - 1 - columns.flip(1).argmax(dim=1)
    y1 = height - 1 - rows.flip(1).argmax(dim=1)
    boxes = x0.new_zeros((len(masks), 4))
    for index, side in enumerate((x0, y0, x1, y1)):
        boxes[:, index] = side
    return boxes * rows.amax(dim=1, keepdim=True)
