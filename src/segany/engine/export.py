"""Accepted documents as SA-1B records, and folders that are there whole or not at all."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePath

from segany.core.files import sha256_file
from segany.engine.values import Accepted
from segany.records.record import ImageRecord


def to_record(one: Accepted, *, ending: str | None = None) -> ImageRecord:
    """The masks that count, under the image's number; empty masks are left out.

    Args:
        one: image and document.
        ending: of the file's name; the photo's own when None.
    """
    record = one.document.document.to_record()
    suffix = ending or PurePath(one.image.file_name).suffix.lower().replace(".jpeg", ".jpg")
    return replace(
        record,
        image_id=one.image.image_id,
        file_name=f"sa_{one.image.image_id}{suffix}",
        annotations=tuple(mask for mask in record.annotations if mask.area),
    )


def content_hash(lines: Sequence[str]) -> str:
    """SHA-256 over lines, whatever their order."""
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def folder_hash(folder: Path) -> str:
    """SHA-256 over the names and bytes of all files of a folder."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return content_hash([f"{path.relative_to(folder).as_posix()} {sha256_file(path)}" for path in files])


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """A temporary folder beside the target, renamed onto it on success and removed on any error.

    A target that is there already is replaced.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        fresh = aside / "new"
        fresh.mkdir()
        yield fresh
        if target.exists():
            target.rename(aside / "old")
        fresh.rename(target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
