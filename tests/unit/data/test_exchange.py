"""Files of CVAT, Label Studio, LabelMe and COCO: what they hold, and what they say after a journey through others."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from segany.core.errors import DataError
from segany.data.exchange.cvat import from_cvat, read_cvat
from segany.data.exchange.labelme import from_labelme, read_labelme
from segany.data.exchange.labelstudio import from_label_studio, image_name, read_label_studio
from segany.data.open import detect_format, open_source
from segany.masks.foreign_rle import box_row_runs, box_row_runs_to_mask, pack_brush, unpack_brush
from segany.recipes.dataset import convert
from segany.records.coco import read_coco
from segany.records.formats import WRITERS
from segany.records.formats.cvat import to_cvat
from segany.records.formats.labelstudio import to_label_studio
from segany.records.record import ImageRecord, MaskRecord

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "exchange"
HEIGHT, WIDTH = 12, 16
NAME = "garden/apple tree.png"

BOOLS = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=9))


def box(x0: int, y0: int, x1: int, y1: int) -> Any:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y0:y1, x0:x1] = True
    return mask


def runs_mask() -> Any:
    """Five pixels, then two, one, two, one, two, five, over three rows of six from column 3, row 2."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[2, 3:8] = mask[3, 4] = mask[3, 7] = mask[4, 4:9] = True
    return mask


def is_ellipse(mask: Any, cx: float, cy: float, rx: float, ry: float) -> bool:
    """Every pixel whose middle lies a pixel inside the outline is set, and none a pixel outside."""
    rows, columns = np.mgrid[: mask.shape[0], : mask.shape[1]] + 0.5
    inner, outer = (((columns - cx) / (rx + d)) ** 2 + ((rows - cy) / (ry + d)) ** 2 <= 1 for d in (-1, 1))
    return bool(mask[inner].all() and not mask[~outer].any())


def test_a_cvat_file() -> None:
    first, empty = read_cvat(GOLDEN / "cvat.xml")
    assert (first.file_name, first.size_hw) == (NAME, (HEIGHT, WIDTH))
    assert (empty.file_name, empty.annotations) == ("empty.png", ())
    mask, polygon, rectangle, round_ = first.annotations
    assert [one.label for one in first.annotations] == ["apple", None, "apple", None]
    assert (mask.mask == runs_mask()).all()
    assert (polygon.mask == box(1, 6, 9, 11)).all()
    assert (rectangle.mask == box(10, 1, 15, 4)).all()
    assert is_ellipse(round_.mask, 12.5, 8, 2.5, 2)
    assert (mask.attributes, rectangle.attributes, polygon.attributes) == ({"ripe": "true"}, {"ripe": "false"}, None)


def test_a_label_studio_file() -> None:
    (record,) = read_label_studio(GOLDEN / "labelstudio.json")
    assert (record.file_name, record.size_hw) == (NAME, (HEIGHT, WIDTH))
    brush, polygon, rectangle, round_ = record.annotations
    true = box(3, 2, 11, 9)
    true[4:6, 5:7], true[11, 15] = False, True
    assert (brush.mask == true).all(), "the brush of Label Studio's own converter"
    assert (polygon.mask == box(1, 6, 9, 11)).all()
    assert (rectangle.mask == box(10, 1, 15, 4)).all()
    assert is_ellipse(round_.mask, 12.5, 8, 2.5, 2)
    assert [one.label for one in record.annotations] == ["apple", None, "apple", None]
    assert brush.attributes == {"text": ["a hole and a crumb"]}


def test_a_labelme_file() -> None:
    record = read_labelme(GOLDEN / "labelme.json")
    assert (record.file_name, record.size_hw) == ("apple tree.png", (HEIGHT, WIDTH))
    mask, group, rectangle, round_ = record.annotations
    assert (mask.mask == runs_mask()).all()
    assert (group.mask == box(1, 6, 9, 11)).all(), "two polygons of one group are one mask"
    assert (rectangle.mask == box(10, 1, 15, 4)).all()
    assert is_ellipse(round_.mask, 12.5, 8.5, 2, 2)
    assert (mask.label, mask.attributes, group.label) == ("apple", {"ripe": True}, None)


def test_a_turned_box_and_ellipse() -> None:
    """Turned clockwise as seen on the screen; by a quarter, width and height change places."""
    shape = "<annotations><image name='a.png' width='60' height='50'>{}</image></annotations>"
    turned = from_cvat(shape.format("<box xtl='10' ytl='20' xbr='30' ybr='30' rotation='90.0'/>"))[0].annotations[0]
    assert turned.exact_bbox == (15, 15, 10, 20)
    oval = from_cvat(shape.format("<ellipse cx='30' cy='25' rx='20' ry='8' rotation='90'/>"))[0].annotations[0]
    assert is_ellipse(oval.mask, 30, 25, 8, 20)
    slanted = from_cvat(shape.format("<box xtl='10' ytl='20' xbr='50' ybr='24' rotation='30'/>"))[0].annotations[0]
    left, right = slanted.mask[:, 15], slanted.mask[:, 45]
    assert left.argmax() < right.argmax(), "clockwise: the right end goes down"


def test_a_coco_file() -> None:
    (record,) = read_coco(GOLDEN / "coco.json")
    mask, polygon = record.annotations
    assert (polygon.mask == box(1, 6, 9, 11)).all()
    assert (mask.label, polygon.label) == ("apple", "object")
    assert (mask.mask == runs_mask()).all() and mask.extra == {"iscrowd": 1}


def record_of(*masks: Any, name: str = NAME) -> ImageRecord:
    labels = ("apple", None, "Birne & <Söhne>")
    made = [MaskRecord.from_mask(mask, label=labels[i % 3], attributes={"n": str(i)}) for i, mask in enumerate(masks)]
    return ImageRecord(image_id=1, width=WIDTH, height=HEIGHT, file_name=name, annotations=tuple(made))


MASKS = st.lists(arrays(bool, (HEIGHT, WIDTH)), max_size=3)


def same(after: ImageRecord, before: ImageRecord) -> None:
    kept = [mask for mask in before.annotations if mask.area]
    assert (after.file_name, after.size_hw) == (before.file_name, before.size_hw)
    assert [one.segmentation for one in after.annotations] == [one.segmentation for one in kept]
    assert [one.label for one in after.annotations] == [one.label for one in kept]


@settings(max_examples=30)
@given(MASKS)
def test_masks_survive_cvat_exactly(masks: list[Any]) -> None:
    before = record_of(*masks)
    (after,) = from_cvat(to_cvat([before]))
    same(after, before)
    assert [one.attributes for one in after.annotations] == [one.attributes for one in before.annotations if one.area]


@settings(max_examples=30)
@given(MASKS)
def test_masks_survive_label_studio_exactly(masks: list[Any]) -> None:
    before = record_of(*masks)
    found = from_label_studio(json.loads(json.dumps(to_label_studio([before]))))
    if not any(mask.area for mask in before.annotations):
        assert found == [], "without a region Label Studio does not know an image's size"
    else:
        same(found[0], before)


@settings(max_examples=30)
@given(masks=MASKS)
def test_masks_survive_labelme_exactly(tmp_path_factory: pytest.TempPathFactory, masks: list[Any]) -> None:
    before = record_of(*masks, name="apple.png")
    (path,) = WRITERS["labelme"].write(before, tmp_path_factory.mktemp("labelme"), "apple")
    same(read_labelme(path), before)


@settings(max_examples=60)
@given(BOOLS)
def test_foreign_run_lengths_come_back(mask: Any) -> None:
    runs, extent = box_row_runs(mask)
    assert (box_row_runs_to_mask(runs, extent, mask.shape) == mask).all()
    packed = pack_brush(mask)
    assert all(0 <= value <= 255 for value in packed)
    assert (unpack_brush(packed, mask.shape) == mask).all()


def test_long_runs_are_packed_in_parts() -> None:
    mask = np.zeros((300, 400), bool)
    mask[50:, 3:] = True
    packed = pack_brush(mask)
    assert len(packed) < 2000 and (unpack_brush(packed, mask.shape) == mask).all()


def test_blocks_of_different_values_are_read() -> None:
    """Label Studio may also write values one by one: here four pixels of four values, the second one set."""
    picture = [0, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0]
    bits = f"{16:032b}" + "00111" + "0010" + "0011" + "0111" + "1111" + "0" + "01" + f"{15:04b}"
    bits += "".join(f"{value:08b}" for value in picture)
    bits += "0" * (-len(bits) % 8)
    values = [int(bits[at : at + 8], 2) for at in range(0, len(bits), 8)]
    assert unpack_brush(values, (1, 4)).tolist() == [[False, True, False, False]]
    for cut in range(len(values)):
        with pytest.raises(DataError, match=r"cut off|values"):
            unpack_brush(values[:cut], (1, 4))


def test_damaged_run_lengths_are_refused() -> None:
    with pytest.raises(DataError, match="fill their box"):
        box_row_runs_to_mask([1, 2], (0, 0, 2, 2), (4, 4))
    with pytest.raises(DataError, match="fill their box"):
        box_row_runs_to_mask([-1, 5], (0, 0, 2, 2), (4, 4))
    with pytest.raises(DataError, match="fill their box"):
        box_row_runs_to_mask([10**9], (0, 0, 10**5, 10**4), (4, 4))
    with pytest.raises(DataError, match="another size"):
        unpack_brush(pack_brush(np.ones((4, 4), bool)), (4, 5))
    with pytest.raises(DataError, match="bytes"):
        unpack_brush([1, 2, 900], (4, 4))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("not xml", "must be XML"),
        ("<other/>", "<annotations>"),
        ("<annotations><track id='0' label='a'/></annotations>", "CVAT for images"),
        ("<annotations><image name='a.png' width='4'/></annotations>", "image 'a.png'.*height"),
        ("<annotations><image name='a.png' width='4' height='x'/></annotations>", "image 'a.png'"),
        (
            "<annotations><image name='a.png' width='4' height='4'><mask rle='3' left='0' top='0' width='2' "
            "height='2'/></image></annotations>",
            "image 'a.png'.*fill their box",
        ),
        (
            "<annotations><image name='a.png' width='4' height='4'><blob/></image></annotations>",
            "<blob>",
        ),
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotations/>', "document type"),
    ],
)
def test_bad_cvat(text: str, told: str) -> None:
    with pytest.raises(DataError, match=f"(?s){told}"):
        from_cvat(text)


def test_bad_label_studio_and_labelme(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="list"):
        from_label_studio({"tasks": []})
    content = json.loads((GOLDEN / "labelstudio.json").read_text(encoding="utf-8"))
    content[0]["annotations"][1]["result"][0]["value"]["rle"] = [1, 2, 3]
    with pytest.raises(DataError, match=r"task 0.*values"):
        from_label_studio(content)
    content[0]["annotations"][1]["result"][0]["image_rotation"] = 90
    with pytest.raises(DataError, match="turned"):
        from_label_studio(content)
    labelme = json.loads((GOLDEN / "labelme.json").read_text(encoding="utf-8"))
    labelme["shapes"][0]["mask"] = base64.b64encode(b"no png").decode()
    with pytest.raises(DataError, match="shape 0"):
        from_labelme(labelme)
    labelme["shapes"][0] = {"label": "x", "shape_type": "spiral", "points": []}
    with pytest.raises(DataError, match=r"shape 0.*spiral"):
        from_labelme(labelme)
    with pytest.raises(DataError, match="missing: imageHeight"):
        from_labelme({"shapes": [], "imagePath": "a.png", "imageWidth": 4})


def test_a_name_that_xml_cannot_hold() -> None:
    with pytest.raises(DataError, match="control characters"):
        to_cvat([record_of(box(0, 0, 2, 2), name="a\x00.png")])


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("/data/local-files/?d=garden/apple%20tree.png", "garden/apple tree.png"),
        ("/data/upload/3/0a1b2c3d-apple.png", "0a1b2c3d-apple.png"),
        ("s3://bucket/garden/apple.png", "apple.png"),
        ("https://example.org/a/apple.png?size=3", "apple.png"),
        ("garden/apple.png", "garden/apple.png"),
    ],
)
def test_where_label_studio_keeps_a_photo(address: str, name: str) -> None:
    assert image_name(address) == name


def photo(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((HEIGHT, WIDTH, 3), 90, np.uint8)).save(path)


@pytest.mark.parametrize("tool", ["cvat", "labelstudio", "labelme"])
def test_a_tools_file_opens_with_its_photos(tmp_path: Path, tool: str) -> None:
    file = next(GOLDEN.glob(f"{tool}.*"))
    copy = tmp_path / file.name
    copy.write_bytes(file.read_bytes())
    photo(tmp_path / ("apple tree.png" if tool == "labelme" else NAME))
    assert detect_format(copy) == tool
    source = open_source(copy)
    (sample,) = source
    assert len(sample.rles) == 4 and sample.load_rgb().shape == (HEIGHT, WIDTH, 3)
    assert source.missing == (("no empty.png in " + str(tmp_path),) if tool == "cvat" else ())


def test_an_uploaded_photo_is_found_without_its_prefix(tmp_path: Path) -> None:
    tasks = to_label_studio([record_of(box(0, 0, 2, 2), name="0a1b2c3d-apple.png")])
    (tmp_path / "export.json").write_text(json.dumps(tasks), encoding="utf-8")
    photo(tmp_path / "apple.png")
    assert [sample.file_name for sample in open_source(tmp_path / "export.json")] == ["apple.png"]


@pytest.mark.parametrize("tool", ["cvat", "labelstudio", "labelme", "coco"])
def test_a_data_set_travels_there_and_back(tmp_path: Path, tool: Any) -> None:
    """SA-1B → the tool's format → SA-1B: every mask the same, photos byte for byte."""
    home = tmp_path / "home"
    home.mkdir()
    ring = box(3, 2, 12, 10) & ~box(5, 4, 8, 8)
    for number, masks in enumerate(((ring, box(0, 0, 1, 1)), (box(1, 1, 15, 3) | box(2, 6, 4, 8),))):
        photo(home / f"sa_{number}.png")
        record = record_of(*masks, name=f"sa_{number}.png")
        WRITERS["sa1b"].write(replace(record, image_id=number), home, f"sa_{number}")
    assert convert(home, tmp_path / "away", tool).written == 2
    assert detect_format(tmp_path / "away") == tool
    assert convert(tmp_path / "away", tmp_path / "back", "sa1b").written == 2
    for number in range(2):
        name = f"sa_{number}"
        assert (tmp_path / "back" / f"{name}.png").read_bytes() == (home / f"{name}.png").read_bytes()
        first, last = (json.loads((f / f"{name}.json").read_text(encoding="utf-8")) for f in (home, tmp_path / "back"))
        assert [one["segmentation"] for one in last["annotations"]] == [
            one["segmentation"] for one in first["annotations"]
        ]
