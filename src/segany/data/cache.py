"""Photos decoded once: pixels in one flat memory-mapped file, masks as RLE beside it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from segany.core.errors import DataError
from segany.core.files import atomic_path, atomic_write_text, sha256_file
from segany.data.packs import LabelledImage
from segany.masks.rle import decode, encode

PIXELS, INDEX = "pixels.bin", "index.json"


@dataclass(frozen=True)
class CachedPhoto:
    """One photo of the cache.

    Attributes:
        pack: where it came from.
        key: its name there.
        size_hw: height and width as cached.
        offset: first byte of its pixels.
        rles: COCO RLE of every mask, at the cached size.
    """

    pack: str
    key: str
    size_hw: tuple[int, int]
    offset: int
    rles: tuple[dict[str, Any], ...]

    def mask(self, index: int) -> NDArray[np.bool_]:
        """Mask `index` as (H, W) bool."""
        return decode(self.rles[index])


class PhotoCache:
    """Reads what `build_cache` wrote.

    Raises:
        DataError: the folder holds no complete cache.
    """

    def __init__(self, folder: Path) -> None:
        if not (folder / INDEX).is_file():
            raise DataError(f"expected a photo cache ({INDEX}, {PIXELS}) in {folder}; found none. Build it first.")
        rows = json.loads((folder / INDEX).read_text())
        self.photos = [
            CachedPhoto(r["pack"], r["key"], tuple(r["size_hw"]), r["offset"], tuple(r["rles"])) for r in rows
        ]
        self.folder = folder
        self.fingerprint = sha256_file(folder / INDEX)
        self._pixels = np.memmap(folder / PIXELS, dtype=np.uint8, mode="r")

    def __reduce__(self) -> tuple[type[PhotoCache], tuple[Path]]:
        """Other processes open the files again instead of receiving a gigabyte."""
        return PhotoCache, (self.folder,)

    def rgb(self, photo: CachedPhoto) -> NDArray[np.uint8]:
        """(H, W, 3) uint8."""
        height, width = photo.size_hw
        flat = self._pixels[photo.offset : photo.offset + height * width * 3]
        return np.asarray(flat).reshape(height, width, 3)


def build_cache(
    folder: Path, images: Iterable[LabelledImage], *, longest_side: int = 512, min_share: float = 0.002
) -> PhotoCache:
    """Decode images and masks into a folder; photos without a usable mask are left out.

    Args:
        folder: made if missing.
        images: what to read.
        longest_side: larger photos are shrunk to this, pixels.
        min_share: masks below this share of the photo are left out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    offset = 0
    with atomic_path(folder / PIXELS) as part, open(part, "wb") as pixels:
        for image in images:
            rgb = image.read()
            least = max(1, int(min_share * rgb.shape[0] * rgb.shape[1]))
            scale = min(1.0, longest_side / max(rgb.shape[:2]))
            size = (max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale)))
            rles = [encode(_shrink(mask, size)) for mask in image.masks(least)]
            if not rles:
                continue
            rgb = np.ascontiguousarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA))
            pixels.write(rgb.tobytes())
            rows.append(
                {
                    "pack": image.pack,
                    "key": image.key,
                    "size_hw": rgb.shape[:2],
                    "offset": offset,
                    "rles": rles,
                }
            )
            offset += rgb.size
    atomic_write_text(folder / INDEX, json.dumps(rows))
    return PhotoCache(folder)


def _shrink(mask: NDArray[np.bool_], size_wh: tuple[int, int]) -> NDArray[np.bool_]:
    if mask.shape[::-1] == size_wh:
        return mask
    return cv2.resize(mask.astype(np.float32), size_wh, interpolation=cv2.INTER_AREA) > 0.5
