"""The labelled image packs: one iterator over five layouts, with the part that never trains kept apart.

Held out for ever: BSDS500 ``val``, CamVid ``val``, and of the other packs every image whose file name's SHA-1
(UTF-8, with extension, read as a number) is divisible by 10. Of the rest, the training part, trainings keep one image
in forty to watch themselves by: thresholds and mixtures are chosen on these, and nothing is published.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePath
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from segany.core.errors import DataError

Mask = NDArray[np.bool_]
Part = Literal["train", "heldout", "watched"]
PARTS: tuple[Part, ...] = get_args(Part)
WATCHED_ONE_IN = 40

PACKS = ("bsds500", "dsb2018", "camvid", "coco", "coco-person")
"""Every pack `iter_pack` can read."""

CAMVID_VOID = 11
"""CamVid's pixel value for "unlabelled"; never part of a mask."""

_HELD_OUT_FOLDER = "val"
_FOLDER_SPLIT = ("bsds500", "camvid")
_COCO_LAYOUT = {
    "coco": ("annotations/instances_train2017.json", "train2017"),
    "coco-person": ("annotations/instances.json", "images"),
}


class LabelledImage(Protocol):
    """One image with its masks, wherever it comes from; a `PackImage` is one."""

    @property
    def pack(self) -> str:
        """The set it belongs to."""

    @property
    def key(self) -> str:
        """Unique inside its set and stable."""

    @property
    def path(self) -> Path:
        """For messages."""

    def read(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB."""

    def masks(self, min_area: int = 1) -> list[Mask]:
        """(H, W) boolean masks of at least so many pixels."""


@dataclass(frozen=True, kw_only=True)
class PackImage:
    """One labelled image of a pack; nothing is read before it is asked for. Picklable."""

    pack: str
    """Which pack, one of `PACKS`."""
    key: str
    """Unique inside the pack and stable: the file name, after its split folder where the pack has one."""
    path: Path
    """The image file."""
    load_groups: Callable[[int], list[list[Mask]]]
    """Reads the masks of at least so many pixels, grouped by annotator."""

    def read(self) -> NDArray[np.uint8]:
        """The image as (H, W, 3) uint8 RGB."""
        from segany.transforms.image import read_image

        return np.asarray(read_image(self.path), dtype=np.uint8)

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width in pixels; reads the image."""
        height, width = self.read().shape[:2]
        return height, width

    def mask_groups(self, min_area: int = 1) -> list[list[Mask]]:
        """The masks, one list per annotator; packs other than BSDS500 have one annotator.

        Args:
            min_area: masks of fewer pixels are left out.

        Returns:
            Per annotator the (H, W) boolean masks, in the order of the file.
        """
        return self.load_groups(max(min_area, 1))

    def masks(self, min_area: int = 1) -> list[Mask]:
        """All masks of all annotators: the groups of `mask_groups`, one after the other.

        Args:
            min_area: masks of fewer pixels are left out.
        """
        return [mask for group in self.mask_groups(min_area) for mask in group]


def is_held_out(pack: str, file_name: str | PurePath) -> bool:
    """Whether an image may only be used for published scores.

    Args:
        pack: one of `PACKS`.
        file_name: the image's file name. For ``bsds500`` and ``camvid`` with the split folder in front
            (``val/101085.jpg``, or any path that contains it); for the others the folder does not matter.

    Raises:
        DataError: an unknown pack, or a name without a split folder where one is needed.
    """
    _check_pack(pack)
    name = PurePath(file_name)
    if pack not in _FOLDER_SPLIT:
        return int(hashlib.sha1(name.name.encode("utf-8")).hexdigest(), 16) % 10 == 0
    splits = [part for part in name.parts[:-1] if part in ("train", _HELD_OUT_FOLDER)]
    if not splits:
        raise DataError(
            f"an image of {pack} is held out by its folder, so its name must contain train/ or val/; "
            f"got {str(file_name)!r}."
        )
    return splits[-1] == _HELD_OUT_FOLDER


def is_watched(pack: str, key: str) -> bool:
    """Images of the training part kept from training to watch it, one in 40.

    Args:
        pack: one of `PACKS`.
        key: of the image, as `PackImage.key`.
    """
    digest = hashlib.sha1(f"watch/{pack}/{key}".encode()).hexdigest()
    return int(digest, 16) % WATCHED_ONE_IN == 0


def iter_pack(name: str, root: str | Path, part: Part = "train") -> Iterator[PackImage]:
    """Walk one pack in a fixed order (sorted file names).

    Args:
        name: one of `PACKS`.
        root: the folder that holds the packs, so that ``root/name`` exists.
        part: "train" for everything that may train, "heldout" for the rest, which never meet; "watched" for those
            of "train" that trainings only watch.

    Yields:
        PackImage: images without a single mask included.

    Raises:
        DataError: unknown pack or part, a missing folder or label file, an unreadable annotation file.
    """
    _check_pack(name)
    if part not in PARTS:
        raise DataError(f"part must be one of {', '.join(PARTS)}; got {part!r}.")
    side: Part = "heldout" if part == "heldout" else "train"
    folder = _require_folder(Path(root) / name, name)
    walk = {"bsds500": _iter_bsds, "dsb2018": _iter_nuclei, "camvid": _iter_camvid}.get(name)
    images = walk(folder, side) if walk is not None else _iter_coco(name, folder)
    images = (image for image in images if is_held_out(name, image.key) == (side == "heldout"))
    return (image for image in images if part != "watched" or is_watched(name, image.key))


def _check_pack(name: str) -> None:
    if name not in PACKS:
        raise DataError(f"a pack must be one of {', '.join(PACKS)}; got {name!r}.")


def _require_folder(folder: Path, pack: str) -> Path:
    if not folder.is_dir():
        raise DataError(
            f"pack {pack} needs the folder {folder}, which does not exist. "
            "Point the data root at the folder that holds the packs."
        )
    return folder


def _images(folder: Path, suffix: str, pack: str) -> list[Path]:
    files = sorted(_require_folder(folder, pack).glob(f"*{suffix}"))
    if not files:
        raise DataError(f"pack {pack} needs {suffix} images in {folder}; there are none.")
    return files


def _label_of(image: Path, label: Path, pack: str) -> Path:
    if not label.is_file():
        raise DataError(f"pack {pack}: {image} has no label file; expected {label}. Is the pack complete?")
    return label


def _split(part: str) -> str:
    return _HELD_OUT_FOLDER if part == "heldout" else "train"


# --- BSDS500: one MATLAB file per image, one segmentation of the whole image per annotator


def _iter_bsds(folder: Path, part: str) -> Iterator[PackImage]:
    split = _split(part)
    for path in _images(folder / "images" / split, ".jpg", "bsds500"):
        label = _label_of(path, folder / "groundTruth" / split / f"{path.stem}.mat", "bsds500")
        yield PackImage(pack="bsds500", key=f"{split}/{path.name}", path=path, load_groups=partial(_bsds_groups, label))


def _bsds_groups(label: Path, min_area: int) -> list[list[Mask]]:
    from scipy.io import loadmat

    try:
        annotators = loadmat(str(label))["groundTruth"][0]
        maps = [np.asarray(annotator["Segmentation"][0, 0]) for annotator in annotators]
    except Exception as error:
        raise DataError(f"{label} is not a BSDS500 ground-truth file: {error}") from error
    return [_masks_of_map(segments, min_area) for segments in maps]


def _masks_of_map(label_map: NDArray[Any], min_area: int) -> list[Mask]:
    areas = np.bincount(label_map.ravel())
    areas[0] = 0
    return [label_map == label for label in np.flatnonzero(areas >= min_area)]


# --- Data Science Bowl 2018: one 16-bit instance map per image


def _iter_nuclei(folder: Path, part: str) -> Iterator[PackImage]:
    for path in _images(folder / "images", ".png", "dsb2018"):
        label = _label_of(path, folder / "labels" / path.name, "dsb2018")
        yield PackImage(pack="dsb2018", key=path.name, path=path, load_groups=partial(_nuclei_groups, label))


def _nuclei_groups(label: Path, min_area: int) -> list[list[Mask]]:
    return [_masks_of_map(_read_label_map(label), min_area)]


def _read_label_map(label: Path) -> NDArray[Any]:
    from segany.transforms.image import read_mask

    label_map = np.asarray(read_mask(label))
    if label_map.ndim != 2 or label_map.dtype.kind not in "iu":
        raise DataError(
            f"{label} must be a label map of whole numbers, (H, W); got {label_map.dtype} {label_map.shape}."
        )
    return label_map


# --- CamVid: one class map per image; objects are the connected components of the class regions


def _iter_camvid(folder: Path, part: str) -> Iterator[PackImage]:
    split = _split(part)
    for path in _images(folder / split / "images", ".jpg", "camvid"):
        label = _label_of(path, folder / split / "labels" / f"{path.stem}.png", "camvid")
        yield PackImage(
            pack="camvid", key=f"{split}/{path.name}", path=path, load_groups=partial(_camvid_groups, label)
        )


def _camvid_groups(label: Path, min_area: int) -> list[list[Mask]]:
    import cv2

    class_map = _read_label_map(label)
    masks: list[Mask] = []
    for value in np.unique(class_map):
        if value == CAMVID_VOID:
            continue
        region = (class_map == value).astype(np.uint8)
        masks += _masks_of_map(cv2.connectedComponents(region, connectivity=8)[1], min_area)
    return [masks]


# --- COCO: one annotation file per pack


def _iter_coco(name: str, folder: Path) -> Iterator[PackImage]:
    annotation_name, image_name = _COCO_LAYOUT[name]
    images, segmentations = _read_coco(folder / annotation_name)
    image_folder = _require_folder(folder / image_name, name)
    for record in sorted(images, key=lambda image: str(image["file_name"])):
        path = image_folder / record["file_name"]
        if not path.is_file():
            raise DataError(f"pack {name}: the annotations name {path}, which does not exist.")
        load = partial(_coco_groups, segmentations.get(record["id"], ()), (int(record["height"]), int(record["width"])))
        yield PackImage(pack=name, key=path.name, path=path, load_groups=load)


def _read_coco(path: Path) -> tuple[list[dict[str, Any]], dict[int, tuple[Any, ...]]]:
    """The images, and by image id the segmentations of its annotations without the crowd regions."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        images = list(content["images"])
        segmentations: dict[int, tuple[Any, ...]] = {}
        for annotation in content["annotations"]:
            if annotation.get("iscrowd", 0) == 0:
                known = segmentations.get(annotation["image_id"], ())
                segmentations[annotation["image_id"]] = (*known, annotation["segmentation"])
        for image in images:
            image["id"], image["file_name"], image["height"], image["width"]
    except FileNotFoundError as error:
        raise DataError(f"the annotation file {path} does not exist. Is the pack complete?") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is not a COCO annotation file: {error!r}") from error
    return images, segmentations


def _coco_groups(segmentations: tuple[Any, ...], size_hw: tuple[int, int], min_area: int) -> list[list[Mask]]:
    from segany.masks.coco_segmentation import coco_segmentation_to_mask

    masks = (coco_segmentation_to_mask(segmentation, size_hw) for segmentation in segmentations)
    return [[mask for mask in masks if int(mask.sum()) >= min_area]]
