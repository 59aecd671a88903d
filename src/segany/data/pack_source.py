"""The labelled packs, BSDS500 with its ``.mat`` files among them, as samples."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Literal

from segany.data.packs import PackImage, Part, iter_pack
from segany.data.sample import Sample, read_file
from segany.masks.rle import encode
from segany.records.ids import image_id_for
from segany.records.record import ImageRecord, MaskRecord

WhichPart = Literal["train", "heldout", "all"]


class PackSource:
    """One pack, sorted by key; see `segany.data.packs` for what is held out.

    Where several people annotated an image, their masks stand one after the other, each with
    ``attributes={"annotator": number}``.

    Args:
        name: one of `segany.data.packs.PACKS`.
        root: the folder that holds the packs, so that ``root/name`` exists.
        part: "train", "heldout", or "all" of it.
        min_area: masks of fewer pixels are left out.

    Raises:
        DataError: unknown pack, or an incomplete one.
    """

    missing: tuple[str, ...] = ()

    def __init__(self, name: str, root: str | Path, *, part: WhichPart = "train", min_area: int = 1) -> None:
        self.name = name
        parts: tuple[Part, ...] = ("train", "heldout") if part == "all" else (part,)
        images = [image for one in parts for image in iter_pack(name, root, one)]
        self._images = sorted(images, key=lambda image: image.key)
        self._min_area = min_area

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> Sample:
        return sample_of(self._images[index], self._min_area)

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))


def sample_of(image: PackImage, min_area: int = 1) -> Sample:
    """A pack's image as a sample."""
    return Sample(
        source=image.pack,
        key=PurePosixPath(image.key).with_suffix("").as_posix(),
        file_name=image.path.name,
        load_bytes=partial(read_file, image.path),
        load_record=partial(_record, image, min_area),
    )


def _record(image: PackImage, min_area: int) -> ImageRecord:
    groups = image.mask_groups(min_area)
    masks = [
        MaskRecord.from_mask(encode(mask), attributes={"annotator": number} if len(groups) > 1 else None)
        for number, group in enumerate(groups)
        for mask in group
    ]
    height, width = masks[0].size_hw if masks else image.size_hw
    return ImageRecord(
        image_id=image_id_for(image.path.name, image.path),
        width=width,
        height=height,
        file_name=image.path.name,
        annotations=tuple(masks),
    )
