"""Pictures of integers as file contents."""

from __future__ import annotations

from typing import Any

import cv2
from numpy.typing import NDArray

from segany.core.errors import DataError


def png_bytes(picture: NDArray[Any]) -> bytes:
    """PNG of (H, W) uint8 or uint16."""
    return _encoded(".png", picture)


def tiff_bytes(picture: NDArray[Any]) -> bytes:
    """TIFF of (H, W) uint32."""
    return _encoded(".tiff", picture)


def _encoded(ending: str, picture: NDArray[Any]) -> bytes:
    done, content = cv2.imencode(ending, picture)
    if not done:
        raise DataError(f"a picture of {picture.shape} {picture.dtype} cannot be written as {ending}.")
    return content.tobytes()
