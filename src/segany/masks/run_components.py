"""Small holes and islands of a mask given as runs: the same as on the bitmap, at the price of the outline.

Pixels touching by a side or a corner belong together (8-connectivity).
"""

# R runs, none longer than a column · E pairs of touching runs

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from segany.masks.components import remove_small_islands
from segany.masks.runs import Positions, Runs


@dataclass(frozen=True, eq=False)
class _Parts:
    """Runs of a mask, cut at the columns' ends, and the component of each."""

    starts: Positions
    ends: Positions
    labels: NDArray[np.int64]
    sizes: NDArray[np.int64]
    """Pixels of each component."""
    size_hw: tuple[int, int]

    @classmethod
    def of(cls, mask: Runs) -> _Parts:
        starts, ends = mask.by_column()
        labels = _labels(starts, ends, mask.size_hw[0])
        sizes = np.bincount(labels, weights=ends - starts).astype(np.int64)
        return cls(starts, ends, labels, sizes, mask.size_hw)

    def only(self, components: NDArray[np.bool_]) -> Runs:
        chosen = components[self.labels]
        return Runs.of(self.starts[chosen], self.ends[chosen], self.size_hw)


def _labels(starts: Positions, ends: Positions, height: int) -> NDArray[np.int64]:
    """Component of each run: runs of neighbouring columns touch when neither begins beyond the other's end."""
    stride = height + 2
    column = starts // height
    first, last = starts + 2 * column, ends + 2 * column
    low = np.searchsorted(last, first + stride, side="left")
    high = np.searchsorted(first, last + stride, side="right")
    touching = np.maximum(high - low, 0)
    here = np.repeat(np.arange(len(starts)), touching)
    there = np.arange(len(here)) - np.repeat(np.cumsum(touching) - touching, touching) + np.repeat(low, touching)
    graph = coo_array((np.ones(len(here), np.bool_), (here, there)), shape=(len(starts), len(starts)))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


def fill_small_run_holes(mask: Runs, area: float) -> tuple[Runs, bool]:
    """`segany.masks.components.fill_small_holes` on runs.

    Args:
        mask: any mask.
        area: background components of fewer pixels are filled, at the image's edge too.

    Returns:
        the mask, and whether anything was filled.
    """
    background = _Parts.of(mask.complement())
    small = background.sizes < area
    if not small.any():
        return mask, False
    return background.only(~small).complement(), True


def remove_small_run_islands(mask: Runs, area: float) -> tuple[Runs, bool]:
    """`segany.masks.components.remove_small_islands` on runs.

    Args:
        mask: any mask.
        area: components of fewer pixels are removed; if all are smaller, the largest stays.

    Returns:
        the mask, and whether it had a small component.
    """
    parts = _Parts.of(mask)
    keep = parts.sizes >= area
    if keep.all():
        return mask, False
    if not keep.any():
        largest = parts.sizes == parts.sizes.max()
        if np.count_nonzero(largest) > 1:  # which of equals stays is the bitmap's order to decide
            return Runs.of_mask(remove_small_islands(mask.mask(), area)[0]), True
        keep = largest
    return parts.only(keep), True


def largest_run_component_area(mask: Runs) -> int:
    """Pixels of the largest component; 0 for an empty mask."""
    return int(_Parts.of(mask).sizes.max(initial=0))
