"""Polygons along pixel edges."""

from __future__ import annotations

import numpy as np
import pytest

from segany.core.errors import DataError
from segany.masks.coco_segmentation import coco_segmentation_to_mask, coco_segmentation_to_rle, rings_to_rle
from segany.masks.polygons import Polygon, joined_ring, mask_to_polygons, polygons_to_mask, ring_area


def _corners(ring: np.ndarray) -> set[tuple[float, float]]:
    return {(x, y) for x, y in ring.tolist()}


def test_one_pixel_is_its_square() -> None:
    mask = np.zeros((3, 4), bool)
    mask[1, 2] = True
    (polygon,) = mask_to_polygons(mask)
    assert len(polygon.outer) == 4
    assert _corners(polygon.outer) == {(2, 1), (3, 1), (3, 2), (2, 2)}
    assert polygon.holes == ()


def test_inner_corners_are_kept() -> None:
    (polygon,) = mask_to_polygons(np.array([[1, 0], [1, 1]], bool))
    assert len(polygon.outer) == 6
    assert _corners(polygon.outer) == {(0, 0), (1, 0), (1, 1), (2, 1), (2, 2), (0, 2)}


def test_holes_belong_to_their_outline_and_islands_inside_are_their_own() -> None:
    mask = np.zeros((20, 30), bool)
    mask[1:15, 1:15] = True
    mask[3:13, 3:13] = False
    mask[6:9, 6:9] = True
    mask[2:6, 20:25] = True
    polygons = sorted(mask_to_polygons(mask), key=lambda polygon: ring_area(polygon.outer))
    assert [ring_area(polygon.outer) for polygon in polygons] == [9, 20, 196]
    assert [[ring_area(hole) for hole in polygon.holes] for polygon in polygons] == [[], [], [100]]
    assert (polygons_to_mask(polygons, mask.shape) == mask).all()


def test_nothing_gives_nothing() -> None:
    assert mask_to_polygons(np.zeros((3, 3), bool)) == []
    assert not polygons_to_mask([], (3, 3)).any()


def test_tolerance_makes_a_disc_lighter_and_stays_close() -> None:
    rows, columns = np.ogrid[:200, :200]
    disc = (rows - 100) ** 2 + (columns - 100) ** 2 < 80**2
    (exact,), (light,) = mask_to_polygons(disc), mask_to_polygons(disc, tolerance=1.0)
    assert len(light.outer) * 5 < len(exact.outer)
    again = polygons_to_mask([light], disc.shape)
    assert (again & disc).sum() / (again | disc).sum() > 0.97


def test_tolerance_never_loses_a_small_part() -> None:
    assert len(mask_to_polygons(np.ones((1, 1), bool), tolerance=5.0)[0].outer) == 4


def test_one_ring_for_parts_and_holes_gives_the_same_mask() -> None:
    mask = np.zeros((20, 30), bool)
    mask[1:15, 1:15] = True
    mask[3:6, 3:6] = mask[8:12, 7:13] = False
    mask[16:19, 20:28] = True
    ring = joined_ring(mask_to_polygons(mask))
    assert (polygons_to_mask([Polygon(ring)], mask.shape) == mask).all()


def test_parts_outside_the_image_are_cut_off() -> None:
    ring = np.array([[-5, -5], [3, -5], [3, 2], [-5, 2]], float)
    mask = polygons_to_mask([Polygon(ring)], (4, 4))
    assert mask.sum() == 6
    assert mask[:2, :3].all()


@pytest.mark.parametrize(
    "ring",
    [[], [0, 0, 1, 1], [0, 0, 1, 1, 2], [0, 0, 1, 0, 1, float("nan")], [0, 0, 1e9, 0, 0, 5], ["a"] * 6],
)
def test_rings_that_are_none_are_errors(ring: list[float]) -> None:
    with pytest.raises(DataError):
        rings_to_rle([ring], (4, 4))
    with pytest.raises(DataError):
        rings_to_rle([], (4, 4))


def test_coco_reads_all_three_spellings() -> None:
    expected = np.zeros((4, 5), bool)
    expected[1:3, 1:4] = True
    polygon = [[1, 1, 4, 1, 4, 3, 1, 3], [0, 0, 1, 1]]
    rle = coco_segmentation_to_rle(polygon, (4, 5))
    runs = {"size": [4, 5], "counts": [5, 2, 2, 2, 2, 2, 5]}
    for segmentation in (polygon, rle, runs):
        assert (coco_segmentation_to_mask(segmentation, (4, 5)) == expected).all()
    assert not coco_segmentation_to_mask([], (4, 5)).any()


@pytest.mark.parametrize("segmentation", [None, "13", 5, [1, 2, 3, 4, 5, 6], {"size": [5, 4], "counts": [20]}])
def test_coco_segmentation_of_another_kind_is_an_error(segmentation: object) -> None:
    with pytest.raises(DataError):
        coco_segmentation_to_mask(segmentation, (4, 5))
