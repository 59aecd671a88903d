"""From a path to samples: the format is told, or seen from what lies there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from segany.core.errors import DataError, OptionError
from segany.data.coco import CocoDataset, Crowd
from segany.data.exchange.labelme import is_labelme
from segany.data.exchange.source import CVAT_FILE, LABEL_STUDIO_FILE, open_cvat, open_label_studio, open_labelme
from segany.data.folders import walk_files
from segany.data.label_maps import FOLDERS, LabelMaps, Labels
from segany.data.pack_source import PackSource, WhichPart
from segany.data.packs import PACKS
from segany.data.png_folders import TABLE, PngFolders
from segany.data.sa1b import NOT_IMAGES, SA1BFolder
from segany.data.sample import SampleStream
from segany.data.shard_format import SHARD_ENDING, shard_paths
from segany.data.shard_readers import ShardDataset, ShardStream
from segany.records._checks import read_json

SourceFormat = Literal["sa1b", "shards", "coco", "labelmap", "png", "pack", "labelme", "cvat", "labelstudio"]

_PACK_SIGNS = {
    "bsds500": "groundTruth",
    "dsb2018": "labels",
    "camvid": "train/labels",
    "coco": "annotations/instances_train2017.json",
    "coco-person": "annotations/instances.json",
}
"""What a pack's folder holds, besides its name, that tells it from another data set of that name."""
LARGEST_LABELME = 64 << 20
"""Bytes; a larger JSON is not looked into before it is read as COCO."""
_COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """How to read a data set; what a format does not know is left alone."""

    images: Path | None = None
    """Folder of the images, where they do not lie with the annotations."""
    part: WhichPart = "train"
    """Of a pack: "train", "heldout" or "all"."""
    crowd: Crowd = "skip"
    """Of COCO: what happens to crowd regions, "skip" or "keep"."""
    labels: Labels = "instance"
    """Of label maps: what a number means, "instance" or "class"."""
    void: Sequence[int] = ()
    """Of label maps: numbers that are no mask."""


def open_source(
    path: str | Path, *, format: SourceFormat | None = None, options: SourceOptions | None = None
) -> SampleStream:
    """The samples at a path.

    Args:
        path: a folder, a COCO JSON or a tar.
        format: how they are stored; seen from the path when None.
        options: how to read them.

    Returns:
        With random access (`SampleSource`) for everything but compressed tars.

    Raises:
        DataError: nothing there, no known format, or a damaged one; the message says what was looked for.
    """
    path = Path(path).expanduser()
    chosen = options or SourceOptions()
    if not path.exists():
        raise DataError(f"expected a data set at {path}; there is nothing. Check the path.")
    return _OPENERS[format or detect_format(path)](path, chosen)


def detect_format(path: Path) -> SourceFormat:
    """How the data set at a path is stored.

    Raises:
        DataError: nothing that is known.
    """
    if path.is_file():
        if path.name.lower().endswith((SHARD_ENDING, *_COMPRESSED)):
            return "shards"
        if path.suffix.lower() == ".xml":
            return "cvat"
        if path.suffix.lower() == ".json":
            return _json_format(path)
    elif _is_pack(path.resolve()):
        return "pack"
    else:
        for format, looks_so in _SIGNS.items():
            if looks_so(path):
                return format
    raise DataError(
        "expected a folder of sa_N.jpg and sa_N.json, a folder of *.tar shards, a COCO JSON or a folder with one, "
        f"images/ with labels/, folders with {TABLE}, a file of CVAT, Label Studio or LabelMe, or a pack "
        f"({', '.join(PACKS)}); {path} looks like none. "
        "Name its format with --format, and where the images lie with --images."
    )


def _json_format(path: Path) -> SourceFormat:
    """COCO is an object, as is LabelMe, but of one image; Label Studio is a list."""
    try:
        with path.open("rb") as file:
            if file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"["):
                return "labelstudio"
        small = path.stat().st_size <= LARGEST_LABELME
        return "labelme" if small and is_labelme(read_json(path)) else "coco"
    except (OSError, DataError):
        return "coco"


def _has_labelme(folder: Path) -> bool:
    """Whether the first JSON of a folder is LabelMe's."""
    found = [path for path in walk_files(folder, (".json",)) if path.name not in NOT_IMAGES]
    return bool(found) and _json_format(found[0]) == "labelme"


def _is_pack(folder: Path) -> bool:
    return folder.name in _PACK_SIGNS and (folder / _PACK_SIGNS[folder.name]).exists()


def _annotation_files(folder: Path) -> list[Path]:
    """COCO files at their usual places."""
    named = [folder / "annotations.json", folder / "instances.json"]
    found = [path for path in named if path.is_file()]
    return found or sorted((folder / "annotations").glob("instances*.json")) or sorted(folder.glob("instances*.json"))


_SIGNS: dict[SourceFormat, Callable[[Path], bool]] = {
    "shards": lambda folder: bool(shard_paths(folder)),
    "coco": lambda folder: bool(_annotation_files(folder)),
    "cvat": lambda folder: (folder / CVAT_FILE).is_file(),
    "labelstudio": lambda folder: (folder / LABEL_STUDIO_FILE).is_file(),
    "png": lambda folder: next(folder.rglob(TABLE), None) is not None,
    "labelmap": lambda folder: (folder / "images").is_dir() and any((folder / name).is_dir() for name in FOLDERS),
    "labelme": _has_labelme,
    "sa1b": lambda folder: any(path.name not in NOT_IMAGES for path in folder.rglob("*.json")),
}


def _open_coco(path: Path, options: SourceOptions) -> SampleStream:
    files = [path] if path.is_file() else _annotation_files(path)
    if len(files) != 1:
        names = ", ".join(str(file) for file in files) or "none"
        raise DataError(f"expected one COCO file in {path}; found {names}. Name the JSON file itself.")
    name = path.resolve().name if path.is_dir() else None
    return CocoDataset(files[0], images=options.images, crowd=options.crowd, name=name)


def _open_shards(path: Path, options: SourceOptions) -> SampleStream:
    if path.name.lower().endswith(_COMPRESSED):
        return ShardStream(path)
    return ShardDataset(path)


def _open_pack(path: Path, options: SourceOptions) -> SampleStream:
    name = path.resolve().name
    if name not in PACKS:
        raise OptionError(f"a pack's folder must be named {', '.join(PACKS)}; got {name}.")
    return PackSource(name, path.resolve().parent, part=options.part)


_OPENERS: dict[SourceFormat, Callable[[Path, SourceOptions], SampleStream]] = {
    "sa1b": lambda path, options: SA1BFolder(path, images=options.images),
    "shards": _open_shards,
    "coco": _open_coco,
    "labelmap": lambda path, options: LabelMaps(path, images=options.images, meaning=options.labels, void=options.void),
    "png": lambda path, options: PngFolders(path, images=options.images),
    "pack": _open_pack,
    "cvat": lambda path, options: open_cvat(path, options.images),
    "labelstudio": lambda path, options: open_label_studio(path, options.images),
    "labelme": lambda path, options: open_labelme(path, options.images),
}
