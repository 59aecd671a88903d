"""Photos whose file is in memory, as inside a tar shard."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segany.core.errors import ImageError
from segany.transforms.image import MAX_PIXELS, Rgb, read_image


def decode_image(content: bytes, name: str, *, max_pixels: int = MAX_PIXELS) -> Rgb:
    """A photo as (H, W, 3) uint8 RGB, turned as its EXIF orientation says.

    Args:
        content: the bytes of an image file.
        name: what to call it in messages.
        max_pixels: larger photos are refused before they are decoded.

    Raises:
        ImageError: empty, damaged, too large, or no image; the message holds the name.
    """
    try:
        with Image.open(io.BytesIO(content)) as picture:
            return read_image(picture, max_pixels=max_pixels)
    except MemoryError:
        raise
    except Exception as error:
        raise ImageError(
            f"expected a readable image (JPEG, PNG, TIFF, WebP, …); {name} ({len(content):,} bytes) cannot be "
            f"decoded: {error}. It is damaged or of another kind: get it anew."
        ) from error


def decode_mask(content: bytes, name: str, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.bool_]:
    """A small picture of a mask, as inside an annotation file: (H, W) boolean, True where it is not black.

    Args:
        content: the bytes of an image file.
        name: what to call it in messages.
        max_pixels: larger pictures are refused before they are decoded.

    Raises:
        ImageError: empty, damaged, too large, or no image; the message holds the name.
    """
    try:
        with Image.open(io.BytesIO(content)) as picture:
            if picture.width * picture.height > max_pixels:
                raise ImageError(f"it may have at most {max_pixels:,} pixels")
            return np.asarray(picture.convert("L")) > 0
    except MemoryError:
        raise
    except Exception as error:
        raise ImageError(f"expected a readable picture of a mask; {name} cannot be decoded: {error}.") from error
