"""What needs no learning: the filled box, the colour segment under the click, GrabCut from the box."""

# P masks · H, W image height and width

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.segmentation import felzenszwalb

from segany.core.errors import OptionError
from segany.evaluation.metrics import candidate_iou
from segany.masks.boxes import masks_to_boxes
from segany.prompts.clicks import first_click_center

Scores = dict[str, NDArray[np.float64]]


@dataclass(frozen=True, kw_only=True)
class BaselineConfig:
    """Knobs of the classic methods; the scales were fixed before looking at any result of a model."""

    scales: tuple[int, ...] = (100, 300, 1000)
    """Felzenszwalb's preference for large segments, for 8-bit colours; the oracle picks the best of them."""
    scale: int = 300
    """The fixed scale; one of `scales`."""
    sigma: float = 0.8
    """Felzenszwalb's smoothing, pixels."""
    min_size: int = 20
    """Felzenszwalb's smallest segment, pixels."""
    grabcut_iterations: int = 5
    """Rounds of GrabCut; 0 leaves it out."""
    grabcut_least: float = 0.05
    """Share of the box that GrabCut must find, in [0, 1]; less counts as nothing, and the box stands in."""

    def __post_init__(self) -> None:
        if self.scale not in self.scales:
            raise OptionError(f"scale must be one of scales {self.scales}; got {self.scale}.")
        if self.grabcut_iterations < 0:
            raise OptionError(f"grabcut_iterations must be 0 or more; got {self.grabcut_iterations}.")
        if not 0 <= self.grabcut_least <= 1:
            raise OptionError(f"grabcut_least must be in [0, 1]; got {self.grabcut_least}. The usual: 0.05.")


@dataclass(frozen=True, kw_only=True)
class BaselineScorer:
    """Scores the classic methods on true masks; a `segany.evaluation.sampling.Scorer`.

    Source: Felzenszwalb & Huttenlocher 2004; Rother, Kolmogorov & Blake 2004 (GrabCut).
    """

    config: BaselineConfig = BaselineConfig()

    def __call__(self, rgb: NDArray[np.uint8], targets: NDArray[np.bool_]) -> Scores:
        """Measure all masks of one image.

        Args:
            rgb: (H, W, 3) uint8.
            targets: (P, H, W) true masks, none empty.

        Returns:
            (P,) each: "filled_box", "felzenszwalb" (fixed scale, the segment under the centre click),
            "felzenszwalb_oracle" (the best of the scales by the truth) and, unless left out, "grabcut".
        """
        boxes = masks_to_boxes(targets)
        segments = segments_under(rgb, [first_click_center(target) for target in targets], self.config)
        iou = candidate_iou(segments, targets)
        filled = np.stack([filled_box(box, targets.shape[1:]) for box in boxes])
        scores = {
            "filled_box": candidate_iou(filled[:, None], targets)[:, 0],
            "felzenszwalb": iou[:, self.config.scales.index(self.config.scale)],
            "felzenszwalb_oracle": iou.max(axis=1),
        }
        if self.config.grabcut_iterations:
            cut = np.stack(
                [grabcut(rgb, box, self.config.grabcut_iterations, self.config.grabcut_least) for box in boxes]
            )
            scores["grabcut"] = candidate_iou(cut[:, None], targets)[:, 0]
        return scores


def filled_box(box_xyxy: NDArray[np.int64], size_hw: tuple[int, ...]) -> NDArray[np.bool_]:
    """Every pixel of a box, the maximum included, as a mask of the given size."""
    x0, y0, x1, y1 = (int(value) for value in box_xyxy)
    mask = np.zeros(size_hw, dtype=bool)
    mask[y0 : y1 + 1, x0 : x1 + 1] = True
    return mask


def segments_under(
    rgb: NDArray[np.uint8], points_xy: list[tuple[int, int]], config: BaselineConfig
) -> NDArray[np.bool_]:
    """The colour segment that holds each point, at each scale.

    Args:
        rgb: (H, W, 3) uint8.
        points_xy: P points in whole pixels.
        config: scales and smoothing.

    Returns:
        (P, scales, H, W) booleans.
    """
    maps = [
        felzenszwalb(rgb, scale=scale, sigma=config.sigma, min_size=config.min_size, channel_axis=-1)
        for scale in config.scales
    ]
    return np.stack([np.stack([labels == labels[y, x] for labels in maps]) for x, y in points_xy])


def grabcut(
    rgb: NDArray[np.uint8], box_xyxy: NDArray[np.int64], iterations: int = 5, least: float = 0.05
) -> NDArray[np.bool_]:
    """GrabCut started from a box; the filled box where it finds next to nothing or has no background to learn from.

    Args:
        rgb: (H, W, 3) uint8.
        box_xyxy: the object's box, maximum included, pixels.
        iterations: rounds of re-estimating the colour models.
        least: share of the box it must find. Often it shrinks to a few stray pixels, which is no answer either.

    Returns:
        (H, W) booleans; equal inputs give equal masks.
    """
    x0, y0, x1, y1 = (int(value) for value in box_xyxy)
    height, width = rgb.shape[:2]
    whole = filled_box(box_xyxy, (height, width))
    if whole.all():
        return whole
    labels = np.zeros((height, width), dtype=np.uint8)
    background, foreground = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(0)
    try:
        cv2.grabCut(
            np.ascontiguousarray(rgb[..., ::-1]),
            labels,
            (x0, y0, x1 - x0 + 1, y1 - y0 + 1),
            background,
            foreground,
            iterations,
            cv2.GC_INIT_WITH_RECT,
        )
    except cv2.error:
        return whole
    mask: NDArray[np.bool_] = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))
    return mask if mask.any() and mask.sum() >= least * whole.sum() else whole
