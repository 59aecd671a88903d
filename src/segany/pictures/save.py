"""Pictures to files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segany.core.errors import OptionError
from segany.core.files import atomic_path

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


def save_picture(path: str | Path, pixels: NDArray[np.uint8] | NDArray[np.bool_]) -> Path:
    """Write an array as a picture, whole or not at all; returns its path.

    Args:
        path: .png, .jpg or .webp; its folder is made when missing.
        pixels: (H, W) grey or boolean (written as 0 and 255), (H, W, 3) RGB or (H, W, 4) RGBA, uint8.

    Raises:
        OptionError: an unknown ending, or transparency asked of JPEG.
    """
    path = Path(path)
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise OptionError(
            f"a picture's name must end in {', '.join(FORMATS)}; got {path.name!r}. "
            f"Rename it, for example to {path.stem or 'out'}.png."
        )
    if pixels.ndim == 3 and pixels.shape[2] == 4 and kind == "JPEG":
        raise OptionError(
            f"JPEG has no transparency, and {path.name!r} needs it. Name the file {path.stem}.png instead."
        )
    array = pixels.astype(np.uint8) * 255 if pixels.dtype == np.bool_ else pixels
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        Image.fromarray(np.ascontiguousarray(array)).save(temporary, format=kind)
    return path
