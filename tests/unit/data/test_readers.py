"""Every reader gives the same masks for the same data, and says what is wrong with broken data."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segany.core.errors import DataError
from segany.data.coco import CocoDataset
from segany.data.convert import TargetFormat, TargetOptions, open_target
from segany.data.label_maps import LabelMaps
from segany.data.open import SourceOptions, detect_format, open_source
from segany.data.pack_source import PackSource
from segany.data.packs import PACKS
from segany.data.png_folders import PngFolders
from segany.data.sa1b import SA1BFolder
from segany.data.sample import SampleSource
from segany.records.ids import image_id_for


def two_coco_images(folder: Path, **changes: Any) -> Path:
    """A COCO file with a polygon, two spellings of RLE and a crowd region; one image is not on disk."""
    square = {"id": 1, "image_id": 7, "category_id": 3, "segmentation": [[2, 1, 6, 1, 6, 4, 2, 4]], "iscrowd": 0}
    runs = {"size": [8, 10], "counts": [0, 16, 64]}
    content = {
        "images": [
            {"id": 7, "file_name": "b.jpg", "height": 8, "width": 10},
            {"id": 5, "file_name": "a.png", "height": 8, "width": 10},
            {"id": 9, "file_name": "gone.jpg", "height": 8, "width": 10},
        ],
        "annotations": [
            square,
            {"id": 2, "image_id": 7, "category_id": 4, "segmentation": runs, "iscrowd": 1},
            {"id": 3, "image_id": 7, "category_id": 4, "segmentation": runs, "iscrowd": 0},
        ],
        "categories": [{"id": 3, "name": "cup"}, {"id": 4, "name": "sky"}],
        **changes,
    }
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ("a.png", "b.jpg"):
        Image.fromarray(rng.integers(0, 255, (8, 10, 3), dtype=np.uint8)).save(folder / "images" / name)
    path = folder / "annotations.json"
    path.write_text(json.dumps(content))
    return path


def test_coco_polygons_rle_and_crowds(tmp_path: Path) -> None:
    source = CocoDataset(two_coco_images(tmp_path))
    assert [sample.key for sample in source] == ["a", "b"]
    empty, full = source
    assert empty.rles == () and empty.image_id == 5
    assert full.image_id == 7 and full.size_hw == (8, 10)
    assert [record.label for record in full.record.annotations] == ["cup", "sky"]
    assert full.mask(0).sum() == 12 and full.mask(0)[1:4, 2:6].all()
    assert full.mask(1)[:, :2].all() and full.mask(1).sum() == 16
    assert full.load_rgb().shape == (8, 10, 3)
    assert source.crowds == 1
    assert len(source.missing) == 1 and "gone.jpg" in source.missing[0]


def test_coco_crowds_can_be_kept(tmp_path: Path) -> None:
    source = CocoDataset(two_coco_images(tmp_path), crowd="keep")
    assert source.crowds == 0
    assert [record.extra.get("iscrowd") for record in source[1].record.annotations] == [None, 1, None]


def test_lvis_images_are_found_by_their_address(tmp_path: Path) -> None:
    images = [{"id": 1, "coco_url": "http://images.example/val2017/a.png", "height": 8, "width": 10}]
    path = two_coco_images(tmp_path, images=images, annotations=[])
    assert [sample.file_name for sample in CocoDataset(path)] == ["a.png"]


def test_coco_images_in_their_usual_places(tmp_path: Path) -> None:
    path = two_coco_images(tmp_path)
    (tmp_path / "annotations").mkdir()
    moved = path.rename(tmp_path / "annotations" / "instances_train2017.json")
    (tmp_path / "images").rename(tmp_path / "train2017")
    assert len(CocoDataset(moved)) == 2
    assert detect_format(tmp_path) == "coco"


def test_coco_images_whose_names_differ_in_the_ending_have_two_keys(tmp_path: Path) -> None:
    path = two_coco_images(tmp_path, annotations=[])
    content = json.loads(path.read_text())
    content["images"] = [{**content["images"][0], "id": n, "file_name": f} for n, f in ((1, "b.jpg"), (2, "b.png"))]
    path.write_text(json.dumps(content))
    Image.new("RGB", (10, 8)).save(tmp_path / "images" / "b.png")
    assert [sample.key for sample in CocoDataset(path)] == ["b_1", "b_2"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"images": [{"id": 1, "file_name": "../secret.jpg", "height": 8, "width": 10}]}, "file_name"),
        ({"images": [{"id": 7, "file_name": "b.jpg"}]}, "width"),
        ({"images": [{"id": 7, "file_name": "b.jpg", "height": 8, "width": 10}] * 2}, "7 comes twice"),
        ({"annotations": [{"image_id": 99, "segmentation": []}]}, "99"),
        ({"annotations": {}}, "list"),
        ({"images": [{"id": 7, "file_name": "gone.jpg", "height": 8, "width": 10}], "annotations": []}, "gone.jpg"),
    ],
)
def test_broken_coco_files_are_answered(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        CocoDataset(two_coco_images(tmp_path, **changes))


def test_a_mask_that_cannot_be_read_names_its_image(tmp_path: Path) -> None:
    bad = {"id": 1, "image_id": 7, "category_id": 3, "segmentation": {"size": [9, 9], "counts": [81]}}
    source = CocoDataset(two_coco_images(tmp_path, annotations=[bad]))
    with pytest.raises(DataError, match=r"b: .*annotation 0.*\[8, 10\]"):
        _ = source[1].record


def test_a_photo_of_another_size_is_refused(tmp_path: Path) -> None:
    source = CocoDataset(two_coco_images(tmp_path))
    Image.new("RGB", (10, 9)).save(tmp_path / "images" / "b.jpg")
    with pytest.raises(DataError, match=r"\(8, 10\).*\(9, 10\)"):
        source[1].load_rgb()
    (tmp_path / "images" / "b.jpg").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"b\.jpg.*cannot be decoded"):
        source[1].load_rgb()


@pytest.fixture
def label_maps(tmp_path: Path) -> Path:
    """Two photos, one with a 16-bit map, one with an 8-bit one."""
    root = tmp_path / "maps"
    (root / "images").mkdir(parents=True)
    (root / "labels").mkdir()
    for index, kind in enumerate((np.uint16, np.uint8)):
        Image.new("RGB", (12, 9), (index, 0, 0)).save(root / "images" / f"p{index}.png")
        labels = np.zeros((9, 12), kind)
        labels[1:3, 1:4] = 300 if kind == np.uint16 else 200
        labels[5:8, 2:9] = 7
        labels[5:8, 5] = 0
        Image.fromarray(labels).save(root / "labels" / f"p{index}.png")
    return root


def test_label_maps_of_8_and_16_bits(label_maps: Path) -> None:
    source = LabelMaps(label_maps)
    assert [sorted(record.area for record in sample.record.annotations) for sample in source] == [[6, 18]] * 2
    assert source.missing == ()
    first = source[0]
    photo = label_maps / "images" / "p0.png"
    assert first.image_id == image_id_for("p0.png", photo.read_bytes())
    assert first.load_bytes() == photo.read_bytes()


def test_label_maps_of_classes_are_cut_into_parts(label_maps: Path) -> None:
    source = LabelMaps(label_maps, meaning="class", void=[0])
    assert [(record.label, record.area) for record in source[1].record.annotations] == [("7", 9), ("7", 9), ("200", 6)]


def test_label_maps_without_partner_are_told(label_maps: Path) -> None:
    (label_maps / "labels" / "p1.png").rename(label_maps / "labels" / "other.png")
    source = LabelMaps(label_maps)
    assert len(source) == 1
    assert sorted(Path(line.split(" ")[0]).name for line in source.missing) == ["other.png", "p1.png"]


@pytest.mark.parametrize("name", PACKS)
def test_packs_are_samples(name: str, packs_root: Path) -> None:
    source = PackSource(name, packs_root, part="all")
    assert isinstance(source, SampleSource)
    assert len(source) == 4 and len({sample.key for sample in source}) == 4
    assert len(PackSource(name, packs_root, part="heldout")) == 2
    for sample in pickle.loads(pickle.dumps(list(source))):
        assert sample.load_rgb().shape == (40, 60, 3)
        assert all(sample.mask(index).any() for index in range(len(sample.rles)))
    assert detect_format(packs_root / name) == "pack"


def test_annotators_of_bsds_are_told_apart(packs_root: Path) -> None:
    record = PackSource("bsds500", packs_root)[0].record
    assert [(mask.attributes or {})["annotator"] for mask in record.annotations] == [0, 0, 1, 1, 1]


FORMATS: tuple[TargetFormat, ...] = ("sa1b", "shards", "coco", "png", "labelmap")


@pytest.mark.parametrize("format", FORMATS)
def test_what_is_written_is_read_again(format: TargetFormat, packs_root: Path, tmp_path: Path) -> None:
    source = PackSource("dsb2018", packs_root, part="all")
    with open_target(format, tmp_path / "out", TargetOptions()) as target:
        assert [target.write(sample) for sample in source] == [True] * 4
    again = open_source(tmp_path / "out")
    assert isinstance(again, SampleSource) and again.missing == ()
    assert detect_format(tmp_path / "out") == format
    masks = {sample.load_bytes(): sorted(rle["counts"] for rle in sample.rles) for sample in source}
    found = {sample.load_bytes(): sorted(rle["counts"] for rle in sample.rles) for sample in again}
    assert found == masks
    with open_target(format, tmp_path / "out", TargetOptions()) as target:
        assert [target.write(sample) for sample in source] == [False] * 4


def test_sa1b_folder_order_missing_halves_and_other_places(tmp_path: Path, packs_root: Path) -> None:
    with open_target("sa1b", tmp_path / "out") as target:
        for sample in PackSource("dsb2018", packs_root, part="all"):
            target.write(sample)
    jsons = sorted((tmp_path / "out").glob("*.json"))
    (tmp_path / "elsewhere").mkdir()
    for number, path in zip((10, 9, 2), jsons, strict=False):
        content = json.loads(path.read_text())
        image = path.with_suffix(".png")
        image.rename(tmp_path / "elsewhere" / f"sa_{number}.png")
        content["image"] |= {"image_id": number, "file_name": f"sa_{number}.png"}
        path.unlink()
        (tmp_path / "out" / f"sa_{number}.json").write_text(json.dumps(content))
    source = SA1BFolder(tmp_path / "out", images=tmp_path / "elsewhere")
    assert [sample.image_id for sample in source] == [2, 9, 10]
    assert len(source.missing) == 1 and jsons[-1].name in source.missing[0]
    with pytest.raises(DataError, match="4 were incomplete"):
        empty = tmp_path / "empty"
        empty.mkdir()
        SA1BFolder(tmp_path / "out", images=empty)


def test_png_folders_keep_what_the_table_says(tmp_path: Path, packs_root: Path) -> None:
    with open_target("png", tmp_path / "out") as target:
        target.write(PackSource("dsb2018", packs_root)[0])
    table = next((tmp_path / "out").rglob("metadata.csv"))
    lines = table.read_text().splitlines()
    row = lines[1].split(",")
    row[6:10] = ["20", "15.5", "0.91", "0.75"]
    table.write_text("\n".join([lines[0], ",".join(row), *lines[2:]]))
    mask = PngFolders(tmp_path / "out")[0].record.annotations[0]
    assert (mask.predicted_iou, mask.stability_score, mask.point_coords) == (0.91, 0.75, ((20, 15.5),))
    row[1] = "5"
    table.write_text("\n".join([lines[0], ",".join(row), *lines[2:]]))
    with pytest.raises(DataError, match="5 pixels"):
        _ = PngFolders(tmp_path / "out")[0].record
    row[0] = "../x"
    table.write_text("\n".join([lines[0], ",".join(row)]))
    with pytest.raises(DataError, match="file's name"):
        _ = PngFolders(tmp_path / "out")[0].record


def test_nothing_known_is_answered(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing"):
        open_source(tmp_path / "gone")
    with pytest.raises(DataError, match="looks like none"):
        open_source(tmp_path)
    (tmp_path / "coco").mkdir()
    with pytest.raises(DataError, match="looks like none"):
        open_source(tmp_path / "coco")
    with pytest.raises(DataError, match="expected one COCO file"):
        open_source(tmp_path, format="coco", options=SourceOptions())
