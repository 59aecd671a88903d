"""Run-length encoding: COCO's two spellings of a mask, column by column, background first.

Compressed: ``{"size": [height, width], "counts": "13"}``, ready for JSON. Uncompressed: ``"counts": [1, 3]``.
Nothing reaches the C decoder before its runs are known to fill the mask: it does not check for itself.
"""

# N masks · H, W mask height and width · R runs

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from segany.core.errors import DataError

Rle: TypeAlias = dict[str, Any]
"""``{"size": [H, W], "counts": str}``, or with ``counts: list[int]`` when uncompressed."""
BoolArray: TypeAlias = NDArray[np.bool_]

_FIRST_CHAR = 48
_LAST_CHAR = _FIRST_CHAR + 63
_MAX_CHARS_PER_RUN = 7
_MAX_PIXELS = 2**31 - 1


def as_bool_mask(mask: Any, *, ndim: int = 2) -> BoolArray:
    """The mask as a boolean array; integers count as foreground when not 0.

    Args:
        mask: array-like of booleans or integers.
        ndim: the number of axes it must have: 2 for (H, W), 3 for (N, H, W).

    Returns:
        Boolean array of the same shape.

    Raises:
        DataError: another number of axes, an empty image axis, or a floating type.
    """
    array = np.asarray(mask)
    if array.ndim != ndim or 0 in array.shape[-2:]:
        wanted = "(H, W)" if ndim == 2 else "(N, H, W)"
        raise DataError(
            f"a mask must be {wanted} with at least one pixel; got shape {array.shape}. "
            f"Add or drop axes until the shape is {wanted}."
        )
    if array.dtype != np.bool_ and not np.issubdtype(array.dtype, np.integer):
        raise DataError(f"a mask must be boolean or integer; got {array.dtype}. Threshold it first, e.g. logits > 0.")
    return array if array.dtype == np.bool_ else array != 0


def encode(mask: Any) -> Rle:
    """Compressed RLE of one mask.

    Args:
        mask: (H, W) boolean or integer.

    Returns:
        ``{"size": [H, W], "counts": str}``.

    Raises:
        DataError: not a two-dimensional boolean or integer array.
    """
    return encode_many(as_bool_mask(mask)[None])[0]


def encode_many(masks: Any) -> list[Rle]:
    """Compressed RLEs of a stack of masks.

    Args:
        masks: (N, H, W) boolean or integer.

    Returns:
        N compressed RLEs in the same order.

    Raises:
        DataError: not a three-dimensional boolean or integer array.
    """
    stack = as_bool_mask(masks, ndim=3)
    if len(stack) == 0:
        return []
    columns = np.ascontiguousarray(stack.transpose(0, 2, 1)).view(np.uint8)
    return [_with_text(rle) for rle in coco_mask.encode(columns.transpose(2, 1, 0))]


def decode(rle: Mapping[str, Any]) -> BoolArray:
    """The mask of a compressed or uncompressed RLE.

    Args:
        rle: ``size`` and ``counts``; counts as text, bytes or a list of run lengths.

    Returns:
        (H, W) boolean mask.

    Raises:
        DataError: malformed, or its runs do not fill the mask exactly.
    """
    mask: NDArray[np.uint8] = coco_mask.decode(compressed(rle))
    return np.ascontiguousarray(mask).view(np.bool_)


def to_uncompressed(rle: Mapping[str, Any]) -> Rle:
    """The same mask with its runs as a list of integers, background first.

    Raises:
        DataError: malformed, or its runs do not fill the mask exactly.
    """
    size, runs = _read(rle)
    return {"size": list(size), "counts": runs.tolist()}


def from_uncompressed(rle: Mapping[str, Any]) -> Rle:
    """Compressed RLE from run lengths ``{"size": [H, W], "counts": [1, 3]}``.

    Raises:
        DataError: counts are not non-negative integers that fill the mask exactly.
    """
    size, runs = _read(rle)
    return _with_text(coco_mask.frPyObjects({"size": list(size), "counts": runs.tolist()}, *size))


def compressed(rle: Mapping[str, Any]) -> Rle:
    """Any RLE, checked, in the compressed spelling with text counts.

    Raises:
        DataError: malformed, or its runs do not fill the mask exactly.
    """
    counts = rle.get("counts") if isinstance(rle, Mapping) else None
    if not isinstance(counts, str | bytes):
        return from_uncompressed(rle)
    size, _ = _read(rle)
    return {"size": list(size), "counts": counts if isinstance(counts, str) else counts.decode("ascii")}


def rle_area(rle: Mapping[str, Any]) -> int:
    """Number of foreground pixels, read from the runs without decoding.

    Raises:
        DataError: malformed, or its runs do not fill the mask exactly.
    """
    _, runs = _read(rle)
    return int(runs[1::2].sum())


def rle_exact_box_xywh(rle: Mapping[str, Any]) -> tuple[int, int, int, int]:
    """Exact extent (x, y, w, h) in pixels, read without decoding; an empty mask gives zeros.

    Raises:
        DataError: malformed, or its runs do not fill the mask exactly.
    """
    x, y, w, h = (int(value) for value in coco_mask.toBbox(compressed(rle)))
    return (x, y, w, h) if w > 0 and h > 0 else (0, 0, 0, 0)


def rle_iou(first: Sequence[Mapping[str, Any]], second: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
    """Overlap of every mask of the first list with every mask of the second.

    Args:
        first: N RLEs of one size.
        second: M RLEs of the same size.

    Returns:
        (N, M) intersection over union; two empty masks overlap by 0.

    Raises:
        DataError: malformed, or sizes differ.
    """
    return checked_overlap(check_same_size(first, second), len(first), of_first=False)


def check_same_size(*groups: Sequence[Mapping[str, Any]]) -> list[Rle]:
    """All RLEs of all groups in one list, compressed.

    Raises:
        DataError: malformed, or sizes differ.
    """
    rles = [compressed(rle) for group in groups for rle in group]
    sizes = {tuple(rle["size"]) for rle in rles}
    if len(sizes) > 1:
        raise DataError(
            f"masks to compare must have one size; got {sorted(sizes)}. Compare masks of the same image only."
        )
    return rles


def checked_overlap(rles: Sequence[Rle], split: int, *, of_first: bool) -> NDArray[np.float64]:
    """Overlap of ``rles[:split]`` with ``rles[split:]``, already checked by `check_same_size`.

    Args:
        rles: compressed RLEs of one size.
        split: where the second group begins.
        of_first: True divides by the area of the first mask, False by the union.

    Returns:
        (split, len(rles) - split); 0 where the divisor is 0.
    """
    first, second = list(rles[:split]), list(rles[split:])
    if not first or not second:
        return np.zeros((len(first), len(second)))
    return np.nan_to_num(np.asarray(coco_mask.iou(first, second, [int(of_first)] * len(second)), np.float64))


def _with_text(rle: Mapping[str, Any]) -> Rle:
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode("ascii")}


def _read(rle: Mapping[str, Any]) -> tuple[tuple[int, int], NDArray[np.int64]]:
    """Size (H, W) and (R,) run lengths, background first, after every check."""
    if not isinstance(rle, Mapping) or "size" not in rle or "counts" not in rle:
        raise DataError(
            f'an RLE must be {{"size": [H, W], "counts": ...}}; got {_shown(rle)}. '
            "Encode the mask with segany.masks.rle.encode."
        )
    size, counts = _read_size(rle["size"]), rle["counts"]
    runs = _runs_of_text(counts) if isinstance(counts, str | bytes) else _runs_of_list(counts)
    if (runs < 0).any() or int(runs.sum()) != size[0] * size[1]:
        raise DataError(
            f"RLE runs must be 0 or more and add up to {size[0]} x {size[1]} = {size[0] * size[1]} pixels; "
            f"got {len(runs)} runs adding up to {int(runs.sum())}. The RLE is damaged, or its size is "
            "another image's, or swapped: size is [height, width]."
        )
    return size, runs


def _read_size(size: Any) -> tuple[int, int]:
    if (
        isinstance(size, Sequence | np.ndarray)
        and not isinstance(size, str | bytes)
        and len(size) == 2
        and all(isinstance(side, int | np.integer) and not isinstance(side, bool) for side in size)
        and min(size) > 0
        and int(size[0]) * int(size[1]) <= _MAX_PIXELS
    ):
        return int(size[0]), int(size[1])
    raise DataError(
        f"an RLE's size must be [height, width], two positive integers whose product stays below 2^31; "
        f"got {_shown(size)}."
    )


def _runs_of_list(counts: Any) -> NDArray[np.int64]:
    try:
        runs = np.asarray(counts)
    except (TypeError, ValueError):
        runs = np.asarray(None)
    is_list = runs.ndim == 1 and len(runs) > 0 and np.issubdtype(runs.dtype, np.integer)
    if is_list and int(runs.max()) <= _MAX_PIXELS:
        return runs.astype(np.int64)
    raise DataError(
        f"RLE counts must be text or a list of integers, the pixels of each run; got {_shown(counts)}. "
        "A mask that starts with foreground begins with a run of 0."
    )


def _runs_of_text(counts: str | bytes) -> NDArray[np.int64]:
    """Runs of COCO's text: 5 bits a character, bit 6 continues, from the fourth on a run is a difference."""
    raw = counts.encode("utf-8", "surrogatepass") if isinstance(counts, str) else counts
    chars = np.frombuffer(raw, np.uint8).astype(np.int64)
    bits = chars - _FIRST_CHAR
    if len(chars) == 0 or bits.min() < 0 or chars.max() > _LAST_CHAR or bits[-1] & 32:
        raise DataError(f"RLE counts must be COCO's compressed text; got {_shown(counts)}. The text is cut or damaged.")
    ends = np.flatnonzero((bits & 32) == 0)
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - starts + 1
    if lengths.max() > _MAX_CHARS_PER_RUN:
        raise DataError(f"an RLE run must fit in 32 bits; got {_shown(counts)}. The text is damaged.")
    place = np.arange(len(bits)) - np.repeat(starts, lengths)
    values = np.add.reduceat((bits & 31) << (5 * place), starts)
    values -= np.where(bits[ends] & 16, np.left_shift(1, 5 * lengths), 0)
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
