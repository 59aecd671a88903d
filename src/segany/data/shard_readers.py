"""Reading SA-1B tar shards: one after the other, or any image at any time."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path, PurePosixPath

from segany.core.errors import DataError
from segany.data.folders import none_found
from segany.data.sample import Document, Sample, StoredDocument, given_bytes
from segany.data.shard_format import (
    Member,
    member_kind,
    opened_tar,
    read_at,
    read_sidecar,
    scan_shard,
    shard_paths,
)
from segany.records._checks import mapping

Shards = str | Path | Sequence[str | Path]


class ShardDataset:
    """Any image of many shards at any time; nothing stays open, so worker processes may share it.

    Where images lie is read from the entries beside the shards, or else from the tars' headers, once.

    Args:
        shards: a folder of ``*.tar``, one tar, or several.
        name: the data set's name; the folder's when None.

    Raises:
        DataError: no shard, a compressed or damaged one, or no complete image.
    """

    def __init__(self, shards: Shards, *, name: str | None = None) -> None:
        paths = find_shards(shards)
        self.name = name or paths[0].resolve().parent.name
        self.shards = tuple(paths)
        self._places: list[tuple[int, Member]] = []
        missing: list[str] = []
        for number, path in enumerate(paths):
            known = read_sidecar(path) if path.is_file() else None
            members, alone = (known[1], ()) if known is not None else scan_shard(path)
            self._places += [(number, member) for member in members]
            missing += alone
        self.missing = tuple(missing)
        if not self._places:
            raise none_found("images with a JSON file each (sa_1.jpg, sa_1.json)", paths[0], missing)

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Sample:
        number, member = self._places[index]
        shard = self.shards[number]
        return Sample(
            source=self.name,
            key=member.key,
            file_name=member.image_name,
            load_bytes=partial(read_at, shard, member.image_at),
            load_record=StoredDocument(layout="sa1b", load=partial(_document_at, shard, member)),
        )

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))


class ShardStream:
    """Images of shards from front to back, without seeking: for pipes, compressed tars and slow disks.

    Args:
        shards: as for `ShardDataset`; also ``.tar.gz`` and the like when named outright.
        name: the data set's name; the folder's when None.

    Attributes:
        missing: files without their other half, known after reading.

    Raises:
        DataError: no shard; while reading, a damaged one.
    """

    def __init__(self, shards: Shards, *, name: str | None = None) -> None:
        self.shards = tuple(find_shards(shards))
        self.name = name or self.shards[0].resolve().parent.name
        self.missing: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Sample]:
        self.missing = ()
        for shard in self.shards:
            yield from self._read(shard)

    def _read(self, shard: Path) -> Iterator[Sample]:
        waiting: dict[str, tuple[str, bytes]] = {}
        with opened_tar(shard, "r|*") as tar:
            for key, name, content in _members(tar):
                if key not in waiting or _is_json(waiting[key][0]) == _is_json(name):
                    waiting[key] = (name, content)
                    continue
                halves = dict([waiting.pop(key), (name, content)])
                image = next(each for each in halves if not _is_json(each))
                document = next(halves[each] for each in halves if _is_json(each))
                yield Sample(
                    source=self.name,
                    key=key,
                    file_name=image,
                    load_bytes=partial(given_bytes, halves[image]),
                    load_record=StoredDocument(
                        layout="sa1b", load=partial(_parsed, document, f"{key}.json in {shard}")
                    ),
                )
        self.missing += tuple(f"{shard.name}: {name} has no other half" for name, _ in waiting.values())


def find_shards(shards: Shards) -> list[Path]:
    """The shards that are meant.

    Raises:
        DataError: none.
    """
    if isinstance(shards, str | Path):
        path = Path(shards)
        found = shard_paths(path) if path.is_dir() else [path]
        if not found:
            raise none_found("tar shards (*.tar)", path)
        return found
    several: Iterable[Path] = (Path(shard) for shard in shards)
    if not (chosen := list(several)):
        raise DataError("expected one tar shard or more; got an empty list. Name a folder or files.")
    return chosen


def _members(tar: tarfile.TarFile) -> Iterator[tuple[str, str, bytes]]:
    """Key, file name without folders, and content."""
    for info in tar:
        kind = member_kind(info.name) if info.isreg() else None
        file = tar.extractfile(info) if kind is not None else None
        if kind is not None and file is not None:
            yield kind[0], PurePosixPath(info.name).name, file.read()


def _is_json(name: str) -> bool:
    return name.lower().endswith(".json")


def _document_at(shard: Path, member: Member) -> Document:
    return _parsed(read_at(shard, member.json_at), f"{member.key}.json in {shard}")


def _parsed(content: bytes, name: str) -> Document:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{name} must be JSON; got {error}. The file is damaged: get the shard anew.") from error
    return mapping(name, value)
