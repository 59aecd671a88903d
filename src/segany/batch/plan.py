"""Which images a run is about, and what each one's output is called."""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from segany.core.errors import DataError

ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm")
"""What counts as an image inside a folder; a file named outright may end in anything."""


@dataclass(frozen=True)
class Item:
    """One image of a run."""

    path: Path
    stem: str
    """Name of its output, without ending, with the folders between the run's root and the image."""


def find_images(source: str | Path, *, exclude: Path | None = None) -> list[Item]:
    """The images a person means by a file, a folder (with all folders in it) or a glob.

    Args:
        source: path or pattern; `**` in a pattern goes through folders.
        exclude: a folder to leave out, usually the output's.

    Returns:
        items sorted by path; stems are unique.

    Raises:
        DataError: nothing there, or no image in it.
    """
    path = Path(source).expanduser()
    if path.is_file():
        return [Item(path, path.stem)]
    if path.is_dir():
        root, found = path, _images(path.rglob("*"))
    elif glob.has_magic(str(path)):
        matches = [Path(match) for match in glob.glob(str(path), recursive=True)]
        root, found = _common_folder(matches), _images(matches)
    else:
        raise DataError(
            f"images must be a file, a folder or a pattern like 'photos/*.jpg'; got {str(source)!r}, "
            "which is not there. Check the spelling."
        )
    away = exclude.expanduser().resolve() if exclude is not None else None
    if away is not None and away != root.resolve():
        found = [image for image in found if away not in image.resolve().parents]
    if not found:
        raise DataError(
            f"there must be at least one image ({', '.join(ending[1:] for ending in ENDINGS)}) "
            f"in {str(source)!r}; got none. Name a folder that holds some."
        )
    return _named(found, root)


def _images(paths: Iterable[Path]) -> list[Path]:
    return sorted(
        path for path in paths if path.suffix.lower() in ENDINGS and not path.name.startswith(".") and path.is_file()
    )


def _common_folder(paths: list[Path]) -> Path:
    folders = {path.parent for path in paths}
    while len(folders) > 1:
        deepest = max(len(folder.parts) for folder in folders)
        if deepest == 0:
            break
        folders = {folder.parent if len(folder.parts) == deepest else folder for folder in folders}
    return folders.pop() if folders else Path()


def _named(images: list[Path], root: Path) -> list[Item]:
    """Outputs follow the images' folders; photos that differ only in their ending keep it in the name."""
    stems = [image.relative_to(root).with_suffix("").as_posix() for image in images]
    count = Counter(stem.lower() for stem in stems)
    items, taken = [], set()
    for image, stem in zip(images, stems, strict=True):
        if count[stem.lower()] > 1:
            stem = f"{stem}_{image.suffix[1:].lower()}"
        unique, number = stem, 2
        while unique.lower() in taken:
            unique, number = f"{stem}_{number}", number + 1
        taken.add(unique.lower())
        items.append(Item(image, unique))
    return items
