"""Run lengths as other annotation tools spell them: row by row inside a box, or packed bit by bit.

CVAT: the lengths of alternating runs inside the mask's box, row by row, background first. Label Studio: the four
channels of the picture's pixels, row by row, packed by @thi.ng/rle-pack: 32 bits with the number of values, 5 bits with
the bits of a value less one, four times 4 bits with the bits of a length less one; then blocks: a bit that says whether
one value repeats, 2 bits that name one of the four sizes, the length less one, and one value or as many as the length.
"""

# H, W mask height and width · R runs · V values of the picture: H x W x 4

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segany.core.errors import DataError
from segany.masks.boxes import exact_box_xywh
from segany.masks.rle import BoolArray, as_bool_mask

CHANNELS = 4
_LENGTH_BITS = (3, 4, 8, 16)
_VALUE_BITS = 8
_HEADER = 32 + 5 + 4 * 4


def box_row_runs(mask: Any) -> tuple[list[int], tuple[int, int, int, int]]:
    """CVAT's spelling of a mask.

    Args:
        mask: (H, W) boolean or integer.

    Returns:
        (R,) lengths, background first, and the box x, y, w, h in pixels they fill; no lengths for an empty mask.

    Raises:
        DataError: not (H, W), or a floating type.
    """
    array = as_bool_mask(mask)
    x, y, w, h = exact_box_xywh(array)
    return _runs(array[y : y + h, x : x + w].reshape(-1)), (x, y, w, h)


def box_row_runs_to_mask(
    runs: Sequence[int], box_xywh: tuple[int, int, int, int], size_hw: tuple[int, int]
) -> BoolArray:
    """The mask of CVAT's spelling; what lies outside the image is cut off.

    Args:
        runs: (R,) lengths, background first.
        box_xywh: the box x, y, w, h in pixels that they fill.
        size_hw: height and width of the image.

    Returns:
        (H, W) boolean mask.

    Raises:
        DataError: the lengths do not fill the box, or the box is far outside the image.
    """
    x, y, w, h = box_xywh
    lengths = np.asarray(runs, np.int64)
    if w < 0 or h < 0 or w * h > 4 * size_hw[0] * size_hw[1] or (lengths < 0).any() or int(lengths.sum()) != w * h:
        raise DataError(
            f"run lengths must be 0 or more and fill their box, {w} x {h} = {w * h} pixels; got {len(lengths)} that "
            f"add up to {int(lengths.sum())}. The annotation is damaged, or of another image."
        )
    patch = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).reshape(h, w)
    mask = np.zeros(size_hw, bool)
    x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + w, size_hw[1]), min(y + h, size_hw[0])
    if x1 > x0 and y1 > y0:
        mask[y0:y1, x0:x1] = patch[y0 - y : y1 - y, x0 - x : x1 - x]
    return mask


def pack_brush(mask: Any) -> list[int]:
    """Label Studio's spelling of a mask: bytes, ready for JSON.

    Args:
        mask: (H, W) boolean or integer.

    Raises:
        DataError: not (H, W), or a floating type.

    Source: @thi.ng/rle-pack.
    """
    array = as_bool_mask(mask)
    bits = [f"{array.size * CHANNELS:032b}", f"{_VALUE_BITS - 1:05b}", *(f"{size - 1:04b}" for size in _LENGTH_BITS)]
    for index, run in enumerate(_runs(array.reshape(-1))):
        value = "11111111" if index % 2 else "00000000"
        for length in _parts(run * CHANNELS):
            place = next(i for i, size in enumerate(_LENGTH_BITS) if length <= 1 << size)
            bits.append(f"1{place:02b}{length - 1:0{_LENGTH_BITS[place]}b}{value}")
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return [int(text[at : at + 8], 2) for at in range(0, len(text), 8)]


def unpack_brush(values: Sequence[int], size_hw: tuple[int, int]) -> BoolArray:
    """The mask of Label Studio's spelling: where the picture's last channel is not 0.

    Args:
        values: bytes, as in the JSON.
        size_hw: height and width of the image.

    Returns:
        (H, W) boolean mask.

    Raises:
        DataError: cut off, damaged, or of an image of another size.

    Source: @thi.ng/rle-pack.
    """
    try:
        bits = np.unpackbits(np.asarray(values, np.uint8)) if len(values) else np.zeros(0, np.uint8)
    except (ValueError, TypeError, OverflowError):
        raise DataError("Label Studio's rle must be a list of bytes from 0 to 255; got something else.") from None
    wanted = size_hw[0] * size_hw[1] * CHANNELS
    if len(bits) < _HEADER or (count := _number(bits, 0, 32)) != wanted:
        found = count if len(bits) >= _HEADER else "no header"
        raise DataError(
            f"Label Studio's rle must hold {size_hw[0]} x {size_hw[1]} x {CHANNELS} = {wanted} values; got {found}. "
            "It is damaged, or of an image of another size."
        )
    picture = np.zeros(wanted, bool)
    for start, stop, block in _blocks(bits, wanted):
        picture[start:stop] = block
    return np.ascontiguousarray(picture.reshape(*size_hw, CHANNELS)[..., -1])


def _blocks(bits: NDArray[np.uint8], count: int) -> Iterator[tuple[int, int, Any]]:
    """Where a block begins and ends, and whether its values are not 0."""
    width = _number(bits, 32, 5) + 1
    sizes = [_number(bits, 37 + 4 * index, 4) + 1 for index in range(4)]
    at, done = _HEADER, 0
    while done < count:
        repeats, size = _number(bits, at, 1), sizes[_number(bits, at + 1, 2)]
        length = _number(bits, at + 3, size) + 1
        at += 3 + size
        used = width if repeats else width * length
        words = bits[at : at + used]
        if len(words) < used or done + length > count:
            raise DataError("Label Studio's rle must end with its picture; this one is cut off or damaged.")
        at += used
        yield done, done + length, words.any() if repeats else words.reshape(length, width).any(axis=1)
        done += length


def _number(bits: NDArray[np.uint8], at: int, size: int) -> int:
    part = bits[at : at + size]
    if len(part) < size:
        raise DataError("Label Studio's rle must end with its picture; this one is cut off.")
    number = 0
    for bit in part.tolist():
        number = number << 1 | bit
    return number


def _parts(length: int) -> Iterator[int]:
    longest = 1 << _LENGTH_BITS[-1]
    while length > 0:
        yield min(length, longest)
        length -= longest


def _runs(flat: BoolArray) -> list[int]:
    """Lengths of alternating runs, background first."""
    if not flat.size:
        return []
    ends = np.append(np.flatnonzero(flat[1:] != flat[:-1]) + 1, flat.size)
    lengths: list[int] = np.diff(ends, prepend=0).tolist()
    return [0, *lengths] if flat[0] else lengths
