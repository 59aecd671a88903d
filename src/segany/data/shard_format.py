"""What a tar shard is: pairs of ``KEY.jpg`` and ``KEY.json``, side by side, as SA-1B and WebDataset have them."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from segany.core.errors import DataError
from segany.core.files import atomic_write_json, sha256_file
from segany.data.folders import IMAGE_ENDINGS, natural
from segany.records._checks import integer, listing, mapping, need, read_json, text

SHARD_ENDING = ".tar"
MANIFEST = "manifest.json"
SIDECAR_ENDING = ".tar.json"
"""Beside every shard this package writes: its line of the manifest and where its members lie."""


@dataclass(frozen=True)
class Member:
    """One image of a shard: where its two files lie.

    Attributes:
        key: name of both files without ending, with folders as in the tar.
        image_name: the image file's name without folders.
        image_at: first byte and length of the image file.
        json_at: first byte and length of the JSON.
        image_id: the image's number; -1 where it was not read.
        masks: number of masks; -1 where it was not read.
    """

    key: str
    image_name: str
    image_at: tuple[int, int]
    json_at: tuple[int, int]
    image_id: int = -1
    masks: int = -1


@dataclass(frozen=True)
class ShardEntry:
    """One shard's line of the manifest.

    Attributes:
        name: file name.
        sha256: of the whole file, hex.
        bytes: its length.
        images: how many images.
        masks: how many masks.
        ids: the images' numbers in their order.
    """

    name: str
    sha256: str
    bytes: int
    images: int
    masks: int
    ids: tuple[int, ...]

    @classmethod
    def from_dict(cls, value: Any) -> ShardEntry:
        """Checked values of a manifest.

        Raises:
            DataError: a key is missing or a value of the wrong kind.
        """
        row = mapping("a shard's entry", value)
        need("a shard's entry", row, ("name", "sha256", "bytes", "images", "masks", "ids"))
        counts = {key: integer(key, row[key]) for key in ("bytes", "images", "masks")}
        ids = tuple(integer("ids", number) for number in listing("ids", row["ids"]))
        return cls(name=text("name", row["name"]), sha256=text("sha256", row["sha256"]), ids=ids, **counts)


def shard_paths(folder: Path) -> list[Path]:
    """The finished shards of a folder, in their order."""
    found = (path for path in folder.glob(f"*{SHARD_ENDING}") if not path.name.startswith("."))
    return sorted(found, key=lambda path: natural(path.name))


def sidecar_of(shard: Path) -> Path:
    """Where a shard's own entry lies."""
    return shard.with_name(shard.name + ".json")


@contextmanager
def opened_tar(shard: Path, mode: str = "r:") -> Iterator[tarfile.TarFile]:
    """A tar for reading; what is wrong with it becomes a `DataError`."""
    try:
        with tarfile.open(shard, mode) as tar:  # type: ignore[call-overload]
            yield tar
    except FileNotFoundError:
        raise DataError(f"expected a tar shard at {shard}; there is none. Check the path.") from None
    except (tarfile.TarError, EOFError, OSError) as error:
        hint = "It is cut off, damaged, or no tar: get it anew."
        if mode == "r:" and _is_compressed(shard):
            hint = "It is compressed: unpack it first (gunzip), since a compressed tar can only be streamed."
        raise DataError(f"expected an SA-1B tar shard at {shard}; it cannot be read: {error}. {hint}") from error


def _is_compressed(shard: Path) -> bool:
    if not shard.is_file():
        return False
    with shard.open("rb") as file:
        head = file.read(6)
    return head.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ"))


def member_kind(name: str) -> tuple[str, str] | None:
    """Key and ending ("json" or an image's, in lower case) of a member; None for anything else."""
    path = PurePosixPath(name)
    key = path.with_suffix("").as_posix()
    ending = path.suffix.lower()
    if path.name.startswith(".") or path.is_absolute() or ".." in path.parts:
        return None
    if ending == ".json" or ending in IMAGE_ENDINGS:
        return key, ending.removeprefix(".")
    return None


def scan_shard(shard: Path) -> tuple[list[Member], tuple[str, ...]]:
    """Where every image of a shard lies, from the tar's headers alone.

    Returns:
        The complete pairs in the order of their first file, and a line for every file without its other half.

    Raises:
        DataError: no tar, cut off, or compressed.
    """
    found: dict[str, dict[str, tuple[str, int, int]]] = {}
    with opened_tar(shard) as tar:
        for info in tar:
            kind = member_kind(info.name) if info.isreg() else None
            if kind is not None:
                half = "json" if kind[1] == "json" else "image"
                found.setdefault(kind[0], {})[half] = (PurePosixPath(info.name).name, info.offset_data, info.size)
    pairs, alone = [], []
    for key, halves in found.items():
        if len(halves) == 2:
            (name, *image_at), (_, *json_at) = halves["image"], halves["json"]
            pairs.append(Member(key, name, (image_at[0], image_at[1]), (json_at[0], json_at[1])))
        else:
            alone.append(f"{shard.name}: {next(iter(halves.values()))[0]} has no other half")
    return pairs, tuple(alone)


def read_at(shard: Path, place: tuple[int, int]) -> bytes:
    """Bytes of a shard.

    Raises:
        DataError: the shard is gone, or shorter than its index says.
    """
    start, length = place
    try:
        with shard.open("rb") as file:
            file.seek(start)
            content = file.read(length)
    except OSError as error:
        raise DataError(f"expected the tar shard {shard}; got {error.strerror or error}. Check the path.") from error
    if len(content) != length:
        raise DataError(
            f"expected {length:,} bytes at {start:,} in {shard}; got {len(content):,}. "
            "The shard is cut off or was replaced: get it anew, and open the data set again."
        )
    return content


def write_sidecar(shard: Path, entry: ShardEntry, members: list[Member]) -> None:
    """Write a shard's own entry beside it."""
    rows = [[m.key, m.image_name, *m.image_at, *m.json_at, m.image_id, m.masks] for m in members]
    atomic_write_json(sidecar_of(shard), {**asdict(entry), "members": rows})


def read_sidecar(shard: Path) -> tuple[ShardEntry, list[Member]] | None:
    """A shard's own entry and its members; None when there is none, or one of another file.

    Raises:
        DataError: the sidecar is damaged.
    """
    path = sidecar_of(shard)
    if not path.is_file():
        return None
    content = read_json(path)
    try:
        entry = ShardEntry.from_dict(content)
        rows = listing("members", content.get("members"))
        members = [Member(r[0], r[1], (r[2], r[3]), (r[4], r[5]), r[6], r[7]) for r in rows]
    except (DataError, IndexError, TypeError, KeyError) as error:
        raise DataError(f"{path}: {error} Delete it; it is made again from the shard.") from error
    return (entry, members) if entry.bytes == shard.stat().st_size else None


def describe_shard(shard: Path) -> tuple[ShardEntry, list[Member]]:
    """A shard's entry, read from the shard itself.

    Raises:
        DataError: no shard, or a JSON inside it is damaged.
    """
    import json

    members: list[Member] = []
    for member in scan_shard(shard)[0]:
        try:
            document = json.loads(read_at(shard, member.json_at))
            number, masks = int(document["image"]["image_id"]), len(document["annotations"])
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{shard}: {member.key}.json is not an SA-1B file: {error!r}.") from error
        members.append(Member(member.key, member.image_name, member.image_at, member.json_at, number, masks))
    return entry_of(shard, members), members


def entry_of(shard: Path, members: list[Member], *, name: str | None = None) -> ShardEntry:
    """The entry of a shard whose members are known; hashes the file."""
    return ShardEntry(
        name=name or shard.name,
        sha256=sha256_file(shard),
        bytes=shard.stat().st_size,
        images=len(members),
        masks=sum(member.masks for member in members),
        ids=tuple(member.image_id for member in members),
    )


def write_manifest(folder: Path) -> Path:
    """Write ``manifest.json`` over all shards of a folder.

    Several workers may call it at any time: whoever writes last has seen every finished shard.

    Raises:
        DataError: a shard or its sidecar is damaged.
    """
    path = folder / MANIFEST
    written: tuple[str, ...] | None = None
    while written != (present := tuple(shard.name for shard in shard_paths(folder))):
        entries = [_entry(folder / name) for name in present]
        total = {"images": sum(e.images for e in entries), "masks": sum(e.masks for e in entries)}
        atomic_write_json(path, {"version": 1, **total, "shards": [asdict(e) for e in entries]}, indent=1)
        written = present
    return path


def _entry(shard: Path) -> ShardEntry:
    known = read_sidecar(shard)
    if known is None:
        known = describe_shard(shard)
        write_sidecar(shard, *known)
    return known[0]


def read_manifest(folder: Path) -> list[ShardEntry]:
    """The entries of ``manifest.json``.

    Raises:
        DataError: missing or damaged.
    """
    path = folder / MANIFEST
    content = read_json(path)
    try:
        return [ShardEntry.from_dict(row) for row in listing("shards", content.get("shards"))]
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def add_member(tar: tarfile.TarFile, name: str, content: bytes, file: IO[bytes]) -> None:
    """Append a file whose bytes depend on its name and content alone.

    Args:
        tar: open for writing.
        name: of the member.
        content: its bytes.
        file: the bytes again, for reading.
    """
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = len(content), 0, 0o644
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    tar.addfile(info, file)
