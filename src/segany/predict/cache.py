"""Embeddings on disk: a photo that was encoded once is not encoded again, by this process or another.

One file per photo, model and precision, written whole or not at all and never changed afterwards. There are no locks
and no index: any number of processes read and write the same folder at once, and one that is killed leaves at most a
temporary file, which is swept later.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segany.core.errors import EmbeddingError, OptionError
from segany.core.files import cache_dir, sha256_file
from segany.core.identity import fingerprint
from segany.predict.embedding import FORMAT, ImageEmbedding, photo_hash
from segany.predict.predictor import Predictor

SUFFIX = ".safetensors"
DEFAULT_MAX_BYTES = 2 << 30
"""Size limit of the cache when none is chosen: some 500 photos of a ViT, some 4000 of `tiny`."""
STALE_S = 3600.0
"""A temporary file older than this belongs to a process that was killed."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EmbeddingCache:
    """A folder of embeddings that forgets the least recently used ones; a plain value, safe to share and to pickle.

    A file that is damaged, or that another photo or model left there, counts as absent and is replaced. A folder that
    cannot be written, or a full disk, costs the cache and nothing else.

    Attributes:
        folder: where the files lie; made when first needed.
        max_bytes: the files are kept below this many bytes together.

    Raises:
        OptionError: a limit below one byte.
    """

    folder: Path
    max_bytes: int = DEFAULT_MAX_BYTES

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", Path(self.folder).expanduser())
        if self.max_bytes < 1:
            raise OptionError(f"max_bytes must be at least 1; got {self.max_bytes}. Leave the cache out to do without.")

    @classmethod
    def of_user(cls) -> EmbeddingCache:
        """The cache in the user's cache folder."""
        return cls(cache_dir() / "embeddings")

    @staticmethod
    def key_of(image: Any) -> str:
        """What an image is known by: the hash of a file's bytes, or of the pixels where there is no file.

        Hashing a file needs no decoding, so that a service can know a photo before it opens it. The price: the same
        photo as a file and as an array is kept twice.

        Args:
            image: a path, or (H, W, 3) uint8.
        """
        if isinstance(image, (str, os.PathLike)):
            return sha256_file(Path(image))
        return f"pixels {photo_hash(image)}"

    def path(self, predictor: Predictor, key: str) -> Path:
        """Where the embedding of one image lies; its name is the hash of everything that decides its values.

        Args:
            predictor: its model, precision and back-end count.
            key: from `key_of`, or any other name that stands for the same pixels for ever.
        """
        made_by = {
            "format": FORMAT,
            "image": key,
            "model": predictor.fingerprint,
            "dtype": str(predictor.dtype).removeprefix("torch."),
            "backend": _backend_name(predictor),
        }
        name = fingerprint(made_by)
        return self.folder / name[:2] / f"{name}{SUFFIX}"

    def get(self, predictor: Predictor, key: str, rgb: NDArray[np.uint8] | None = None) -> ImageEmbedding | None:
        """The kept embedding, or None.

        Args:
            predictor: who would have made it.
            key: see `path`.
            rgb: the decoded photo, where at hand: an embedding of another one is not returned.
        """
        path = self.path(predictor, key)
        try:
            found = ImageEmbedding.load(path)
            predictor.check(found)
            if rgb is not None and not found.is_of(rgb):
                raise EmbeddingError("it was made from another photo")
        except EmbeddingError as error:
            if path.exists():
                _log.info("a kept embedding is of no use and goes: %s", error)
                _remove(path)
            return None
        except OSError:
            return None
        _touch(path)
        return found

    def put(self, predictor: Predictor, key: str, embedding: ImageEmbedding) -> Path:
        """Keep an embedding, and forget the least recently used ones beyond the limit; returns its path.

        Raises:
            OSError: the folder cannot be written, or the disk is full.
        """
        path = embedding.save(self.path(predictor, key))
        self.trim()
        return path

    def get_or_encode(
        self, predictor: Predictor, image: Any, key: str | None = None, *, rgb: NDArray[np.uint8] | None = None
    ) -> ImageEmbedding:
        """The embedding of an image, from the folder or made now and kept.

        Args:
            predictor: makes it.
            image: a path, or (H, W, 3) uint8.
            key: see `path`; `key_of(image)` when left out.
            rgb: the decoded photo of a path, where it has been read already.

        Raises:
            ImageError: it has to be encoded and is no usable image.
        """
        if rgb is None and isinstance(image, np.ndarray):
            rgb = image
        key = key if key is not None else self.key_of(image)
        found = self.get(predictor, key, rgb)
        if found is not None:
            return found
        made = predictor.encode(image if rgb is None else rgb)
        try:
            self.put(predictor, key, made)
        except OSError as error:
            _log.warning("the embedding could not be kept in %s: %s", self.folder, error)
        return made

    def size(self) -> int:
        """Bytes of all kept files together."""
        return sum(status.st_size for _, status in self._files() if status is not None)

    def trim(self) -> None:
        """Remove the least recently used files until the rest fits the limit, and what killed processes left."""
        kept: list[tuple[float, int, Path]] = []
        now = time.time()
        for path, status in self._files():
            if status is None:
                continue
            if not path.name.startswith("."):
                kept.append((status.st_mtime, status.st_size, path))
            elif now - status.st_mtime > STALE_S:
                _remove(path)
        total = sum(size for _, size, _ in kept)
        for _, size, path in sorted(kept):
            if total <= self.max_bytes:
                break
            _remove(path)
            total -= size

    def clear(self) -> None:
        """Remove every file of the cache."""
        for path, _ in self._files():
            _remove(path)

    def _files(self) -> Iterator[tuple[Path, os.stat_result | None]]:
        """Every file of ours, temporary ones too, with its status; None where another process was faster."""
        for path in self.folder.glob(f"[0-9a-f][0-9a-f]/*{SUFFIX}"):
            try:
                yield path, path.stat()
            except OSError:
                yield path, None


def _backend_name(predictor: Predictor) -> str:
    """What computes the embedding, where it is not torch itself: other engines round otherwise."""
    backend = getattr(predictor, "backend", None)
    return "torch" if backend is None else str(getattr(backend, "name", backend))


def _touch(path: Path) -> None:
    """Note that a file was used; the time of change serves, as many disks do not keep the time of reading."""
    try:
        os.utime(path)
    except OSError:
        return  # evicted meanwhile, or a folder that can only be read


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return  # another user's file, or one that is open on Windows: it goes next time
