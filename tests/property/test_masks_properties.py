"""What must hold for every mask."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from segany.masks import rle
from segany.masks.boxes import exact_box_xywh, masks_to_boxes
from segany.masks.components import fill_small_holes, largest_component_area, remove_small_islands
from segany.masks.iou import pairwise_mask_iou
from segany.masks.label_map import label_map_to_masks, masks_to_label_map
from segany.masks.nms import containment_nms, mask_nms, nms
from segany.masks.polygons import Polygon, joined_ring, mask_to_polygons, polygons_to_mask, ring_area

MASKS = arrays(bool, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=17))
STACKS = arrays(bool, array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=9))


@given(MASKS)
def test_run_lengths_round_trip(mask: np.ndarray) -> None:
    encoded = rle.encode(mask)
    plain = rle.to_uncompressed(encoded)
    assert (rle.decode(encoded) == mask).all()
    assert (rle.decode(plain) == mask).all()
    assert rle.from_uncompressed(plain) == encoded
    assert rle.rle_area(encoded) == mask.sum()
    assert rle.rle_exact_box_xywh(encoded) == exact_box_xywh(mask)


@given(MASKS)
def test_run_lengths_are_those_of_the_columns(mask: np.ndarray) -> None:
    runs, current = [0], False
    for pixel in mask.T.reshape(-1).tolist():
        if pixel != current:
            runs.append(0)
            current = pixel
        runs[-1] += 1
    assert rle.to_uncompressed(rle.encode(mask))["counts"] == runs


@given(st.text(st.characters(min_codepoint=32, max_codepoint=130), max_size=12), st.integers(1, 6))
@example("\x80", 5)
@example("\ud800", 5)
def test_any_text_is_a_mask_or_an_error(counts: str, side: int) -> None:
    try:
        mask = rle.decode({"size": [side, 3], "counts": counts})
    except rle.DataError:
        return
    assert mask.shape == (side, 3)
    assert mask.sum() == rle.rle_area({"size": [side, 3], "counts": counts})


@given(STACKS)
def test_boxes_are_the_extremes_of_the_pixels(masks: np.ndarray) -> None:
    for mask, box in zip(masks, masks_to_boxes(masks).tolist(), strict=True):
        rows, columns = np.nonzero(mask)
        extremes = [columns.min(), rows.min(), columns.max(), rows.max()] if len(rows) else [0, 0, 0, 0]
        assert box == extremes


@given(MASKS)
def test_polygons_have_the_masks_area_and_give_it_back(mask: np.ndarray) -> None:
    polygons = mask_to_polygons(mask)
    area = sum(ring_area(p.outer) - sum(ring_area(hole) for hole in p.holes) for p in polygons)
    assert area == mask.sum()
    assert (polygons_to_mask(polygons, mask.shape) == mask).all()
    if polygons:
        corners = np.concatenate([polygon.outer for polygon in polygons])
        x, y, w, h = exact_box_xywh(mask)
        assert (*corners.min(axis=0), *corners.max(axis=0)) == (x, y, x + w, y + h)


@given(MASKS)
def test_one_joined_ring_gives_the_mask_back(mask: np.ndarray) -> None:
    polygons = mask_to_polygons(mask)
    if polygons:
        ring = joined_ring(polygons)
        assert (polygons_to_mask([Polygon(ring)], mask.shape) == mask).all()


@given(STACKS)
def test_a_label_map_shows_the_smallest_mask_at_each_pixel(masks: np.ndarray) -> None:
    label_map = masks_to_label_map(masks)
    areas = masks.sum(axis=(1, 2))
    for row, column in np.ndindex(label_map.shape):
        here = np.flatnonzero(masks[:, row, column])
        shown = int(label_map[row, column])
        assert (shown == 0) == (len(here) == 0)
        if shown:
            assert shown - 1 in here
            assert areas[shown - 1] == areas[here].min()
    labels, parts = label_map_to_masks(label_map)
    assert (parts.sum(axis=0) == (label_map > 0)).all()
    assert all((label_map[part] == label).all() for label, part in zip(labels, parts, strict=True))


@given(MASKS, st.integers(0, 30))
def test_clean_up_keeps_its_promises(mask: np.ndarray, area: int) -> None:
    filled, changed = fill_small_holes(mask, area)
    assert (filled >= mask).all()
    assert changed == bool((filled != mask).any())
    assert fill_small_holes(filled, area)[1] is False
    kept, changed = remove_small_islands(mask, area)
    assert (kept <= mask).all()
    assert kept.any() == mask.any()
    assert largest_component_area(kept) == largest_component_area(mask)
    assert changed or (kept == mask).all()


def greedy(overlap: np.ndarray, scores: list[float], threshold: float) -> list[int]:
    """Best first, keep what no kept one overlaps strictly above the threshold."""
    kept: list[int] = []
    for i in sorted(range(len(scores)), key=lambda i: -scores[i]):
        if all(overlap[k][i] <= threshold for k in kept):
            kept.append(i)
    return kept


def box_overlap(a: list[int], b: list[int]) -> float:
    if (a[2] - a[0]) * (a[3] - a[1]) == 0 or (b[2] - b[0]) * (b[3] - b[1]) == 0:
        return 0.0
    inter = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
    return inter / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter)


BOX = st.tuples(*[st.integers(0, 12)] * 4).map(
    lambda v: [min(v[0], v[2]), min(v[1], v[3]), max(v[0], v[2]), max(v[1], v[3])]
)


@settings(max_examples=300)
@given(
    st.lists(st.tuples(BOX, st.sampled_from([0.0, 0.25, 0.5, 1.0])), max_size=30),
    st.sampled_from([0.0, 0.2, 0.25, 0.5, 0.7, 0.75, 1.0]),
)
def test_nms_is_the_plain_greedy_rule(candidates: list[tuple[list[int], float]], threshold: float) -> None:
    boxes = [box for box, _ in candidates]
    scores = [score for _, score in candidates]
    overlap = np.array([[box_overlap(a, b) for b in boxes] for a in boxes])
    assert nms(boxes, scores, threshold).tolist() == greedy(overlap, scores, threshold)


@given(STACKS, st.data(), st.sampled_from([0.2, 0.5, 0.9]))
def test_nms_on_masks_is_the_plain_greedy_rule(masks: np.ndarray, data: st.DataObject, threshold: float) -> None:
    scores = data.draw(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=len(masks), max_size=len(masks)))
    rles = rle.encode_many(masks)
    iou = pairwise_mask_iou(masks, masks)
    assert np.allclose(rle.rle_iou(rles, rles), iou)
    assert mask_nms(rles, scores, threshold).tolist() == greedy(iou, scores, threshold)
    area = np.maximum(masks.sum(axis=(1, 2)), 1)
    inside = (masks[:, None] & masks[None]).sum(axis=(2, 3)) / area[None]
    assert containment_nms(rles, scores, threshold).tolist() == greedy(inside, scores, threshold)
