"""Photos of every kind → (H, W, 3) uint8 RGB. The only decoder of image files in the project."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segany.core.errors import ImageError

MAX_PIXELS = 400_000_000
"""Largest photo that is decoded without being asked to; guards against decompression bombs."""
STRIP_ROWS = 256
"""Rows copied out of a decoded picture at a time, so that a large photo is held once and not three times."""
ORIENTATION = 0x0112
"""EXIF tag."""
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
DEEP_GREY_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
_PIL_LIMIT = threading.Lock()

Rgb = NDArray[np.uint8]


def read_image(source: Any, *, max_pixels: int = MAX_PIXELS) -> Rgb:
    """A photo as (H, W, 3) uint8 RGB.

    Alpha is dropped and the colours below it kept, except in palette pictures, whose transparent entries hold no
    meaningful colour: those are laid on white. Files and PIL images are turned as their EXIF orientation says; of
    an animation the first frame is read.

    Args:
        source: a path; a PIL image; or an array or tensor (H, W), (H, W, 1), (H, W, 3) RGB or (H, W, 4) RGBA of
            uint8, uint16 (scaled by 1/257), bool or floating values in [0, 1].
        max_pixels: larger photos are refused before they are decoded.

    Returns:
        (H, W, 3) contiguous; shares memory with an array that was already so.

    Raises:
        ImageError: missing, unreadable, empty, too large, of another shape or value range.
    """
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        with _decoded(path, max_pixels) as picture:
            return _from_pil(picture, str(path), max_pixels)
    if isinstance(source, Image.Image):
        return _from_pil(source, "the PIL image", max_pixels)
    if hasattr(source, "detach"):
        source = _from_tensor(source)
    if isinstance(source, np.ndarray):
        return _from_array(source, "the array", max_pixels)
    raise ImageError(
        f"an image must be a path, a PIL image, or an array (H, W, 3); got {type(source).__name__}. "
        "Open it with PIL or numpy first."
    )


def read_mask(source: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> NDArray[Any]:
    """A mask or label picture as it is stored: not scaled, EXIF orientation ignored.

    Returns:
        (H, W) bool for one-bit pictures, else (H, W) integers: grey values with 16 and 32 bits kept, or palette
        indices. Colour pictures count as grey when their channels agree; alpha is dropped.

    Raises:
        ImageError: missing, unreadable, or a picture that does not say one whole number per pixel.
    """
    path = Path(source)
    with _decoded(path, max_pixels) as picture:
        if picture.mode in ("PA", "LA", "La"):
            picture = picture.getchannel(0)
        if picture.mode not in ("1", "L", "P", "RGB", "RGBA", "RGBX", *DEEP_GREY_MODES):
            raise ImageError(_mask_message(path, f"is {picture.mode}"))
        array = np.array(picture)
    if array.ndim == 3:
        if (array[..., :1] != array[..., 1:3]).any():
            raise ImageError(_mask_message(path, "has colours"))
        array = np.ascontiguousarray(array[..., 0])
    if array.dtype.kind == "f":
        if not (array == np.round(array)).all() or np.abs(array).max() >= 2**31:
            raise ImageError(_mask_message(path, "has fractions or numbers out of range"))
        return array.astype(np.int32)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _mask_message(path: Path, found: str) -> str:
    return (
        f"a mask picture must hold one whole number per pixel (grey, palette or one-bit); {path} {found}. "
        "Save it as a grey PNG."
    )


@contextmanager
def _decoded(path: Path, max_pixels: int) -> Iterator[Image.Image]:
    if not os.path.isfile(path):
        found = "a folder" if os.path.isdir(path) else "nothing"
        raise ImageError(f"expected an image file at {path}; found {found}. Check the path.")
    try:
        with open(path, "rb") as file, _opened_by_pil(file) as picture:
            _check_pixels(picture.height, picture.width, str(path), max_pixels)
            picture.load()
            yield picture
    except (ImageError, MemoryError):
        raise
    except Exception as error:
        raise ImageError(
            f"expected a readable image file (JPEG, PNG, TIFF, WebP, …); {path} cannot be decoded: {error}. "
            "It may be damaged or of another kind (HEIC, camera raw): open it in a viewer and save it as JPEG or PNG."
        ) from error


def _opened_by_pil(file: Any) -> Image.Image:
    with _PIL_LIMIT:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(file)
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _check_pixels(height: int, width: int, name: str, max_pixels: int) -> None:
    if height < 1 or width < 1:
        raise ImageError(f"an image must have at least one pixel; {name} is {height} x {width}. Check the source.")
    if height * width > max_pixels:
        raise ImageError(
            f"an image may have at most {max_pixels:,} pixels; {name} has {height * width:,}. "
            "Shrink it or raise max_pixels."
        )


def _from_pil(picture: Image.Image, name: str, max_pixels: int) -> Rgb:
    _check_pixels(picture.height, picture.width, name, max_pixels)
    try:
        picture = _upright(picture)
        if picture.mode in DEEP_GREY_MODES:
            return _from_deep_grey(np.asarray(picture), name, max_pixels)
        return _rgb_in_strips(picture)
    except (ImageError, MemoryError):
        raise
    except Exception as error:
        raise ImageError(f"expected a readable image; {name} cannot be decoded: {error}. Save it again.") from error


def _upright(picture: Image.Image) -> Image.Image:
    picture.load()  # first: decoding a TIFF turns it and drops the tag
    try:
        orientation = picture.getexif().get(ORIENTATION, 1)
    except Exception:
        return picture  # damaged metadata says nothing about the pixels
    return picture.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else picture


def _rgb_in_strips(picture: Image.Image) -> Rgb:
    rgb = np.empty((picture.height, picture.width, 3), np.uint8)
    see_through = picture.mode == "PA" or (picture.mode == "P" and "transparency" in picture.info)
    for top in range(0, picture.height, STRIP_ROWS):
        bottom = min(top + STRIP_ROWS, picture.height)
        strip = picture.crop((0, top, picture.width, bottom))
        rgb[top:bottom] = np.asarray(_on_white(strip) if see_through else strip.convert("RGB"))
    return rgb


def _on_white(picture: Image.Image) -> Image.Image:
    layer = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")


def _from_deep_grey(array: NDArray[Any], name: str, max_pixels: int) -> Rgb:
    if array.dtype.kind == "f":
        return _from_array(array, name, max_pixels)
    low, high = int(array.min()), int(array.max())
    if low < 0 or high > 65535:
        raise ImageError(f"a deep grey image must hold values in 0–65535; {name} holds {low}…{high}. Rescale it.")
    return _from_array(array.astype(np.uint16), name, max_pixels)


def _from_tensor(tensor: Any) -> NDArray[Any]:
    tensor = tensor.detach().cpu()
    half = tensor.is_floating_point() and tensor.element_size() < 4
    array: NDArray[Any] = (tensor.float() if half else tensor).numpy()
    return array


def _from_array(array: NDArray[Any], name: str, max_pixels: int) -> Rgb:
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise ImageError(
            f"an image array must be (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), channels last; got {array.shape}. "
            "Transpose it if channels come first."
        )
    _check_pixels(array.shape[0], array.shape[1], name, max_pixels)
    colour = array[..., None] if array.ndim == 2 else array[..., :3]
    values = _to_uint8(colour, name)
    return np.ascontiguousarray(np.repeat(values, 3, axis=2) if values.shape[2] == 1 else values)


def _to_uint8(array: NDArray[Any], name: str) -> NDArray[np.uint8]:
    kind = f"{array.dtype.kind}{array.dtype.itemsize}"
    if kind == "u1":
        return array
    if kind == "u2":
        return ((array.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if kind == "b1":
        return array.astype(np.uint8) * np.uint8(255)
    if kind[0] == "f":
        low, high = float(array.min()), float(array.max())
        if not (low >= 0 and high <= 1):
            raise ImageError(
                f"a floating image must hold finite values in 0–1; {name} holds {low:g}…{high:g}. "
                "Divide by 255, or convert to uint8."
            )
        rounded: NDArray[Any] = np.round(array * array.dtype.type(255))
        return rounded.astype(np.uint8)
    raise ImageError(
        f"an image array must be uint8, uint16, bool or floating in 0–1; got {array.dtype}. "
        "Convert it with .astype(numpy.uint8)."
    )
