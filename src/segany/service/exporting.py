"""Annotation documents → one file, or a zip of several, in any format of `segany.records.formats`."""

from __future__ import annotations

import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from starlette.responses import FileResponse
from starlette.types import Receive, Scope, Send

from segany.core.errors import DataError
from segany.records.annotation import AnnotationDocument, write_annotation
from segany.records.formats import WRITERS
from segany.service.errors import ApiError
from segany.service.schemas import ExportRequest
from segany.service.settings import Settings

LONGEST_STEM = 60
NOT_IN_NAMES = re.compile(r"[^\w.-]+")
DEVICES = re.compile(r"(?i:con|prn|aux|nul|com\d|lpt\d)(\..*)?")
"""Names that Windows keeps for itself."""
MEDIA_TYPES = {
    ".json": "application/json",
    ".png": "image/png",
    ".tif": "image/tiff",
    ".txt": "text/plain",
    ".xml": "application/xml",
    ".zip": "application/zip",
}


class PassingFile(FileResponse):
    """A file that is removed, with its folder, once it was sent or could not be."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            shutil.rmtree(Path(self.path).parent, ignore_errors=True)


def export(request: ExportRequest, settings: Settings, folder: Path) -> Path:
    """Write the documents.

    Args:
        request: documents and format.
        settings: limits.
        folder: where a temporary folder is made.

    Returns:
        The file to send, alone in a folder of its own.

    Raises:
        DataError: a document is wrong.
        ApiError: 422, too many or too large.
    """
    documents = checked(request.documents, settings)
    folder.mkdir(parents=True, exist_ok=True)
    own = Path(tempfile.mkdtemp(prefix="export-", dir=folder))
    try:
        files = write_all(documents, request.format, own / "files")
        if len(files) == 1:
            return files[0].rename(own / files[0].name)
        return zip_of(files, own / "files", own / f"segany-{request.format}.zip")
    except BaseException:
        shutil.rmtree(own, ignore_errors=True)
        raise


def checked(values: list[dict[str, Any]], settings: Settings) -> list[AnnotationDocument]:
    """The documents, when they are right and not too much."""
    if len(values) > settings.max_documents:
        raise _too_much(f"{settings.max_documents} documents", f"{len(values)}")
    documents, pixels = [], 0
    for index, value in enumerate(values):
        try:
            document = AnnotationDocument.from_json(value)
        except DataError as error:
            raise DataError(f"document {index}: {error}") from error
        size = document.width * document.height
        if size > settings.max_pixels:
            raise _too_much(f"{settings.max_pixels} pixels per photo", f"{size} in document {index}")
        pixels += size * max(len(document.annotations), 1)
        if pixels > settings.max_export_pixels:
            raise _too_much(f"{settings.max_export_pixels} pixels in all masks together", "more")
        documents.append(document)
    return documents


def write_all(documents: Iterable[AnnotationDocument], format: str, folder: Path) -> list[Path]:
    """Write every document under a name of its own; what was written."""
    taken: set[str] = set()
    written: list[Path] = []
    for document in documents:
        stem = free_stem(document.file_name, taken)
        if format == "annotations":
            written.append(write_annotation(document, folder / f"{stem}.json"))
        else:
            record = replace(document.to_record(), file_name=stem + Path(plain_name(document.file_name)).suffix)
            written += WRITERS[format].write(record, folder, stem)
    if format != "annotations":
        written = WRITERS[format].finish(folder) or written  # COCO's one file instead of its pieces
    files = {inner for path in written for inner in (path.rglob("*") if path.is_dir() else [path]) if inner.is_file()}
    return sorted(files)


def zip_of(files: Iterable[Path], root: Path, target: Path) -> Path:
    """The files in a zip, by their names below `root`."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path in files:
            archive.write(path, path.relative_to(root).as_posix())
    shutil.rmtree(root)
    return target


def plain_name(file_name: str) -> str:
    """The last part of a path of any system, of letters, digits, dots and dashes alone."""
    name = file_name.replace("\\", "/").rsplit("/", 1)[-1]
    return NOT_IN_NAMES.sub("_", name).strip("._-")


def free_stem(file_name: str, taken: set[str]) -> str:
    """A stem made from a client's file name that is safe on every disk, and not taken yet."""
    name = plain_name(file_name)
    base = Path(name).stem[:LONGEST_STEM].strip("._-") or "image"
    base = f"image_{base}" if DEVICES.fullmatch(base) else base
    stem, number = base, 1
    while stem.lower() in taken:
        number += 1
        stem = f"{base}-{number}"
    taken.add(stem.lower())
    return stem


def _too_much(limit: str, got: str) -> ApiError:
    return ApiError(422, "too_many", f"expected at most {limit}; got {got}. Export in several requests.")
