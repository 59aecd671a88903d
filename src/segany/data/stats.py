"""What a data set is like, in the numbers that describe SA-1B: how many masks, how large, how shaped, where.

Memory does not grow with the data set: everything is counted into bins, and the masks whose shape is measured
are a fixed number per bin of size.
"""

# H, W image height and width · Y, X bins of the heat-map

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segany.core.errors import OptionError
from segany.data.sample import Sample
from segany.masks.rle import BoolArray, Rle, decode, to_uncompressed

COUNT_BINS = (("≤10", 10), ("11–50", 50), ("51–100", 100), ("101–200", 200), (">200", None))
"""The paper's bins of masks per image: name and largest number."""
FINE_SIZE_BINS = 1000
"""Bins of relative mask size that quantiles are read from."""

Counts = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class StatsConfig:
    """How finely to count."""

    size_bins: int = 20
    """Bins of relative mask size, √(mask area / image area), over 0 to 1."""
    concavity_bins: int = 20
    """Bins of concavity over 0 to 1."""
    strata: int = 10
    """Bins of relative size of which equally many masks are measured for concavity."""
    masks_per_stratum: int = 500
    """Masks measured per such bin, at most; a mask costs about a millisecond."""
    heat_bins: int = 64
    """Bins along each side of the map of mask centres."""
    seed: int = 0
    """Of the choice of measured masks; the order in which images come does not matter."""

    def __post_init__(self) -> None:
        for name in ("size_bins", "concavity_bins", "strata", "masks_per_stratum", "heat_bins"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} must be 1 or more; got {getattr(self, name)}.")
        if FINE_SIZE_BINS % self.size_bins:
            raise OptionError(f"size_bins must divide {FINE_SIZE_BINS}; got {self.size_bins}. Take 10, 20 or 50.")


@dataclass(frozen=True, kw_only=True)
class DatasetStats:
    """The numbers of one data set."""

    name: str
    config: StatsConfig
    images: int
    masks: int
    empty_masks: int
    """Masks without a pixel; counted nowhere else."""
    masks_per_image: dict[int, int]
    """Number of masks to number of images with so many."""
    fine_sizes: Counts
    """(FINE_SIZE_BINS,) masks by relative size."""
    concavity: tuple[tuple[float, ...], ...]
    """Per stratum of relative size, the concavities that were measured."""
    centers: Counts
    """(Y, X) masks by their centre of mass, image height and width taken as 1."""
    sizes_hw: dict[tuple[int, int], int]
    """Image height and width to number of images."""
    labels: dict[str, int]
    """Class name to number of masks, where masks have one."""

    @property
    def mean_masks(self) -> float:
        """Masks per image."""
        return self.masks / self.images if self.images else 0.0

    def count_shares(self) -> dict[str, float]:
        """Share of the images in each of the paper's bins of masks per image."""
        shares = dict.fromkeys((name for name, _ in COUNT_BINS), 0.0)
        for count, images in self.masks_per_image.items():
            name = next(name for name, most in COUNT_BINS if most is None or count <= most)
            shares[name] += images / self.images
        return shares

    def size_shares(self) -> NDArray[np.float64]:
        """(size_bins,) share of the masks by relative size."""
        bins = self.fine_sizes.reshape(self.config.size_bins, -1).sum(axis=1)
        shares: NDArray[np.float64] = bins / max(1, int(bins.sum()))
        return shares

    def size_quantile(self, share: float) -> float:
        """Relative size below which this share of the masks lies, to the nearest thousandth."""
        total = int(self.fine_sizes.sum())
        if not total:
            return 0.0
        at = int(np.searchsorted(np.cumsum(self.fine_sizes), share * total))
        return (min(at, FINE_SIZE_BINS - 1) + 0.5) / FINE_SIZE_BINS

    def concavity_shares(self) -> NDArray[np.float64]:
        """(concavity_bins,) distribution of concavity, every bin of size that has masks weighing the same."""
        edges = np.linspace(0, 1, self.config.concavity_bins + 1)
        rows = [np.histogram(values, edges)[0] / len(values) for values in self.concavity if values]
        return np.mean(rows, axis=0) if rows else np.zeros(self.config.concavity_bins)

    @property
    def mean_concavity(self) -> float:
        """Mean concavity, every bin of size that has masks weighing the same."""
        means = [float(np.mean(values)) for values in self.concavity if values]
        return float(np.mean(means)) if means else 0.0

    def center_spread(self) -> float:
        """Share of the masks whose centre lies outside the middle half of width and height; 0.75 if even."""
        total = int(self.centers.sum())
        side = (np.arange(self.config.heat_bins) + 0.5) / self.config.heat_bins
        middle = (side > 0.25) & (side < 0.75)
        return 1 - int(self.centers[np.ix_(middle, middle)].sum()) / total if total else 0.0

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        counts = [count for count, images in sorted(self.masks_per_image.items()) for _ in range(images)]
        heights = {f"{h}x{w}": number for (h, w), number in sorted(self.sizes_hw.items())}
        quantiles = {f"p{int(share * 100)}": self.size_quantile(share) for share in (0.05, 0.25, 0.5, 0.75, 0.95)}
        return {
            "name": self.name,
            "images": self.images,
            "masks": self.masks,
            "empty_masks": self.empty_masks,
            "masks_per_image": {
                "mean": self.mean_masks,
                "median": float(np.median(counts)) if counts else 0.0,
                "max": max(counts, default=0),
                "shares": self.count_shares(),
            },
            "relative_size": {"quantiles": quantiles, "shares": self.size_shares().tolist()},
            "concavity": {
                "mean": self.mean_concavity,
                "shares": self.concavity_shares().tolist(),
                "measured_per_stratum": [len(values) for values in self.concavity],
            },
            "centers": {"outside_middle_half": self.center_spread(), "counts_rows": self.centers.tolist()},
            "image_sizes_hw": heights,
            "labels": dict(sorted(self.labels.items(), key=lambda item: (-item[1], item[0]))),
        }


@dataclass
class StatsCollector:
    """Adds up samples; `result` may be asked at any time.

    Args:
        name: the data set's name.
        config: how finely to count.
    """

    name: str
    config: StatsConfig = field(default_factory=StatsConfig)

    def __post_init__(self) -> None:
        config = self.config
        self._per_image: Counter[int] = Counter()
        self._sizes: Counter[tuple[int, int]] = Counter()
        self._labels: Counter[str] = Counter()
        self._fine = np.zeros(FINE_SIZE_BINS, np.int64)
        self._centers = np.zeros((config.heat_bins, config.heat_bins), np.int64)
        self._chosen: list[list[tuple[int, str, int, Rle]]] = [[] for _ in range(config.strata)]
        self._empty = 0
        self._offered = 0

    def add(self, sample: Sample) -> None:
        """Count one image.

        Raises:
            DataError: its annotations cannot be read; nothing was counted then.
        """
        record = sample.record
        height, width = record.size_hw
        present = [mask for mask in record.annotations if mask.area]
        self._per_image[len(present)] += 1
        self._sizes[(height, width)] += 1
        self._empty += len(record.annotations) - len(present)
        for index, mask in enumerate(present):
            size = (mask.area / (height * width)) ** 0.5
            self._fine[min(int(size * FINE_SIZE_BINS), FINE_SIZE_BINS - 1)] += 1
            x, y = centroid(mask.segmentation)
            bins = self.config.heat_bins
            self._centers[int(y / height * bins), int(x / width * bins)] += 1
            if mask.label is not None:
                self._labels[mask.label] += 1
            self._offer(size, f"{sample.key}#{index}", mask.segmentation)

    def result(self) -> DatasetStats:
        """The numbers so far; measures the chosen masks."""
        measured = tuple(
            tuple(concavity(decode(rle)) for _, _, _, rle in sorted(chosen, key=lambda one: (-one[0], one[1])))
            for chosen in self._chosen
        )
        return DatasetStats(
            name=self.name,
            config=self.config,
            images=sum(self._per_image.values()),
            masks=int(self._fine.sum()),
            empty_masks=self._empty,
            masks_per_image=dict(self._per_image),
            fine_sizes=self._fine.copy(),
            concavity=measured,
            centers=self._centers.copy(),
            sizes_hw=dict(self._sizes),
            labels=dict(self._labels),
        )

    def _offer(self, size: float, name: str, rle: Rle) -> None:
        """Keep the masks whose names hash lowest: an even choice, whatever the order they come in."""
        stratum = self._chosen[min(int(size * self.config.strata), self.config.strata - 1)]
        digest = hashlib.blake2b(f"{self.config.seed}/{name}".encode(), digest_size=8).digest()
        self._offered += 1
        entry = (-int.from_bytes(digest), name, self._offered, rle)
        if len(stratum) < self.config.masks_per_stratum:
            heapq.heappush(stratum, entry)
        elif entry[:2] > stratum[0][:2]:
            heapq.heapreplace(stratum, entry)


def centroid(rle: Rle) -> tuple[float, float]:
    """Centre of mass x, y in pixels of a mask that has some, read from the runs without decoding.

    The top-left pixel covers [0, 1] x [0, 1], so a mask of the whole image has its centre at (W / 2, H / 2).
    """
    height = int(rle["size"][0])
    ends = np.cumsum(np.asarray(to_uncompressed(rle)["counts"], np.int64))
    starts, stops = ends[:-1:2], ends[1::2]
    columns = float((_columns_before(stops, height) - _columns_before(starts, height)).sum())
    places = float((stops * (stops - 1) - starts * (starts - 1)).sum()) / 2
    area = float((stops - starts).sum())
    return columns / area + 0.5, (places - height * columns) / area + 0.5


def _columns_before(place: Counts, height: int) -> Counts:
    """Sum of the column numbers of all pixels before a place, counted down the columns."""
    column, row = np.divmod(place, height)
    total: Counts = height * column * (column - 1) // 2 + column * row
    return total


def concavity(mask: BoolArray) -> float:
    """1 - area / area of the convex hull, with pixels as squares: 0 for every rectangle along the axes.

    Args:
        mask: (H, W) boolean.

    Returns:
        In [0, 1); 0 for an empty mask.

    Source: Segment Anything (arXiv 2304.02643), mask properties.
    """
    import cv2

    rows = np.flatnonzero(mask.any(axis=1))
    if len(rows) == 0:
        return 0.0
    left = mask[rows].argmax(axis=1)
    right = mask.shape[1] - mask[rows][:, ::-1].argmax(axis=1)
    corners = [np.stack([x, rows + down], axis=1) for x in (left, right) for down in (0, 1)]
    hull = cv2.convexHull(np.concatenate(corners).astype(np.int32))
    area = float(cv2.contourArea(hull))
    return max(0.0, 1 - int(np.count_nonzero(mask)) / area)
