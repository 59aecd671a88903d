"""Photos of every kind → (H, W, 3) uint8 RGB. The only decoder of image files in the project."""

from __future__ import annotations

import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from segany.core.errors import ImageError

MAX_PIXELS = 400_000_000
"""Largest photo that is decoded without being asked to; guards against decompression bombs."""
_SIXTEEN_BIT_MODES = ("I;16", "I;16L", "I;16B", "I;16N")
_PIL_LIMIT = threading.Lock()

Rgb = NDArray[np.uint8]


def read_image(source: Any, *, max_pixels: int = MAX_PIXELS) -> Rgb:
    """A photo as (H, W, 3) uint8 RGB.

    Args:
        source: a path; a PIL image; or an array or tensor (H, W), (H, W, 1), (H, W, 3) RGB or (H, W, 4) RGBA of
            uint8, uint16 (scaled by 1/257) or floating values in [0, 1]. Alpha is dropped. Files and PIL images are
            turned as their EXIF orientation says.
        max_pixels: larger photos are refused before they are decoded.

    Raises:
        ImageError: missing, unreadable, empty, too large, of another shape or value range.
    """
    if isinstance(source, (str, Path)):
        return _read_file(Path(source), max_pixels)
    if isinstance(source, Image.Image):
        return _from_pil(source, "a PIL image", max_pixels)
    if hasattr(source, "detach"):
        source = source.detach().cpu().numpy()
    if isinstance(source, np.ndarray):
        return _from_array(source, max_pixels)
    raise ImageError(
        f"an image must be a path, a PIL image, or an array (H, W, 3); got {type(source).__name__}. "
        "Open it with PIL or numpy first."
    )


def read_mask(source: str | Path, *, max_pixels: int = MAX_PIXELS) -> NDArray[Any]:
    """A mask or label picture as it is stored.

    Returns:
        (H, W) bool for one-bit pictures, else (H, W) integers with 16-bit values kept; colour pictures become grey
        only when their channels agree.

    Raises:
        ImageError: missing, unreadable, or a picture whose colours do not say one number per pixel.
    """
    path = Path(source)
    with _opened(path, max_pixels) as picture:
        array = np.asarray(picture)
    if array.ndim == 3:
        colour = array[..., :3] if array.shape[2] >= 3 else array[..., :1]
        if not (colour == colour[..., :1]).all():
            raise ImageError(
                f"a mask picture must hold one number per pixel (grey, palette or one-bit); {path} has colours. "
                "Save it as a grey PNG."
            )
        array = colour[..., 0]
    return array.astype(np.int32) if array.dtype.kind == "f" else array


def _read_file(path: Path, max_pixels: int) -> Rgb:
    with _opened(path, max_pixels) as picture:
        return _from_pil(picture, str(path), max_pixels)


def _opened(path: Path, max_pixels: int) -> Image.Image:
    if not path.is_file():
        what = "a folder" if path.is_dir() else "nothing"
        raise ImageError(f"expected an image file at {path}; found {what}. Check the path.")
    try:
        with _PIL_LIMIT, warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            try:
                picture = Image.open(path)
            finally:
                Image.MAX_IMAGE_PIXELS = limit
        _check_pixels(picture.size[1], picture.size[0], str(path), max_pixels)
        picture.load()
        return picture
    except ImageError:
        raise
    except Exception as error:
        raise ImageError(
            f"expected a readable image file (JPEG, PNG, TIFF, WebP, …); {path} cannot be decoded: {error}. "
            "It may be damaged or of another kind: open it in a viewer and save it again."
        ) from error


def _from_pil(picture: Image.Image, name: str, max_pixels: int) -> Rgb:
    _check_pixels(picture.size[1], picture.size[0], name, max_pixels)
    try:
        picture = ImageOps.exif_transpose(picture)
        if picture.mode in _SIXTEEN_BIT_MODES or picture.mode in ("I", "F"):
            return _from_deep_grey(np.asarray(picture), name, max_pixels)
        return np.array(picture.convert("RGB"))
    except ImageError:
        raise
    except Exception as error:
        raise ImageError(f"expected a readable image; {name} cannot be decoded: {error}. Save it again.") from error


def _from_deep_grey(array: NDArray[Any], name: str, max_pixels: int) -> Rgb:
    if array.dtype.kind == "f":
        return _from_array(array, max_pixels)
    if array.min() < 0 or array.max() > 65535:
        raise ImageError(
            f"a deep grey image must hold values 0–65535; {name} reaches {array.min()}…{array.max()}. Rescale it."
        )
    return _from_array(array.astype(np.uint16), max_pixels)


def _check_pixels(height: int, width: int, name: str, max_pixels: int) -> None:
    if height < 1 or width < 1:
        raise ImageError(f"an image must have at least one pixel; {name} is {height} x {width}. Check the source.")
    if height * width > max_pixels:
        raise ImageError(
            f"an image may have at most {max_pixels:,} pixels; {name} has {height * width:,}. "
            "Shrink it or raise max_pixels."
        )


def _from_array(array: NDArray[Any], max_pixels: int) -> Rgb:
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise ImageError(
            f"an image array must be (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), channels last; got {array.shape}. "
            "Transpose it if channels come first."
        )
    _check_pixels(array.shape[0], array.shape[1], "the array", max_pixels)
    values = _to_uint8(array)
    if values.ndim == 2:
        values = values[..., None]
    channels = values.shape[2]
    return np.ascontiguousarray(np.repeat(values, 3, axis=2) if channels == 1 else values[..., :3])


def _to_uint8(array: NDArray[Any]) -> NDArray[np.uint8]:
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.uint16:
        return np.round(array / 257.0).astype(np.uint8)
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype.kind == "f":
        low, high = float(array.min()), float(array.max())
        if not (low >= 0 and high <= 1):
            raise ImageError(
                f"a floating image must hold finite values in 0–1; got {low:g}…{high:g}. "
                "Divide by 255, or convert to uint8."
            )
        return np.round(array * 255.0).astype(np.uint8)
    raise ImageError(
        f"an image array must be uint8, uint16, bool or floating in 0–1; got {array.dtype}. "
        "Convert it with .astype(numpy.uint8)."
    )
