"""The project's photos for the routes that take a photo's key: they need no upload."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from segany.service.errors import ApiError
from segany.service.images import HEAD, StoredImage, kind_of

if TYPE_CHECKING:
    from segany.engine.store.store import Store
    from segany.engine.values import Image

LOG = structlog.get_logger("segany.service.engine")
REMEMBERED = 20_000
"""Photos whose place is kept in memory; a photo of a store never changes and never goes."""


@dataclass(frozen=True)
class ProjectPhoto:
    """A photo, and whose it is."""

    project: int
    stored: StoredImage


class ProjectPhotos:
    """Photos of a store by the hash of their bytes; serves many threads.

    Args:
        store: where they are.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: OrderedDict[str, ProjectPhoto] = OrderedDict()
        self._lock = threading.Lock()

    def is_known(self, key: str) -> bool:
        """Whether the database need not be asked."""
        with self._lock:
            return key in self._known

    def find(self, key: str) -> StoredImage | None:
        """A photo; None when no project has it.

        Raises:
            ApiError: 404, a project has it, but its file is gone.
            StoreUnavailableError: the database does not answer.
        """
        photo = self.look_up(key)
        return None if photo is None else photo.stored

    def look_up(self, key: str) -> ProjectPhoto | None:
        """As `find`, with its project."""
        with self._lock:
            if (known := self._known.get(key)) is not None:
                self._known.move_to_end(key)
                return known
        image = self._store.image_of_hash(key)
        if image is None:
            return None
        photo = ProjectPhoto(image.project, self.stored(image))
        with self._lock:
            self._known[key] = photo
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return photo

    def stored(self, image: Image) -> StoredImage:
        """An image's file.

        Raises:
            ApiError: 404, it is gone.
        """
        path = self._store.image_path(image)
        try:
            with open(path, "rb") as file:
                media_type = kind_of(file.read(HEAD))
        except OSError as error:
            LOG.error("photo_gone", image=image.id, reason=error.strerror)
            raise ApiError(
                404, "photo_gone", f"expected the file of photo {image.id} in the store; it is gone. Tell an admin."
            ) from error
        return StoredImage(image.sha256, image.width, image.height, media_type, path)
