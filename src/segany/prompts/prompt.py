"""What a person says about one image: clicks, boxes, a mask hint.

P prompts · K points per prompt
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from segany.core.errors import PromptError

Floats = NDArray[np.float64]
Multimask = bool | Literal["auto"]

_LABEL_HELP = {
    -1: "-1 marks padding, which the predictor adds by itself: leave such points out",
    2: "2 and 3 mark box corners: pass the box as boxes=(x0, y0, x1, y1)",
    3: "2 and 3 mark box corners: pass the box as boxes=(x0, y0, x1, y1)",
}


@dataclass(frozen=True, eq=False, init=False)
class Prompt:
    """One prompt, or P prompts of the same make, for one image. Checked when made, read-only afterwards.

    Arrays, tensors and nested lists in any real dtype are taken. Coordinates are x, y in pixels of the original image.

    Args:
        points: (K, 2) clicks, or (P, K, 2) for P prompts.
        labels: 1 foreground, 0 background, shaped like the points without their last axis.
        boxes: XYXY, (4,) or (P, 4). A box may reach over the edge of the image.
        mask: boolean or integer: a binary mask (H, W) or (P, H, W) of the original image, other than zero is the
            object. Floating: logits of an earlier prediction on the model's low-res grid, (h, w), (1, h, w) for one
            prompt or (P, h, w), (P, 1, h, w). A binary mask without points and boxes gets its own exact box added.
        multimask: "auto" is the paper's rule: one click or one box, and no mask, give the candidates for ambiguous
            prompts; everything else gives the single mask. True and False force it.

    Raises:
        PromptError: something does not fit; the message says what to do.
    """

    points: Floats | None
    labels: NDArray[np.int64] | None
    boxes: Floats | None
    mask: NDArray[np.bool_] | NDArray[np.float32] | None
    multimask: Multimask

    def __init__(
        self,
        points: Any = None,
        labels: Any = None,
        boxes: Any = None,
        mask: Any = None,
        multimask: Multimask = "auto",
    ) -> None:
        if points is None and boxes is None and mask is None and labels is None:
            raise PromptError(
                "a prompt needs points, boxes or a mask; got none of them. A single click is "
                "points=[(x, y)], labels=[1]."
            )
        point_array = None if points is None else _points(points)
        batched = _Batch()
        batched.see("points", point_array, 2)
        box_array = None if boxes is None else _boxes(boxes)
        batched.see("boxes", box_array, 1)
        mask_array = None if mask is None else _mask(mask, batched)
        _set(self, "points", point_array)
        _set(self, "labels", _labels(labels, point_array))
        _set(self, "boxes", box_array)
        _set(self, "mask", mask_array)
        if multimask not in (True, False) and multimask != "auto":
            raise PromptError(f'multimask must be True, False or "auto"; got {multimask!r}. Leave it out for "auto".')
        object.__setattr__(self, "multimask", multimask if multimask == "auto" else bool(multimask))

    @property
    def count(self) -> int | None:
        """P when the prompt has a prompt axis, None for a single prompt without one."""
        for array, axes in ((self.points, 2), (self.boxes, 1), (self.mask, 2)):
            if array is not None:
                return len(array) if array.ndim == axes + 1 else None
        return None

    @property
    def wants_candidates(self) -> bool:
        """Whether the masks for ambiguous prompts are asked for rather than the single one."""
        if self.multimask != "auto":
            return bool(self.multimask)
        if self.mask is not None:
            return False
        if self.points is None:
            return self.boxes is not None
        return self.boxes is None and self.points.shape[-2] == 1

    @property
    def has_binary_mask(self) -> bool:
        """Whether `mask` is a binary mask of the original image rather than low-res logits."""
        return self.mask is not None and self.mask.dtype == np.bool_

    def check_against(self, size_hw: tuple[int, int], low_res: int) -> None:
        """Check what only the image and the model can tell.

        Args:
            size_hw: (H, W) of the original image.
            low_res: side of the model's low-res grid.

        Raises:
            PromptError: a point or a whole box lies outside, or the mask has another size.
        """
        height, width = size_hw
        if self.points is not None:
            inside = ((self.points >= 0) & (self.points <= (width, height))).all(axis=-1)
            if not inside.all():
                x, y = self.points[~inside][0]
                raise PromptError(
                    f"points must lie inside the image, 0 <= x <= {width} and 0 <= y <= {height}; got {x:g}, {y:g}. "
                    "Give x, y in pixels of the original image, x first, not of a resized one."
                )
        if self.boxes is not None:
            x0, y0, x1, y1 = np.moveaxis(self.boxes, -1, 0)
            outside = (x1 <= 0) | (y1 <= 0) | (x0 >= width) | (y0 >= height)
            if outside.any():
                raise PromptError(
                    f"boxes must overlap the image of {width} x {height} pixels; got "
                    f"{self.boxes[outside].reshape(-1, 4)[0].tolist()}. Give x0, y0, x1, y1 in pixels of the original "
                    "image."
                )
        if self.mask is not None:
            self._check_mask_size(size_hw, low_res)

    def _check_mask_size(self, size_hw: tuple[int, int], low_res: int) -> None:
        assert self.mask is not None
        got = tuple(self.mask.shape[-2:])
        if self.has_binary_mask and got != tuple(size_hw):
            raise PromptError(
                f"a binary mask must have the size of the original image, (H, W) = {tuple(size_hw)}; got {got}. Resize "
                "it with nearest neighbours, or give floating low-res logits."
            )
        if not self.has_binary_mask and got != (low_res, low_res):
            raise PromptError(
                f"a floating mask is low-res logits of this model, ({low_res}, {low_res}); got {got}. Pass "
                "low_res_logits of an earlier result, or a boolean mask of the original size."
            )


class _Batch:
    """The number of prompts that was seen first, to hold the others against."""

    def __init__(self) -> None:
        self.name = ""
        self.count: int | None = None

    def see(self, name: str, array: NDArray[Any] | None, axes: int) -> None:
        if array is None:
            return
        count = len(array) if array.ndim == axes + 1 else None
        if self.name and count != self.count:
            raise PromptError(
                f"{self.name} and {name} must be for the same number of prompts; got {_said(self.count)} and "
                f"{_said(count)}. For P prompts give points (P, K, 2), labels (P, K), boxes (P, 4), mask (P, h, w); "
                "for one prompt (K, 2), (K,), (4,), (h, w)."
            )
        self.name, self.count = self.name or name, count


def _said(count: int | None) -> str:
    return "one prompt without a prompt axis" if count is None else f"P = {count}"


def _set(prompt: Prompt, name: str, array: NDArray[Any] | None) -> None:
    if array is not None:
        array = np.array(array)
        array.setflags(write=False)
    object.__setattr__(prompt, name, array)


def _array(name: str, value: Any, shapes: str) -> NDArray[Any]:
    """Anything array-like as numpy; tensors are recognised by their methods, so that no torch is needed here."""
    try:
        if hasattr(value, "detach"):
            value = value.detach().cpu()
            value = (value.float() if "bfloat16" in str(value.dtype) else value).numpy()
        elif isinstance(value, (list, tuple)) and any(hasattr(item, "detach") for item in value):
            value = [item.detach().cpu().numpy() if hasattr(item, "detach") else item for item in value]
        return np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:
        raise PromptError(
            f"{name} must be {shapes}; got {type(value).__name__} that is no regular array of numbers ({error}). "
            "Prompts with different numbers of points go to decode_many, one Prompt each."
        ) from error


def _reals(name: str, value: Any, shapes: str) -> Floats:
    array = _array(name, value, shapes)
    if array.dtype.kind not in "iuf":
        raise PromptError(f"{name} must be {shapes} of real numbers; got dtype {array.dtype}. Pass plain numbers.")
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        raise PromptError(f"{name} must be finite numbers; got NaN or infinity in {name}. Remove those entries.")
    return array


def _points(value: Any) -> Floats:
    shapes = "(K, 2) or (P, K, 2) as x, y in pixels of the original image"
    points = _reals("points", value, shapes)
    if points.ndim not in (2, 3) or points.shape[-1] != 2 or 0 in points.shape:
        raise PromptError(
            f"points must be {shapes}, with at least one point; got shape {points.shape}. A single click is [(x, y)]."
        )
    return points


def _labels(value: Any, points: Floats | None) -> NDArray[np.int64] | None:
    if points is None:
        if value is not None:
            raise PromptError("labels must come with points; got labels alone. Add points, or leave labels out.")
        return None
    expected = points.shape[:-1]
    if value is None:
        raise PromptError(
            f"points need labels of shape {expected}, 1 for foreground and 0 for background; got none. Add "
            "labels=[1] for a single click."
        )
    array = _array("labels", value, f"{expected}")
    if array.dtype.kind not in "iufb":
        raise PromptError(f"labels must be numbers 1 or 0; got dtype {array.dtype}. Use 1 foreground, 0 background.")
    if array.shape != expected:
        raise PromptError(
            f"labels must have one entry per point, shape {expected}; got shape {array.shape}. Give 1 for "
            "foreground or 0 for background per point."
        )
    wrong = array[~np.isin(array, (0, 1))]
    if wrong.size:
        hint = _LABEL_HELP.get(int(wrong[0]) if np.isfinite(wrong[0]) else 0, "Use 1 for foreground, 0 for background")
        raise PromptError(f"labels must be 1 (foreground) or 0 (background); got {wrong[0]:g}. {hint}.")
    return array.astype(np.int64)


def _boxes(value: Any) -> Floats:
    shapes = "(4,) or (P, 4) as x0, y0, x1, y1 in pixels of the original image"
    boxes = _reals("boxes", value, shapes)
    if boxes.ndim not in (1, 2) or boxes.shape[-1] != 4 or 0 in boxes.shape:
        raise PromptError(f"boxes must be {shapes}; got shape {boxes.shape}. One box is (x0, y0, x1, y1).")
    flat = boxes.reshape(-1, 4)
    upside_down = (flat[:, 0] >= flat[:, 2]) | (flat[:, 1] >= flat[:, 3])
    if upside_down.any():
        raise PromptError(
            f"boxes must have x0 < x1 and y0 < y1; got {flat[upside_down][0].tolist()}. Boxes are corners x0, y0, x1, "
            "y1, not x, y, width, height."
        )
    return boxes


def _mask(value: Any, batched: _Batch) -> NDArray[np.bool_] | NDArray[np.float32]:
    shapes = "a boolean or integer mask of the original image, or floating low-res logits"
    array = _array("mask", value, shapes)
    if array.dtype.kind not in "biuf":
        raise PromptError(f"mask must be {shapes}; got dtype {array.dtype}. Convert it to bool or float32.")
    if 0 in array.shape or array.ndim < 2:
        raise PromptError(f"mask must be {shapes}; got shape {array.shape}. A mask is at least (h, w).")
    return _logits(array, batched) if array.dtype.kind == "f" else _binary(array, batched)


def _logits(array: NDArray[Any], batched: _Batch) -> NDArray[np.float32]:
    if array.ndim == 4 and array.shape[1] == 1:
        array = array[:, 0]
    elif array.ndim == 3 and len(array) == 1 and batched.count is None:
        array = array[0]
    if array.ndim not in (2, 3):
        raise PromptError(
            f"low-res logits must be (h, w), (1, h, w), (P, h, w) or (P, 1, h, w); got shape {array.shape}. Pick one "
            "of an earlier result's low_res_logits."
        )
    if not np.isfinite(array).all():
        raise PromptError(
            "low-res logits must be finite; got NaN or infinity in mask. Pass an earlier result's logits."
        )
    batched.see("mask", array, 2)
    return array.astype(np.float32)


def _binary(array: NDArray[Any], batched: _Batch) -> NDArray[np.bool_]:
    if array.ndim not in (2, 3):
        raise PromptError(
            f"a binary mask must be (H, W) or (P, H, W); got shape {array.shape}. Drop the colour or channel axis."
        )
    batched.see("mask", array, 2)
    for plane in array.reshape(-1, *array.shape[-2:]):
        values = np.unique(plane)
        if not values.any():
            raise PromptError("a binary mask must hold at least one pixel; got an empty mask. Leave mask= out instead.")
        if len(values[values != 0]) > 1:
            raise PromptError(
                f"a binary mask holds zero and one other value; got {len(values)} values up to {values.max()}. For a "
                "label map choose one object: mask=(labels == 3). For logits use a floating dtype."
            )
    return np.asarray(array != 0, np.bool_)
