"""Photos by the SHA-256 of their bytes: checked when they come in, kept as they came."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from segany.core.files import CHUNK
from segany.service.errors import ApiError, shown
from segany.service.store import LruFolder
from segany.transforms.image import read_image

KINDS: tuple[tuple[str, int, bytes], ...] = (
    ("image/jpeg", 0, b"\xff\xd8\xff"),
    ("image/png", 0, b"\x89PNG\r\n\x1a\n"),
    ("image/webp", 8, b"WEBP"),
    ("image/tiff", 0, b"II*\0"),
    ("image/tiff", 0, b"MM\0*"),
    ("image/bmp", 0, b"BM"),
    ("image/gif", 0, b"GIF8"),
)
"""Media type, offset and first bytes of what is taken. What a client calls its file is never believed."""
HEAD = 16


@dataclass(frozen=True)
class StoredImage:
    """A photo in the store."""

    key: str
    """SHA-256 of the file, hex."""
    width: int
    """After turning as EXIF says, pixels."""
    height: int
    media_type: str
    path: Path


class Elsewhere(Protocol):
    """Photos that are kept by somebody else."""

    def is_known(self, key: str) -> bool:
        """Whether `find` answers at once."""
        ...

    def find(self, key: str) -> StoredImage | None:
        """A photo; None when it is not there."""
        ...


class ImageStore:
    """Photos on disk, the longest unused dropped first.

    Args:
        folder: theirs alone.
        max_bytes: all files together.
        max_pixels: width x height, read from the header before decoding.
        is_pinned: photos that must stay.
    """

    def __init__(self, folder: Path, max_bytes: int, max_pixels: int, is_pinned: Callable[[str], bool]) -> None:
        self._files = LruFolder(folder, max_bytes, is_pinned)
        self._max_pixels = max_pixels
        self.elsewhere: Elsewhere | None = None
        """Further photos, which are only read here."""

    def is_at_hand(self, key: str) -> bool:
        """Whether `get` answers without waiting for a database."""
        return self.elsewhere is None or key in self._files or self.elsewhere.is_known(key)

    def add(self, upload: BinaryIO) -> StoredImage:
        """Check and keep a photo; one that is there already is not decoded again.

        Raises:
            ApiError: 415, no photo of a kind that is taken.
            ImageError: damaged, or too many pixels.
        """
        upload.seek(0)
        media_type = kind_of(upload.read(HEAD))
        upload.seek(0)
        digest = hashlib.sha256()
        while chunk := upload.read(CHUNK):
            digest.update(chunk)
        key = digest.hexdigest()
        note = {"media_type": media_type, "width": 0, "height": 0}

        def write(part: Path) -> None:
            upload.seek(0)
            with open(part, "wb") as file:
                shutil.copyfileobj(upload, file, CHUNK)
            height, width = read_image_of_client(part, self._max_pixels).shape[:2]
            note.update(width=width, height=height)

        if self.elsewhere is not None and (found := self.elsewhere.find(key)) is not None:
            return found
        if key not in self._files:
            self._files.put(key, write, note)
        return self.get(key)

    def get(self, key: str) -> StoredImage:
        """A photo that was added.

        Raises:
            ApiError: 404, it is not there (any more).
        """
        path, note = self._files.path(key), self._files.note(key)
        if path is None or note is None:
            if self.elsewhere is not None and (found := self.elsewhere.find(key)) is not None:
                return found
            raise ApiError(
                404,
                "image_unknown",
                f"expected the key of a photo in the store; got {key[:12]}…, which is not there. Photos unused for "
                "long make room for others: upload it again.",
            )
        return StoredImage(key, int(note["width"]), int(note["height"]), str(note["media_type"]), path)

    def pixels(self, key: str) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB."""
        return read_image(self.get(key).path, max_pixels=self._max_pixels)

    def delete(self, key: str) -> None:
        """Remove a photo.

        Raises:
            ApiError: 404, it is not there; 409, it is a project's.
        """
        self.get(key)
        if not self._files.delete(key):
            raise ApiError(
                409, "image_of_project", "expected a photo that was uploaded; got one of the project, which keeps it."
            )


def kind_of(head: bytes) -> str:
    """Media type of a file that begins so.

    Raises:
        ApiError: 415, none that is taken.
    """
    for media_type, offset, first in KINDS:
        if head[offset : offset + len(first)] == first and (media_type != "image/webp" or head[:4] == b"RIFF"):
            return media_type
    raise ApiError(
        415,
        "image",
        f"expected a JPEG, PNG, WebP, TIFF, BMP or GIF; got a file that begins with {shown(head[:8])}. Save the photo "
        "as JPEG or PNG.",
    )


def read_image_of_client(path: Path, max_pixels: int) -> NDArray[np.uint8]:
    """As `read_image`, but messages do not name the server's own path."""
    from segany.core.errors import ImageError

    try:
        return read_image(path, max_pixels=max_pixels)
    except ImageError as error:
        text = str(error).replace(str(path), "the upload").replace(" or raise max_pixels", "")
        raise ImageError(text) from error
