"""Writing SA-1B tar shards: the same input gives the same bytes, and several workers may share a folder."""

from __future__ import annotations

import io
import os
import secrets
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path, PurePath
from types import TracebackType

from segany.core.errors import DataError, OptionError
from segany.data.folders import IMAGE_ENDINGS
from segany.data.shard_format import (
    Member,
    add_member,
    describe_shard,
    entry_of,
    read_sidecar,
    shard_paths,
    write_manifest,
    write_sidecar,
)
from segany.records import _checks as check
from segany.records.ids import image_id_for
from segany.records.record import ImageRecord
from segany.records.sa1b import to_sa1b

BLOCK = tarfile.BLOCKSIZE


class ShardWriter:
    """Appends images to ``sa_000000.tar``, ``sa_000001.tar``, ... in a folder.

    A shard appears under its name only when it is complete; after an error or an interruption the open one is
    thrown away, and a new writer goes on behind the finished ones: ask `has` and leave out what is there. Worker
    w of n takes every n-th number, and a number that is taken all the same is passed over.

    Use as a context manager. Every finished shard has an entry beside it; closing writes `manifest.json` over all.

    Args:
        folder: made if missing.
        worker: this worker's number, from 0.
        workers: how many there are.
        max_images: images per shard.
        max_bytes: a shard is closed before it would grow beyond this many bytes; a single larger image still fits.

    Raises:
        OptionError: an impossible number.
        DataError: a shard that is there is damaged.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        worker: int = 0,
        workers: int = 1,
        max_images: int = 10_000,
        max_bytes: int = 1 << 30,
    ) -> None:
        if not 0 <= worker < workers:
            raise OptionError(f"a worker's number must be 0 to {workers - 1} of {workers}; got {worker}.")
        if max_images < 1 or max_bytes < 1:
            raise OptionError(f"a shard must hold 1 image or more; got {max_images} images, {max_bytes} bytes.")
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._workers, self._max_images, self._max_bytes = workers, max_images, max_bytes
        self._number = worker
        self._ids = {member.image_id for shard in shard_paths(self.folder) for member in _members(shard)}
        self.written: list[Path] = []
        self._open: _OpenShard | None = None

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        elif self._open is not None:
            self._open.discard(kind, error, trace)
            self._open = None

    def has(self, image_id: int) -> bool:
        """Whether an image lies in a shard of the folder, or was added to this writer."""
        return image_id in self._ids

    def add(self, record: ImageRecord, image: bytes) -> int:
        """Append one image as ``sa_ID.jpg`` (or its own ending) and ``sa_ID.json``.

        Args:
            record: its masks. ``image_id`` and ``file_name`` are set anew: N for a file called ``sa_N``, else 53
                bits of the image's SHA-256, so that workers agree without talking.
            image: the image file's bytes, stored as they are.

        Returns:
            The image's number.

        Raises:
            DataError: the image is in the folder already, or its file name says no image.
        """
        named = shard_record(record, image)
        if self.has(named.image_id):
            raise DataError(
                f"an image may be in a data set once; {record.file_name} is there already as {named.file_name}. "
                "Leave it out, or merge the masks of both."
            )
        document = check.to_json(to_sa1b(named)).encode("utf-8")
        need = 4 * BLOCK + len(image) + len(document)
        if self._open is not None and (
            self._open.images >= self._max_images or self._open.length + need > self._max_bytes
        ):
            self._finish_shard()
        if self._open is None:
            self._open = _OpenShard(self.folder)
        self._open.add(named, image, document)
        self._ids.add(named.image_id)
        return named.image_id

    def close(self) -> Path:
        """Finish the open shard and write the manifest; returns the manifest's path."""
        self._finish_shard()
        return write_manifest(self.folder)

    def _finish_shard(self) -> None:
        if self._open is None:
            return
        shard, self._open = self._open, None
        while (path := shard.publish(self.folder / f"sa_{self._number:06d}.tar")) is None:
            self._number += self._workers  # taken: by an earlier run, or by a worker given the same number
        self._number += self._workers
        self.written.append(path)


def shard_record(record: ImageRecord, image: bytes) -> ImageRecord:
    """The record under the number and file name it has in SA-1B form.

    The name it had is kept as ``original_file_name`` beside the image's own keys.

    Raises:
        DataError: the file name's ending is no image's.
    """
    number = image_id_for(record.file_name, image)
    ending = PurePath(record.file_name).suffix.lower()
    if ending not in IMAGE_ENDINGS:
        raise DataError(
            f"an image's file name must end in {', '.join(IMAGE_ENDINGS)}; got {record.file_name!r}. Rename it."
        )
    name = f"sa_{number}{'.jpg' if ending == '.jpeg' else ending}"
    extra = dict(record.extra)
    if name != record.file_name:
        extra.setdefault("original_file_name", record.file_name)
    return replace(record, image_id=number, file_name=name, extra=extra)


class _OpenShard:
    """A shard that has no name yet."""

    def __init__(self, folder: Path) -> None:
        self._stack = ExitStack()
        self._path = self._stack.enter_context(_temporary(folder))
        tar = tarfile.open(self._path, "x:", format=tarfile.USTAR_FORMAT)  # noqa: SIM115 - the stack closes it
        self._tar = self._stack.enter_context(tar)
        self._members: list[Member] = []

    @property
    def images(self) -> int:
        return len(self._members)

    @property
    def length(self) -> int:
        return int(self._tar.offset)

    def add(self, record: ImageRecord, image: bytes, document: bytes) -> None:
        key = PurePath(record.file_name).stem
        image_at = (self._append(record.file_name, image), len(image))
        json_at = (self._append(f"{key}.json", document), len(document))
        masks = len(record.annotations)
        self._members.append(Member(key, record.file_name, image_at, json_at, record.image_id, masks))

    def _append(self, name: str, content: bytes) -> int:
        start = int(self._tar.offset) + BLOCK
        add_member(self._tar, name, content, io.BytesIO(content))
        return start

    def publish(self, target: Path) -> Path | None:
        """Give the shard its name; None when another worker has it."""
        self._tar.close()
        entry = entry_of(self._path, self._members, name=target.name)
        if not _claim(self._path, target):
            return None
        write_sidecar(target, entry, self._members)
        self._stack.close()
        return target

    def discard(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)


@contextmanager
def _temporary(folder: Path) -> Iterator[Path]:
    """A hidden name in the folder whose file is gone in the end, whatever happened."""
    path = folder / f".shard.{secrets.token_hex(6)}.part.tar"
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def _claim(temporary: Path, target: Path) -> bool:
    """Move a file to a name that nobody has."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links: the check and the move are two steps there
        if target.exists():
            return False
        os.rename(temporary, target)
    return True


def _members(shard: Path) -> list[Member]:
    known = read_sidecar(shard)
    if known is None:
        known = describe_shard(shard)
        write_sidecar(shard, *known)
    return known[1]
