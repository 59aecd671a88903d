"""What every reader gives: labelled images that read nothing before they are asked."""

# H, W image height and width

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from segany.core.errors import DataError, ImageError
from segany.masks.rle import BoolArray, Rle, decode
from segany.records.coco import from_coco
from segany.records.record import ImageRecord
from segany.records.sa1b import from_sa1b

Rgb = NDArray[np.uint8]
Document = Mapping[str, Any]
Layout = Literal["sa1b", "coco"]

_PARSERS: dict[Layout, Callable[[Document], ImageRecord]] = {
    "sa1b": from_sa1b,
    "coco": lambda document: from_coco(document)[0],
}


@dataclass(frozen=True, kw_only=True)
class StoredDocument:
    """Annotations of one image as they lie in a file, not yet checked."""

    layout: Layout
    """"sa1b": one SA-1B file. "coco": a COCO dataset of one image."""
    load: Callable[[], Document]
    """Reads it."""

    def __call__(self) -> ImageRecord:
        """The checked record."""
        return _PARSERS[self.layout](self.load())


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One labelled image. Picklable; what was parsed is kept as long as the sample itself."""

    source: str
    """The data set's name."""
    key: str
    """Unique in its source and stable: the file's name without ending, with folders where there are any."""
    file_name: str
    """The image file's name without folders."""
    load_bytes: Callable[[], bytes]
    """Reads the image file as it is."""
    load_record: Callable[[], ImageRecord]
    """Reads the annotations; a `StoredDocument` where they lie in a file of a known schema."""

    def __post_init__(self) -> None:
        if not self.key or self.key.startswith("/") or ".." in self.key.split("/"):
            raise DataError(
                f"a sample's key must be a name inside its data set; got {self.key!r} in {self.source}. "
                "Remove '..' and leading '/' from the file names in its annotations."
            )

    @property
    def name(self) -> str:
        """For messages: the data set and the image."""
        return f"{self.source}: {self.key}"

    @cached_property
    def record(self) -> ImageRecord:
        """Everything that is known about the image, checked.

        Raises:
            DataError: the annotations are missing, damaged or contradict themselves.
        """
        try:
            return self.load_record()
        except DataError as error:
            raise DataError(f"{self.name}: {error}") from error
        except ImageError as error:
            raise DataError(f"{self.name}: {error}") from error

    @property
    def image_id(self) -> int:
        """The image's number in its source."""
        return self.record.image_id

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width as the annotations have them."""
        return self.record.size_hw

    @property
    def rles(self) -> tuple[Rle, ...]:
        """The masks as compressed RLE, not decoded."""
        return tuple(mask.segmentation for mask in self.record.annotations)

    def mask(self, index: int) -> BoolArray:
        """Mask `index`, (H, W) boolean, decoded anew at each call."""
        return decode(self.record.annotations[index].segmentation)

    def load_rgb(self) -> Rgb:
        """The image as (H, W, 3) uint8 RGB.

        Raises:
            DataError: missing, damaged, or of another size than the annotations say.
        """
        from segany.transforms.encoded import decode_image

        try:
            rgb = decode_image(self.load_bytes(), self.file_name)
        except ImageError as error:
            raise DataError(f"{self.name}: {error}") from error
        if rgb.shape[:2] != self.size_hw:
            raise DataError(
                f"{self.name}: the image must have the size its annotations say, (H, W) = {self.size_hw}; got "
                f"{rgb.shape[:2]}. The file was resized or turned (EXIF) after it was annotated: get the original."
            )
        return rgb


@runtime_checkable
class SampleStream(Protocol):
    """Samples one after the other."""

    @property
    def name(self) -> str:
        """The data set's name."""
        ...

    @property
    def missing(self) -> tuple[str, ...]:
        """What had to be left out because a half was not there, one line each."""
        ...

    def __iter__(self) -> Iterator[Sample]: ...


@runtime_checkable
class SampleSource(SampleStream, Protocol):
    """Samples in a fixed order with random access; safe to share between worker processes."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...


def read_file(path: Path) -> bytes:
    """A file's bytes.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(
            f"expected a readable file at {path}; got {error.strerror or error}. Check that the data set is complete."
        ) from error


def given_bytes(content: bytes) -> bytes:
    """The bytes themselves; for samples that are in memory."""
    return content


def given_document(content: Document) -> Document:
    """The document itself; for samples that are in memory."""
    return content
