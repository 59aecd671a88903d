"""Labelled photos by number, as training draws them: packs decoded once, synthetic scenes without end."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from segany.core.errors import DataError
from segany.data.cache import INDEX, CachedPhoto, PhotoCache, build_cache
from segany.data.packs import PACKS, is_watched, iter_pack
from segany.data.sample import Sample, SampleSource
from segany.data.synthetic import synthetic_scene

SYNTHETIC = "synthetic"
FINGERPRINT_KEYS = 1000
"""Keys of a reader that go into its fingerprint, spread evenly."""


class LabelledPhoto(Protocol):
    """A photo whose masks are read one by one, so that those not wanted cost nothing."""

    @property
    def rgb(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8."""

    @property
    def count(self) -> int:
        """Number of masks."""

    def mask(self, index: int) -> NDArray[np.bool_]:
        """(H, W) bool."""


class PhotoSet(Protocol):
    """Labelled photos of one origin, by number. Picklable, and reading is safe in several processes."""

    @property
    def name(self) -> str:
        """For weights and logs."""

    @property
    def automatic(self) -> bool:
        """Whether a model made the masks (SA-1B-like); such photos are not augmented."""

    @property
    def fingerprint(self) -> str:
        """Changes when the content does."""

    def __len__(self) -> int:
        """Number of photos."""

    def photo(self, index: int, canvas: int) -> LabelledPhoto:
        """Photo `index`; `canvas` (pixels) tells how large it will be shown, for readers that can save work."""


@dataclass(frozen=True)
class MemoryPhoto:
    """A photo and its masks, in memory."""

    rgb: NDArray[np.uint8]
    masks: Sequence[NDArray[np.bool_]]

    @property
    def count(self) -> int:
        return len(self.masks)

    def mask(self, index: int) -> NDArray[np.bool_]:
        """(H, W) bool."""
        return self.masks[index]


@dataclass(frozen=True, kw_only=True)
class MemorySet:
    """A handful of photos in memory."""

    name: str
    photos: Sequence[MemoryPhoto]
    automatic: bool = False

    @property
    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        for photo in self.photos:
            for array in (photo.rgb, *photo.masks):
                digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self.photos)

    def photo(self, index: int, canvas: int) -> MemoryPhoto:
        """Photo `index`."""
        return self.photos[index]


@dataclass(frozen=True)
class SyntheticSet:
    """Painted scenes: photo i is always the same at one canvas, and there are more than anyone can draw."""

    name: str = SYNTHETIC
    automatic: bool = False
    fingerprint: str = "synthetic scenes 1"

    def __len__(self) -> int:
        return 2**48

    def photo(self, index: int, canvas: int) -> MemoryPhoto:
        """Scene `index`, as large as the canvas."""
        scene = synthetic_scene(np.random.default_rng([index, canvas]), canvas)
        return MemoryPhoto(scene.rgb, scene.masks)


@dataclass(frozen=True)
class _SampleView:
    sample: Sample

    @property
    def rgb(self) -> NDArray[np.uint8]:
        return self.sample.load_rgb()

    @property
    def count(self) -> int:
        return len(self.sample.rles)

    def mask(self, index: int) -> NDArray[np.bool_]:
        return self.sample.mask(index)


@dataclass(frozen=True)
class SampleSet:
    """Photos straight from a reader, decoded at every draw: for data too large to decode once.

    Args:
        source: any reader with random access.
        automatic: a model made the masks.
        fingerprint: of the data; see `source_fingerprint`.
    """

    source: SampleSource
    automatic: bool
    fingerprint: str

    @property
    def name(self) -> str:
        return self.source.name

    def __len__(self) -> int:
        return len(self.source)

    def photo(self, index: int, canvas: int) -> LabelledPhoto:
        """Photo `index`, at its own size."""
        return _SampleView(self.source[index])


def source_fingerprint(source: SampleSource) -> str:
    """SHA-256 over a reader's name and keys; pixels and masks are not read for it."""
    digest = hashlib.sha256(f"{source.name}|{len(source)}".encode())
    step = max(1, len(source) // FINGERPRINT_KEYS)
    for index in range(0, len(source), step):
        digest.update(f"|{source[index].key}".encode())
    return digest.hexdigest()


@dataclass(frozen=True)
class _CacheView:
    cache: PhotoCache
    row: CachedPhoto

    @property
    def rgb(self) -> NDArray[np.uint8]:
        return self.cache.rgb(self.row)

    @property
    def count(self) -> int:
        return len(self.row.rles)

    def mask(self, index: int) -> NDArray[np.bool_]:
        return self.row.mask(index)


class CachedSet:
    """Photos of one pack, out of a cache.

    Args:
        name: the pack.
        cache: where its photos are.
        rows: which of them.
    """

    automatic = False

    def __init__(self, name: str, cache: PhotoCache, rows: Sequence[CachedPhoto]) -> None:
        self.name, self.cache, self.rows = name, cache, list(rows)

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(f"{self.cache.fingerprint}|{self.name}|{len(self.rows)}".encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.rows)

    def photo(self, index: int, canvas: int) -> LabelledPhoto:
        """Photo `index`, at the size it was cached."""
        return _CacheView(self.cache, self.rows[index])


def packs_in(root: Path) -> list[str]:
    """Names of the packs whose folders lie in `root`."""
    return [name for name in PACKS if (root / name).is_dir()]


def cached_packs(root: Path, cache: Path) -> tuple[list[CachedSet], list[CachedSet]]:
    """The training part of every pack in a folder, decoded on the first call.

    Args:
        root: folder that holds packs.
        cache: folder of the decoded photos, built when it is not there; about a gigabyte for all packs.

    Returns:
        sets to train on, and sets of the few photos kept to watch the training.

    Raises:
        DataError: a pack is incomplete.
    """
    if (cache / INDEX).is_file():
        photos = PhotoCache(cache)
    else:
        photos = build_cache(cache, (image for name in packs_in(root) for image in iter_pack(name, root, "train")))
    return _by_pack(photos, watched=False), _by_pack(photos, watched=True)


def _by_pack(cache: PhotoCache, *, watched: bool) -> list[CachedSet]:
    rows: dict[str, list[CachedPhoto]] = {}
    for row in cache.photos:
        if is_watched(row.pack, row.key) == watched:
            rows.setdefault(row.pack, []).append(row)
    return [CachedSet(name, cache, chosen) for name, chosen in rows.items()]


def open_photos(path: Path) -> SampleSet:
    """Photos of any layout that `open_source` reads with random access.

    Masks in the SA-1B layout, in folders or shards, count as made by a model.

    Raises:
        DataError: nothing that is known, incomplete, or a compressed tar, which can only be read from end to end.
    """
    from segany.data.open import open_source
    from segany.data.sa1b import SA1BFolder
    from segany.data.shard_readers import ShardDataset

    source = open_source(path)
    if not isinstance(source, SampleSource):
        raise DataError(
            f"training draws photos in any order; {path} can only be read from end to end. Unpack it first."
        )
    return SampleSet(source, isinstance(source, SA1BFolder | ShardDataset), source_fingerprint(source))
