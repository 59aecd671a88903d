"""Every file format a record can be written to, by the name the command line uses.

``WRITERS[name].write(record, out_dir, stem)`` writes one image and returns the paths; each is whole or not
there. ``target(out_dir, stem)`` is the path whose presence says that the image is done. ``finish(out_dir)``
closes a run over many images and returns what it wrote; COCO, CVAT and Label Studio merge their parts there. It may be
called again after more images.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from segany.core.errors import DataError

if TYPE_CHECKING:
    from segany.records.record import ImageRecord


@dataclass(frozen=True)
class Format:
    """A file format; its module is imported on first use."""

    module: str
    """Where `write`, `target` and perhaps `finish` live."""
    summary: str
    """What it writes, in a few words."""

    def __call__(self, record: ImageRecord, out_dir: Path, stem: str) -> list[Path]:
        """The same as `write`."""
        return self.write(record, out_dir, stem)

    def write(self, record: ImageRecord, out_dir: Path, stem: str) -> list[Path]:
        """Write one image's masks.

        Args:
            record: the image and its masks.
            out_dir: folder for the whole run; made when missing.
            stem: the image's name without ending, unique in the run; may have folders in it.

        Returns:
            What was written.

        Raises:
            DataError: a stem that leaves the folder, or values that are not plain JSON.
        """
        path = self.target(out_dir, stem)
        path.parent.mkdir(parents=True, exist_ok=True)
        paths: list[Path] = self._module.write(record, Path(out_dir), stem)
        return paths

    def target(self, out_dir: Path, stem: str) -> Path:
        """The path whose presence says that the image is done."""
        if not stem or PurePath(stem).is_absolute() or ".." in PurePath(stem).parts:
            raise DataError(f"a file's stem must be a name inside the output folder; got {stem!r}.")
        path: Path = self._module.target(Path(out_dir), stem)
        return path

    def finish(self, out_dir: Path) -> list[Path]:
        """Close a run over many images; what it wrote."""
        close = getattr(self._module, "finish", None)
        return list(close(Path(out_dir))) if close else []

    @property
    def _module(self) -> Any:
        return import_module(self.module)


WRITERS: dict[str, Format] = {
    "sa1b": Format("segany.records.sa1b", "one JSON per image, SA-1B's schema"),
    "coco": Format("segany.records.coco", "one COCO dataset, annotations.json"),
    "png": Format("segany.records.formats.png_folder", "a folder per image, one PNG per mask, metadata.csv"),
    "labelmap": Format("segany.records.formats.label_map", "one 16-bit picture of mask numbers per image"),
    "polygons": Format("segany.records.formats.polygons", "one JSON of outlines with holes per image"),
    "yolo": Format("segany.records.formats.yolo", "YOLO-seg text per image, classes.txt"),
    "labelme": Format("segany.records.formats.labelme", "one LabelMe JSON per image"),
    "cvat": Format("segany.records.formats.cvat", "one CVAT XML, annotations.xml"),
    "labelstudio": Format("segany.records.formats.labelstudio", "one Label Studio JSON, labelstudio.json"),
}
