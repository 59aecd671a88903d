"""Photos without masks, for training that needs none."""

from __future__ import annotations

import hashlib
from pathlib import Path

from segany.core.errors import DataError
from segany.data.folders import IMAGE_ENDINGS, require_folder, walk_files
from segany.data.photo_sets import MemoryPhoto


class UnlabelledSet:
    """Every image file below a folder, as photos without masks; a `PhotoSet`.

    Args:
        folder: walked once, hidden files left out.

    Raises:
        DataError: no folder, or no image in it.
    """

    automatic = False

    def __init__(self, folder: Path) -> None:
        self.folder = require_folder(folder, "images")
        self.name = folder.resolve().name
        self.paths = walk_files(folder, IMAGE_ENDINGS)
        if not self.paths:
            raise DataError(
                f"there must be at least one image ({', '.join(e[1:] for e in IMAGE_ENDINGS)}) in {folder}; got none. "
                "Name a folder that holds some."
            )

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the file names; contents are not read for it."""
        names = "|".join(path.relative_to(self.folder).as_posix() for path in self.paths)
        return hashlib.sha256(names.encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.paths)

    def photo(self, index: int, canvas: int) -> MemoryPhoto:
        """Photo `index`, at its own size."""
        from segany.transforms.image import read_image

        return MemoryPhoto(read_image(self.paths[index]), ())
