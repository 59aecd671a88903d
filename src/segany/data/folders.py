"""Finding image files and pairing them with their labels."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from segany.core.errors import DataError

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
"""What counts as an image inside a folder."""


def require_folder(folder: Path, what: str) -> Path:
    """The folder, if it is one.

    Raises:
        DataError: it is not.
    """
    if not folder.is_dir():
        found = "a file" if folder.exists() else "nothing"
        raise DataError(f"expected a folder of {what} at {folder}; found {found}. Check the path.")
    return folder


def walk_files(folder: Path, endings: Iterable[str]) -> list[Path]:
    """All files below a folder with one of these endings, hidden ones left out, sorted by path."""
    wanted = tuple(endings)
    found: list[Path] = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(place, name) for name in names if name.lower().endswith(wanted) and not name.startswith(".")]
    return sorted(found, key=lambda path: natural(path.relative_to(folder).as_posix()))


def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key by which ``sa_2`` comes before ``sa_10``."""
    return tuple(_natural_parts(name))


def _natural_parts(name: str) -> Iterator[tuple[int, int, str]]:
    part, digits = "", False
    for character in name:
        if part and character.isdecimal() != digits:
            yield (0, int(part), part) if digits else (1, 0, part)
            part = ""
        digits = character.isdecimal()
        part += character
    if part:
        yield (0, int(part), part) if digits else (1, 0, part)


def key_of(path: Path, root: Path) -> str:
    """The path below `root` without ending, with forward slashes."""
    return path.relative_to(root).with_suffix("").as_posix()


class ImageFolder:
    """Looks image files up by key or by file name.

    Raises:
        DataError: not a folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = require_folder(folder, "images")
        self._by_key: dict[str, Path] = {}
        for path in walk_files(folder, IMAGE_ENDINGS):
            self._by_key.setdefault(key_of(path, folder), path)

    def __iter__(self) -> Iterator[tuple[str, Path]]:
        return iter(self._by_key.items())

    def __len__(self) -> int:
        return len(self._by_key)

    def find(self, key: str) -> Path | None:
        """The image of this key."""
        return self._by_key.get(key)


def inside(folder: Path, name: str) -> Path | None:
    """``folder/name``, unless the name is absolute or climbs out of the folder."""
    pure = PurePosixPath(name.replace("\\", "/"))
    if not name or pure.is_absolute() or ".." in pure.parts or ":" in pure.parts[0]:
        return None
    return folder.joinpath(*pure.parts)


def none_found(what: str, where: Path, missing: Iterable[str] = ()) -> DataError:
    """The error for a data set without a single usable image."""
    lines = list(missing)
    told = f" {len(lines)} were incomplete, first: {lines[0]}." if lines else ""
    return DataError(f"expected {what} in {where}; found none.{told} Check the path and, for images, --images.")
