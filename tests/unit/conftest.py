"""Small data packs in the real formats, written into a temporary folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.io import savemat

HEIGHT, WIDTH = 40, 60
HASH_TRAIN, HASH_HELD_OUT = ("a.png", "b.png"), ("img10.png", "img12.png")
"""File names whose SHA-1 is, and is not, divisible by 10: checked by a test."""


def photo(seed: int) -> NDArray[np.uint8]:
    """A noise picture with a red disc."""
    rgb = np.random.default_rng(seed).integers(0, 90, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    rgb[disc(20, 15, 10)] = (230, 30, 40)
    return rgb


def disc(x: int, y: int, radius: int) -> NDArray[np.bool_]:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return np.asarray((columns - x) ** 2 + (rows - y) ** 2 <= radius**2)


def save_image(path: Path, pixels: NDArray[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def write_bsds(root: Path) -> None:
    """Two images per split; annotator one sees two segments, annotator two sees three."""
    for split in ("train", "val"):
        for index in range(2):
            save_image(root / "bsds500/images" / split / f"{split}{index}.jpg", photo(index))
            one = np.ones((HEIGHT, WIDTH), np.uint16)
            one[disc(20, 15, 10)] = 2
            two = one.copy()
            two[:, 50:] = 3
            cells = np.empty((1, 2), dtype=object)
            for cell, segmentation in enumerate((one, two)):
                cells[0, cell] = {"Segmentation": segmentation, "Boundaries": np.zeros_like(segmentation)}
            target = root / "bsds500/groundTruth" / split / f"{split}{index}.mat"
            target.parent.mkdir(parents=True, exist_ok=True)
            savemat(target, {"groundTruth": cells})


def write_nuclei(root: Path) -> None:
    """Two nuclei per image, the second with a number that needs 16 bits."""
    for index, name in enumerate((*HASH_TRAIN, *HASH_HELD_OUT)):
        save_image(root / "dsb2018/images" / name, photo(index))
        labels = np.zeros((HEIGHT, WIDTH), np.uint16)
        labels[disc(20, 15, 10)] = 1
        labels[disc(50, 30, 5)] = 300
        save_image(root / "dsb2018/labels" / name, labels)


def write_camvid(root: Path) -> None:
    """Per image: one sky, two cars, a void stripe."""
    for split in ("train", "val"):
        for index in range(2):
            save_image(root / "camvid" / split / "images" / f"{split}{index}.jpg", photo(index))
            labels = np.zeros((HEIGHT, WIDTH), np.uint8)
            labels[disc(15, 15, 8)] = 8
            labels[disc(45, 15, 8)] = 8
            labels[35:] = 11
            save_image(root / "camvid" / split / "labels" / f"{split}{index}.png", labels)


def write_coco(root: Path) -> None:
    """Per image one polygon, one RLE and one crowd region; the first image has none."""
    names = (*HASH_TRAIN, *HASH_HELD_OUT)
    square = [10.0, 5.0, 30.0, 5.0, 30.0, 25.0, 10.0, 25.0]
    column = {"size": [HEIGHT, WIDTH], "counts": [0, HEIGHT * 4, HEIGHT * (WIDTH - 4)]}
    for pack, annotation_file, folder in (
        ("coco", "annotations/instances_train2017.json", "train2017"),
        ("coco-person", "annotations/instances.json", "images"),
    ):
        content: dict[str, Any] = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "thing"}]}
        for index, name in enumerate(names):
            save_image(root / pack / folder / name, photo(index))
            record = {"id": index, "file_name": name, "height": HEIGHT, "width": WIDTH}
            content["images"].insert(0, record)
            shapes: list[tuple[Any, int]] = [([square], 0), (column, 0), (column, 1)]
            for segmentation, crowd in shapes if index else []:
                content["annotations"].append(
                    {
                        "id": len(content["annotations"]),
                        "image_id": index,
                        "category_id": 1,
                        "segmentation": segmentation,
                        "iscrowd": crowd,
                    }
                )
        target = root / pack / annotation_file
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(content), encoding="utf-8")


@pytest.fixture
def packs_root(tmp_path: Path) -> Path:
    """A folder with all five packs, two training and two held-out images each."""
    root = tmp_path / "packs"
    for write in (write_bsds, write_nuclei, write_camvid, write_coco):
        write(root)
    return root
