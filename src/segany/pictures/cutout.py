"""An object alone, on a transparent ground."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from segany.core.errors import OptionError


def cut_out(
    rgb: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    *,
    feather: float = 0.0,
    crop: bool = True,
    margin: int = 0,
) -> NDArray[np.uint8]:
    """The masked part of a photo with everything else transparent.

    Args:
        rgb: (H, W, 3) uint8 photo.
        mask: (H, W) boolean; True is kept.
        feather: softness of the edge as the standard deviation of a Gaussian, in pixels; 0 keeps it hard.
        crop: cut to the object's extent; otherwise the photo's size is kept.
        margin: pixels kept around the object when cropping.

    Returns:
        (h, w, 4) uint8 RGBA.

    Raises:
        OptionError: sizes differ, the mask is empty, or feather or margin is negative.
    """
    if mask.shape != rgb.shape[:2]:
        raise OptionError(
            f"the mask must have the photo's height and width {rgb.shape[:2]}; got {mask.shape}. "
            "Pass the mask at the original size of the image."
        )
    if not feather >= 0 or margin < 0:
        raise OptionError(f"feather and margin must be 0 or more; got {feather} and {margin}. Leave them out for 0.")
    if not mask.any():
        raise OptionError(
            "a cut-out needs a mask with at least one pixel; got an empty one. "
            "Try another point or a box around the object."
        )
    alpha = mask.astype(np.uint8) * np.uint8(255)
    if feather:
        alpha = np.asarray(cv2.GaussianBlur(alpha, (0, 0), feather), dtype=np.uint8)
    rgba = np.dstack([rgb, alpha])
    if not crop:
        return rgba
    rows, columns = np.flatnonzero(alpha.any(axis=1)), np.flatnonzero(alpha.any(axis=0))
    top, left = max(0, int(rows[0]) - margin), max(0, int(columns[0]) - margin)
    return rgba[top : int(rows[-1]) + 1 + margin, left : int(columns[-1]) + 1 + margin].copy()
