from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segany.core.errors import DataError
from segany.data.packs import PACKS, PackImage, is_held_out, iter_pack
from segany.data.photo_sets import cached_packs

REAL_COUNTS = {
    "bsds500": (200, 100),
    "dsb2018": (471, 60),
    "camvid": (367, 101),
    "coco": (360, 43),
    "coco-person": (899, 103),
}


def both(name: str, root: Path) -> list[PackImage]:
    return [*iter_pack(name, root, "train"), *iter_pack(name, root, "heldout")]


@pytest.mark.parametrize("name", PACKS)
def test_parts_are_disjoint_complete_and_ordered(name: str, packs_root: Path) -> None:
    train = [image.key for image in iter_pack(name, packs_root, "train")]
    heldout = [image.key for image in iter_pack(name, packs_root, "heldout")]
    assert (len(train), len(heldout)) == (2, 2)
    assert not set(train) & set(heldout)
    assert train == sorted(train) and heldout == sorted(heldout)
    assert not any(is_held_out(name, key) for key in train)
    assert all(is_held_out(name, key) for key in heldout)


@pytest.mark.parametrize("name", PACKS)
def test_images_and_masks_belong_together(name: str, packs_root: Path) -> None:
    for image in both(name, packs_root):
        rgb = image.read()
        assert rgb.shape == (40, 60, 3) and rgb.dtype == np.uint8
        assert image.size_hw == (40, 60)
        assert all(mask.shape == (40, 60) and mask.dtype == bool and mask.any() for mask in image.masks())


def test_bsds_keeps_annotators_apart(packs_root: Path) -> None:
    image = next(iter_pack("bsds500", packs_root, "heldout"))
    groups = image.mask_groups()
    assert [len(group) for group in groups] == [2, 3]
    assert all(np.sum(group, axis=0).min() == np.sum(group, axis=0).max() == 1 for group in groups)
    assert np.array_equal(groups[0][1], groups[1][1]), "both annotators saw the disc, and both masks are kept"
    assert len(image.masks()) == 5


def test_nuclei_are_read_with_16_bits(packs_root: Path) -> None:
    masks = next(iter_pack("dsb2018", packs_root)).masks()
    assert [bool(mask[y, x]) for mask, (x, y) in zip(masks, [(20, 15), (50, 30)], strict=True)] == [True, True]


def test_camvid_splits_regions_and_ignores_void(packs_root: Path) -> None:
    masks = next(iter_pack("camvid", packs_root)).masks()
    assert len(masks) == 3, "sky and two cars"
    assert not np.any([mask[35:] for mask in masks])


def test_coco_leaves_crowds_out_and_keeps_empty_images(packs_root: Path) -> None:
    first, second = iter_pack("coco", packs_root, "train")
    assert first.masks() == []
    polygon, column = second.masks()
    assert polygon.sum() == 20 * 20
    assert column[:, :4].all() and not column[:, 4:].any()


def test_small_masks_can_be_left_out(packs_root: Path) -> None:
    image = next(iter_pack("dsb2018", packs_root))
    large, small = (int(mask.sum()) for mask in image.masks())
    assert len(image.masks(small)) == 2
    assert len(image.masks(small + 1)) == 1
    assert image.masks(large + 1) == []


@pytest.mark.parametrize("name", PACKS)
def test_images_can_travel_to_workers(name: str, packs_root: Path) -> None:
    image = list(iter_pack(name, packs_root, "heldout"))[1]
    again = pickle.loads(pickle.dumps(image))
    assert again.key == image.key
    assert np.array_equal(again.masks(), image.masks())


@pytest.mark.parametrize("name", PACKS)
def test_a_missing_pack_is_an_error_at_once(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        iter_pack(name, tmp_path)


def test_unknown_names_are_errors(packs_root: Path) -> None:
    with pytest.raises(DataError, match="bsds500"):
        iter_pack("imagenet", packs_root)
    with pytest.raises(DataError, match="train, heldout, watched"):
        iter_pack("coco", packs_root, "val")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="pack must be"):
        is_held_out("imagenet", "a.png")


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("bsds500", "groundTruth/val/val0.mat"),
        ("dsb2018", "labels/img10.png"),
        ("camvid", "val/labels/val0.png"),
        ("coco", "train2017/img10.png"),
        ("coco-person", "annotations/instances.json"),
    ],
)
def test_a_missing_file_is_named(name: str, file: str, packs_root: Path) -> None:
    (packs_root / name / file).unlink()
    with pytest.raises(DataError, match=Path(file).name):
        list(iter_pack(name, packs_root, "heldout"))


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"images": [{}], "annotations": []}', '{"images": [], "annotations": [{}]}']
)
def test_damaged_annotation_files_are_errors(content: str, packs_root: Path) -> None:
    path = packs_root / "coco/annotations/instances_train2017.json"
    path.write_text(content)
    with pytest.raises(DataError, match="COCO annotation file"):
        list(iter_pack("coco", packs_root))


def test_a_damaged_mat_file_is_an_error(packs_root: Path) -> None:
    image = next(iter_pack("bsds500", packs_root))
    (packs_root / "bsds500/groundTruth/train/train0.mat").write_bytes(b"not a mat file")
    with pytest.raises(DataError, match="BSDS500 ground-truth"):
        image.masks()


def test_a_colour_label_map_is_an_error(packs_root: Path) -> None:
    image = next(iter_pack("camvid", packs_root))
    rgb = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(rgb).save(packs_root / "camvid/train/labels/train0.png")
    with pytest.raises(ValueError, match=r"train0\.png"):
        image.masks()


def test_a_folder_without_images_is_an_error(packs_root: Path) -> None:
    for path in (packs_root / "dsb2018/images").iterdir():
        path.unlink()
    with pytest.raises(DataError, match="there are none"):
        list(iter_pack("dsb2018", packs_root))


def test_held_out_by_hash_looks_at_the_name_alone() -> None:
    assert is_held_out("coco", "img10.png") and is_held_out("coco", "train/img10.png")
    assert not is_held_out("coco", "img11.png")


def test_held_out_by_folder_needs_the_folder() -> None:
    assert is_held_out("camvid", "camvid/val/images/0016E5_07959.jpg")
    assert not is_held_out("bsds500", "images/train/12003.jpg")
    with pytest.raises(DataError, match="train/ or val/"):
        is_held_out("bsds500", "12003.jpg")


@pytest.mark.parametrize("name", PACKS)
def test_real_packs_have_the_documented_counts(name: str, shared: Path) -> None:
    root = shared / "data"
    train, heldout = (list(iter_pack(name, root, part)) for part in ("train", "heldout"))
    assert (len(train), len(heldout)) == REAL_COUNTS[name]
    assert not {image.key for image in train} & {image.key for image in heldout}


def test_watched_photos_are_those_that_trainings_leave_out(shared: Path, tmp_path: Path) -> None:
    """Camvid's, for speed: a fortieth of the training part, and none of them among what a training draws."""
    (tmp_path / "camvid").symlink_to(shared / "data" / "camvid")
    train, watched = ({image.key for image in iter_pack("camvid", tmp_path, part)} for part in ("train", "watched"))
    assert watched < train and len(train) / 80 < len(watched) < len(train) / 20
    drawn, left = ({row.key for s in sets for row in s.rows} for sets in cached_packs(tmp_path, tmp_path / "cache"))
    assert left == watched and drawn == train - watched


def test_no_real_photo_is_held_out_in_one_coco_pack_and_trained_on_in_the_other(shared: Path) -> None:
    root = shared / "data"
    parts = {
        part: {image.key for pack in ("coco", "coco-person") for image in iter_pack(pack, root, part)}
        for part in ("train", "heldout")
    }
    assert parts["train"] and parts["heldout"]
    assert not parts["train"] & parts["heldout"]


def test_real_masks_fit_their_images(shared: Path) -> None:
    for name in PACKS:
        for image in list(iter_pack(name, shared / "data", "heldout"))[:3]:
            masks = image.masks(min_area=50)
            assert all(mask.shape == image.size_hw for mask in masks), image.path


@pytest.mark.parametrize(
    ("name", "masks"),
    [
        ("dsb2018", 23_113),
        ("coco", 3_587 - 40),
        ("coco-person", 1_002),
        pytest.param("bsds500", 33_235, marks=pytest.mark.slow),
        pytest.param("camvid", 37_788, marks=pytest.mark.slow),
    ],
)
def test_real_packs_have_the_documented_masks(name: str, masks: int, shared: Path) -> None:
    assert sum(len(image.masks()) for image in both(name, shared / "data")) == masks
