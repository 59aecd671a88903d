"""CVAT's XML, "CVAT for images 1.1": all images in one file, every mask exact as run lengths in its box.

What CVAT does not know (predicted IoU, clicks, ...) is not written; attributes become texts. A run over a folder writes
one file per image under ``cvat_parts/`` (`write`), and `finish` merges them into ``annotations.xml``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from segany.core.errors import DataError
from segany.core.files import atomic_write_text
from segany.masks.foreign_rle import box_row_runs
from segany.records.coco import NO_LABEL
from segany.records.record import ImageRecord, MaskRecord

PARTS, MERGED = "cvat_parts", "annotations.xml"


def to_cvat(records: Iterable[ImageRecord]) -> str:
    """The XML of many images, in the order of their file names; empty masks are left out.

    Raises:
        DataError: a text that XML cannot hold, such as one with control characters.
    """
    kept = sorted(records, key=lambda record: (record.file_name, record.image_id))
    images = [_image(number, record) for number, record in enumerate(kept)]
    return _spelled(images)


def write_cvat(records: Iterable[ImageRecord], path: Path) -> Path:
    """Write one file; it is whole or not there.

    Raises:
        DataError: a text that XML cannot hold.
    """
    atomic_write_text(path, to_cvat(records))
    return path


def target(out_dir: Path, stem: str) -> Path:
    """The part that `write` makes."""
    return out_dir / PARTS / f"{stem}.xml"


def write(record: ImageRecord, out_dir: Path, stem: str) -> list[Path]:
    """One image's part, ``OUT/cvat_parts/STEM.xml``, a CVAT file by itself."""
    path = target(out_dir, stem)
    path.parent.mkdir(parents=True, exist_ok=True)
    return [write_cvat([record], path)]


def finish(out_dir: Path) -> list[Path]:
    """Merge all parts into ``OUT/annotations.xml``."""
    parts = sorted(path for path in (out_dir / PARTS).rglob("*.xml") if not path.name.startswith("."))
    images = [image for part in parts for image in ElementTree.parse(part).getroot().findall("image")]
    images.sort(key=lambda image: image.get("name", ""))
    for number, image in enumerate(images):
        image.set("id", str(number))
    atomic_write_text(out_dir / MERGED, _spelled(images))
    return [out_dir / MERGED]


def _spelled(images: Sequence[ElementTree.Element]) -> str:
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    task = ElementTree.SubElement(ElementTree.SubElement(root, "meta"), "task")
    ElementTree.SubElement(task, "name").text = "Masks made with segany"
    ElementTree.SubElement(task, "size").text = str(len(images))
    ElementTree.SubElement(task, "mode").text = "annotation"
    labels = ElementTree.SubElement(task, "labels")
    for name, attributes in sorted(_labels(images).items()):
        label = ElementTree.SubElement(labels, "label")
        ElementTree.SubElement(label, "name").text = name
        holder = ElementTree.SubElement(label, "attributes")
        for attribute in sorted(attributes):
            told = ElementTree.SubElement(holder, "attribute")
            for tag, text in (("name", attribute), ("mutable", "False"), ("input_type", "text")):
                ElementTree.SubElement(told, tag).text = text
    root.extend(images)
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n'


def _labels(images: Iterable[ElementTree.Element]) -> dict[str, set[str]]:
    """Names of labels, and of the attributes that each has."""
    found: dict[str, set[str]] = {}
    for image in images:
        for shape in image:
            names = found.setdefault(shape.get("label", NO_LABEL), set())
            names |= {attribute.get("name", "") for attribute in shape}
    return found


def _image(number: int, record: ImageRecord) -> ElementTree.Element:
    known = {"id": number, "name": record.file_name, "width": record.width, "height": record.height}
    image = _element("image", known)
    for order, mask in enumerate(record.annotations):
        if mask.area:
            image.append(_mask(order, mask))
    return image


def _mask(order: int, mask: MaskRecord) -> ElementTree.Element:
    runs, (x, y, w, h) = box_row_runs(mask.mask)
    made = "auto" if mask.source in ("model", "automatic") else "manual"
    shape = _element(
        "mask",
        {
            "label": mask.label or NO_LABEL,
            "source": made,
            "occluded": 0,
            "rle": ", ".join(str(run) for run in runs),
            "left": x,
            "top": y,
            "width": w,
            "height": h,
            "z_order": order,
        },
    )
    for name, value in (mask.attributes or {}).items():
        attribute = _element("attribute", {"name": name})
        attribute.text = _text(value if isinstance(value, str) else str(value))
        shape.append(attribute)
    return shape


def _element(tag: str, values: Mapping[str, Any]) -> ElementTree.Element:
    return ElementTree.Element(tag, {key: _text(str(value)) for key, value in values.items()})


def _text(text: str) -> str:
    bad = next((sign for sign in text if not (sign in "\t\n\r" or " " <= sign < "\ud800" or sign >= "\ue000")), None)
    if bad is not None or "\ufffe" in text or "\uffff" in text:
        raise DataError(f"names in XML must have no control characters; got {text[:60]!r}. Rename it.")
    return text
