"""A mask as its foreground runs, so that work on it costs what its outline does, whatever the size of the photo.

Runs are half-open and lie in one line of pixels, column by column, the order of COCO's run lengths.
"""

# R runs · H, W mask height and width

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segany.masks.rle import BoolArray, Rle, from_uncompressed, to_uncompressed

Positions = NDArray[np.int64]
NONE: Positions = np.zeros(0, np.int64)


@dataclass(frozen=True, eq=False)
class Runs:
    """Foreground runs in ascending order, with background between any two.

    Attributes:
        starts: (R,) first pixel of each run, counted down the columns.
        ends: (R,) one behind its last pixel.
        size_hw: the mask.
    """

    starts: Positions
    ends: Positions
    size_hw: tuple[int, int]

    @classmethod
    def of(cls, starts: Positions, ends: Positions, size_hw: tuple[int, int]) -> Runs:
        """From sorted runs of which some may touch: those become one."""
        apart = starts[1:] != ends[:-1]
        if apart.all():
            return cls(starts, ends, size_hw)
        return cls(starts[np.concatenate(([True], apart))], ends[np.concatenate((apart, [True]))], size_hw)

    @classmethod
    def of_rle(cls, rle: Mapping[str, Any]) -> Runs:
        """From an RLE of either spelling.

        Raises:
            DataError: malformed, or its runs do not fill the mask exactly.
        """
        plain = to_uncompressed(rle)
        height, width = plain["size"]
        borders = np.cumsum(np.asarray(plain["counts"], np.int64))
        if len(borders) % 2:
            borders = borders[:-1]
        starts, ends = borders[::2], borders[1::2]
        real = ends > starts
        return cls.of(starts[real], ends[real], (height, width))

    @classmethod
    def of_mask(cls, mask: BoolArray) -> Runs:
        """From a boolean (H, W) mask."""
        height, width = mask.shape
        return runs_of_columns([(0, mask.T)], 0, (height, width))

    @property
    def area(self) -> int:
        """Foreground pixels."""
        return int((self.ends - self.starts).sum())

    def rle(self) -> Rle:
        """Compressed RLE, the same text that encoding the bitmap gives."""
        height, width = self.size_hw
        borders = np.empty(2 * len(self.starts) + 2, np.int64)
        borders[0], borders[-1] = 0, height * width
        borders[1:-1:2], borders[2:-1:2] = self.starts, self.ends
        counts = np.diff(borders)
        if len(counts) > 1 and counts[-1] == 0:
            counts = counts[:-1]
        return from_uncompressed({"size": [height, width], "counts": counts})

    def mask(self) -> BoolArray:
        """(H, W) boolean bitmap."""
        height, width = self.size_hw
        steps = np.zeros(height * width + 1, np.int8)
        steps[self.starts] += 1
        steps[self.ends] -= 1
        flat: BoolArray = np.cumsum(steps[:-1], dtype=np.int8).view(np.bool_)
        return np.ascontiguousarray(flat.reshape(width, height).T)

    def inclusive_box(self) -> tuple[int, int, int, int]:
        """XYXY whose maximum is the last foreground pixel itself; zeros for an empty mask."""
        if not len(self.starts):
            return 0, 0, 0, 0
        height = self.size_hw[0]
        last = self.ends - 1
        x0, x1 = int(self.starts[0] // height), int(last[-1] // height)
        if (self.starts // height != last // height).any():
            return x0, 0, x1, height - 1
        return x0, int((self.starts % height).min()), x1, int((last % height).max())

    def placed(self, corner_yx: tuple[int, int], size_hw: tuple[int, int]) -> Runs:
        """The same mask as a part of a larger image, with its top left pixel at the corner."""
        if self.size_hw == size_hw:
            return self
        starts, ends = self.by_column()
        height, (y, x) = self.size_hw[0], corner_yx
        column = starts // height
        shift = (x + column) * size_hw[0] + y - column * height
        return Runs.of(starts + shift, ends + shift, size_hw)

    def by_column(self) -> tuple[Positions, Positions]:
        """Starts and ends of the runs cut where a column ends."""
        height = self.size_hw[0]
        first, last = self.starts // height, (self.ends - 1) // height
        pieces = last - first + 1
        if not len(pieces) or pieces.max() == 1:
            return self.starts, self.ends
        number = np.arange(pieces.sum()) - np.repeat(np.cumsum(pieces) - pieces, pieces)
        column = np.repeat(first, pieces) + number
        starts = np.maximum(np.repeat(self.starts, pieces), column * height)
        ends = np.minimum(np.repeat(self.ends, pieces), (column + 1) * height)
        return starts, ends

    def complement(self) -> Runs:
        """The background."""
        height, width = self.size_hw
        starts = np.concatenate(([0], self.ends))
        ends = np.concatenate((self.starts, [height * width]))
        real = ends > starts
        return Runs(starts[real], ends[real], self.size_hw)


def runs_of_columns(blocks: Iterable[tuple[int, BoolArray]], top: int, size_hw: tuple[int, int]) -> Runs:
    """Runs of a mask that is given as blocks of columns.

    Args:
        blocks: first column, and (columns, rows) boolean: the part of those columns below `top`; ascending.
        top: first row of every block.
        size_hw: the mask; outside the blocks it is background.
    """
    starts, ends = [NONE], [NONE]
    for left, bits in blocks:
        begun, ended = _runs_of_block(bits)
        rows, offset = bits.shape[1], left * size_hw[0] + top
        begun += begun // rows * (size_hw[0] - rows) + offset
        ended -= 1
        ended += ended // rows * (size_hw[0] - rows) + offset + 1
        starts.append(begun)
        ends.append(ended)
    return Runs.of(np.concatenate(starts), np.concatenate(ends), size_hw)


def _runs_of_block(bits: BoolArray) -> tuple[Positions, Positions]:
    """Starts and ends in the block's own line of pixels, none longer than a column."""
    columns, rows = bits.shape
    padded = np.zeros(columns * (rows + 1) + 1, np.bool_)
    padded[:-1].reshape(columns, rows + 1)[:, 1:] = bits
    changes = np.flatnonzero(padded[1:] != padded[:-1])
    begun, ended = changes[::2], changes[1::2]
    column = begun // (rows + 1)
    return begun - column, ended - column
