"""Automatic masks end to end on models whose masks are known, or lively."""

from __future__ import annotations

import dataclasses
import inspect
import json
import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from segany.core.errors import Cancelled, EmbeddingError, ImageError, OptionError, PromptError
from segany.geometry.crops import crop_boxes
from segany.masks.boxes import masks_to_boxes
from segany.masks.label_map import masks_to_label_map
from segany.masks.rle import decode, from_uncompressed
from segany.predict.automatic.config import PRESETS, SweepConfig
from segany.predict.automatic.face import SamAutomaticMaskGenerator
from segany.predict.automatic.generator import AutomaticMaskGenerator
from segany.predict.embedding import ImageEmbedding
from segany.predict.predictor import Predictor
from segany.predict.upscale import BLOCK_PIXELS, Upscaler
from segany.records.record import REFERENCE_KEYS, MaskRecord

from ._toys import DiscSam, lively, lively_model, photo

EASY: dict[str, Any] = {"points_per_side": 5, "pred_iou_thresh": 0.5, "stability_score_thresh": 0.3}
CROPPED: dict[str, Any] = {**EASY, "crop_n_layers": 1}


def dicts(records: list[MaskRecord]) -> list[dict[str, Any]]:
    return [record.to_dict() for record in records]


def test_records_say_where_they_come_from(discs: Predictor) -> None:
    records = AutomaticMaskGenerator(discs, **EASY).generate(photo())
    assert len(records) > 20
    for record in records:
        assert record.size_hw == (90, 130) and record.area == record.mask.sum() > 0
        assert record.output_index in (1, 2, 3)
        assert record.predicted_iou == pytest.approx({1: 0.9, 2: 0.8, 3: 0.6}[record.output_index])
        ((x, y),) = record.point_coords
        assert record.mask[int(y), int(x)], "a disc covers its own click"
        assert record.crop_box == (0, 0, 130, 90)
        x0, y0, x1, y1 = masks_to_boxes(record.mask[None])[0].tolist()
        assert record.bbox == (x0, y0, x1 - x0, y1 - y0)
        assert 0.3 <= record.stability_score <= 1


def test_twice_is_identical(predictor: Predictor) -> None:
    knobs = {**CROPPED, "pred_iou_thresh": -9.0, "min_mask_region_area": 20}
    generator = AutomaticMaskGenerator(predictor, **knobs)
    first = dicts(generator.generate(photo()))
    assert first and first == dicts(generator.generate(photo())) == dicts(generator(photo()))
    assert first == dicts(AutomaticMaskGenerator(lively(), SweepConfig(**knobs)).generate(photo()))


def test_batch_size_changes_no_mask(discs: Predictor) -> None:
    by_size = [dicts(AutomaticMaskGenerator(discs, **EASY, points_per_batch=n).generate(photo())) for n in (1, 7, 64)]
    assert by_size[0] == by_size[1] == by_size[2]


def test_saved_embeddings_give_the_same_masks(predictor: Predictor, tmp_path: Any) -> None:
    generator = AutomaticMaskGenerator(predictor, **{**CROPPED, "pred_iou_thresh": -9.0})
    embeddings = generator.embed(photo())
    assert len(embeddings) == 5
    kept = [ImageEmbedding.load(one.save(tmp_path / f"{i}.safetensors")) for i, one in enumerate(embeddings)]
    assert dicts(generator.generate(photo(), embeddings=kept)) == dicts(generator.generate(photo()))


def test_saved_embeddings_spare_the_encoder(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = AutomaticMaskGenerator(predictor, **CROPPED)
    embeddings = generator.embed(photo())
    for way in ("encode_many", "encode_pixels"):
        monkeypatch.setattr(predictor, way, lambda *_: pytest.fail("encoded again"))
    generator.generate(photo(), embeddings=embeddings)


def test_embeddings_that_do_not_belong(predictor: Predictor) -> None:
    generator = AutomaticMaskGenerator(predictor, **CROPPED)
    embeddings = generator.embed(photo())
    with pytest.raises(EmbeddingError, match=r"one embedding per crop, 5; got 4. Make them with embed\(image\)"):
        generator.generate(photo(), embeddings=embeddings[:4])
    with pytest.raises(EmbeddingError, match=r"crop of \(90, 130\) pixels.*got one of.*from the same photo"):
        generator.generate(photo(), embeddings=embeddings[::-1])
    with pytest.raises(EmbeddingError, match="Encode the photo again"):
        AutomaticMaskGenerator(lively(1), **CROPPED).generate(photo(), embeddings=embeddings)
    with pytest.raises(PromptError, match="got Tensor"):
        generator.generate(photo(), embeddings=[torch.zeros(1)] * 5)  # type: ignore[list-item]


@pytest.mark.parametrize("layers", [0, 1, 2])
def test_all_empty_gives_an_empty_list(discs: Predictor, layers: int) -> None:
    for knobs in ({"pred_iou_thresh": 0.99}, {"stability_score_thresh": 1.0}):
        config: dict[str, Any] = {"points_per_side": 4, "crop_n_layers": layers, "min_mask_region_area": 9, **knobs}
        assert AutomaticMaskGenerator(discs, **config).generate(photo()) == []


def test_masks_without_a_pixel_are_no_trouble() -> None:
    nothing = Predictor(DiscSam(radii=(-5, -5, -5, -5)), device="cpu")
    strict = AutomaticMaskGenerator(nothing, points_per_side=3, crop_n_layers=1)
    assert strict.generate(photo()) == []
    loose = AutomaticMaskGenerator(nothing, points_per_side=2, pred_iou_thresh=0, stability_score_thresh=0)
    assert {record.area for record in loose.generate(photo())} <= {0}


def test_progress_counts_every_click_once(discs: Predictor) -> None:
    seen: list[tuple[int, int]] = []
    generator = AutomaticMaskGenerator(discs, **CROPPED, points_per_batch=10, crop_n_points_downscale_factor=2)
    generator.generate(photo(), progress=lambda done, total: seen.append((done, total)))
    total = 25 + 4 * 4
    assert {everything for _, everything in seen} == {total}
    counts = [done for done, _ in seen]
    assert counts == sorted(set(counts)) and counts[-1] == total and counts[:3] == [10, 20, 25]


def test_cancel_stops_between_batches(discs: Predictor) -> None:
    asked, done = [0], [0]

    def cancelled() -> bool:
        asked[0] += 1
        return asked[0] > 4

    def progress(count: int, _: int) -> None:
        done[0] = count

    generator = AutomaticMaskGenerator(discs, **CROPPED, points_per_batch=5)
    with pytest.raises(Cancelled, match="stopped on request"):
        generator(photo(), progress=progress, cancelled=cancelled)
    assert done[0] == 15
    with pytest.raises(Cancelled):
        generator.generate(photo(), cancelled=lambda: True)
    assert generator.generate(photo(), cancelled=lambda: False), "a cancelled generator works on"


def test_pickles_as_a_mask_source(predictor: Predictor) -> None:
    generator = AutomaticMaskGenerator(predictor, **{**EASY, "pred_iou_thresh": -9.0})
    copy: AutomaticMaskGenerator = pickle.loads(pickle.dumps(generator))
    assert copy.fingerprint == generator.fingerprint and copy.config == generator.config
    assert dicts(copy(photo())) == dicts(generator(photo()))
    call = inspect.signature(AutomaticMaskGenerator.__call__).parameters
    assert list(call) == ["self", "rgb", "progress", "cancelled"]


def test_fingerprint_is_of_model_and_knobs(predictor: Predictor) -> None:
    one = AutomaticMaskGenerator(predictor).fingerprint
    assert len(one) == 64 and one == AutomaticMaskGenerator(predictor, SweepConfig()).fingerprint
    others = [
        AutomaticMaskGenerator(predictor, PRESETS["sa1b"]).fingerprint,
        AutomaticMaskGenerator(predictor, box_nms_thresh=0.71).fingerprint,
        AutomaticMaskGenerator(lively(1)).fingerprint,
    ]
    assert len({one, *others}) == 4


@pytest.mark.parametrize("knobs", [EASY, {**CROPPED, "min_mask_region_area": 30}])
def test_three_output_modes_hold_the_same_masks(discs: Predictor, knobs: dict[str, Any]) -> None:
    records = AutomaticMaskGenerator(discs, **knobs).generate(photo())
    found = {
        mode: SamAutomaticMaskGenerator(discs, **knobs, output_mode=mode).generate(photo())
        for mode in ("binary_mask", "uncompressed_rle", "coco_rle")
    }
    assert len(records) == len(found["coco_rle"]) > 0
    for record, binary, plain, coco in zip(records, *found.values(), strict=True):
        assert binary["segmentation"].dtype == np.bool_ and np.array_equal(binary["segmentation"], record.mask)
        assert isinstance(plain["segmentation"]["counts"], list)
        assert isinstance(coco["segmentation"]["counts"], str)
        assert np.array_equal(decode(from_uncompressed(plain["segmentation"])), record.mask)
        assert np.array_equal(decode(coco["segmentation"]), record.mask)
        for one in (binary, plain, coco):
            assert list(one) == list(REFERENCE_KEYS)
            assert one["bbox"] == list(record.bbox) and one["area"] == record.area
            assert one["point_coords"] == [list(point) for point in record.point_coords]
        json.dumps([plain, coco])


def test_the_faces_signature_is_the_references() -> None:
    every = inspect.signature(SamAutomaticMaskGenerator.__init__).parameters
    own = {name: value.default for name, value in every.items() if value.kind is value.KEYWORD_ONLY}
    assert own == {"exact": False}, "what is not the reference's can only be named"
    parameters = {name: value for name, value in every.items() if name not in own}
    assert {name: value.default for name, value in parameters.items() if name not in ("self", "model")} == {
        "points_per_side": 32,
        "points_per_batch": 64,
        "pred_iou_thresh": 0.88,
        "stability_score_thresh": 0.95,
        "stability_score_offset": 1.0,
        "box_nms_thresh": 0.7,
        "crop_n_layers": 0,
        "crop_nms_thresh": 0.7,
        "crop_overlap_ratio": 512 / 1500,
        "crop_n_points_downscale_factor": 1,
        "point_grids": None,
        "min_mask_region_area": 0,
        "output_mode": "binary_mask",
    }
    assert list(parameters)[1:3] == ["model", "points_per_side"] and list(parameters)[-1] == "output_mode"
    assert list(inspect.signature(SamAutomaticMaskGenerator.generate).parameters) == ["self", "image"]


def test_the_face_takes_a_model_and_grids_of_its_own() -> None:
    grid = np.array([[0.25, 0.5], [0.75, 0.5]])
    model = DiscSam()
    face = SamAutomaticMaskGenerator(
        model, points_per_side=None, point_grids=[grid], pred_iou_thresh=0.85, stability_score_thresh=0.3
    )
    found = face.generate(photo())
    assert [one["point_coords"] for one in found] == [[[32.5, 45.0]], [[97.5, 45.0]]]
    assert isinstance(face.predictor, Predictor) and face.predictor.model is model
    with pytest.raises(OptionError, match=r"output_mode must be one of binary_mask.*got 'png'"):
        SamAutomaticMaskGenerator(model, output_mode="png")  # type: ignore[arg-type]


def test_masks_cut_by_a_crop_are_dropped(discs: Predictor) -> None:
    """Discs of radius 12 cells near an inner edge of a crop are incomplete; at the photo's own edge they stay."""
    size, ratio = (400, 400), 512 / 1500
    crops = crop_boxes(size, 1, ratio)[0]
    records = AutomaticMaskGenerator(discs, **CROPPED, crop_nms_thresh=1.0, box_nms_thresh=1.0).generate(photo(*size))
    inside = [record for record in records if record.crop_box != (0, 0, 400, 400)]
    assert inside and {record.crop_box for record in inside} <= {(x, y, X - x, Y - y) for x, y, X, Y in crops}
    touching = 0
    for record in inside:
        x, y, w, h = record.bbox
        cx, cy, cw, ch = record.crop_box
        for near, crop_edge, photo_edge in (
            (x, cx, 0),
            (y, cy, 0),
            (x + w, cx + cw, 400),
            (y + h, cy + ch, 400),
        ):
            assert crop_edge == photo_edge or abs(near - crop_edge) > 20
            touching += crop_edge == photo_edge and abs(near - crop_edge) <= 20
    assert touching


def test_smaller_crops_win(discs: Predictor) -> None:
    """Discs scale with the crop, so the same click gives a disc in each crop; one point far from all inner edges."""
    grid = ((0.5, 0.5),)
    config = SweepConfig(
        points_per_side=None,
        point_grids=(grid, grid),
        crop_n_layers=1,
        pred_iou_thresh=0.85,
        stability_score_thresh=0,
        crop_nms_thresh=0.7,
    )
    records = AutomaticMaskGenerator(discs, config).generate(photo(400, 400))
    areas = [record.crop_box[2] * record.crop_box[3] for record in records]
    assert areas == sorted(areas) and len(records) == 5


@pytest.mark.parametrize("layers", [0, 1])
def test_thresholds_filter(discs: Predictor, layers: int) -> None:
    def tokens(**knobs: Any) -> set[int | None]:
        config = {"points_per_side": 3, "crop_n_layers": layers, "stability_score_thresh": 0, **knobs}
        return {record.output_index for record in AutomaticMaskGenerator(discs, **config).generate(photo())}

    assert tokens(pred_iou_thresh=0.85) == {1}
    assert tokens(pred_iou_thresh=0.7) == {1, 2}
    assert tokens(pred_iou_thresh=0) == tokens(pred_iou_thresh=-1) == {1, 2, 3}
    exact = float(np.float32(0.6))
    assert tokens(pred_iou_thresh=exact) == {1, 2}, "not above is dropped"


def test_stability_is_of_the_whole_mask(discs: Predictor) -> None:
    """Discs with slope 4: ±1 logit moves the edge by a quarter cell, so larger discs are more stable."""
    records = AutomaticMaskGenerator(discs, **EASY, box_nms_thresh=1.0).generate(photo(256, 256))
    by_token = {index: [r.stability_score for r in records if r.output_index == index] for index in (1, 2, 3)}
    assert max(by_token[1]) < min(by_token[2]) and max(by_token[2]) < min(by_token[3])
    for index, radius in ((1, 2), (2, 6), (3, 12)):
        ideal = ((radius - 0.25) / (radius + 0.25)) ** 2
        assert np.median(by_token[index]) == pytest.approx(ideal, abs=0.1)
    wide = AutomaticMaskGenerator(discs, **{**EASY, "stability_score_thresh": 0}, stability_score_offset=3.0)
    assert max(r.stability_score for r in wide.generate(photo(256, 256))) < 0.9


def test_sa1b_drops_masks_of_nearly_the_whole_photo() -> None:
    """One candidate covers everything, one half, one a corner of the disc."""
    model = Predictor(DiscSam(radii=(4, 60, 12, 5)), device="cpu")
    knobs: dict[str, Any] = {**EASY, "box_nms_thresh": 1.0}
    shares = [r.area / (128 * 128) for r in AutomaticMaskGenerator(model, **knobs).generate(photo(128, 128))]
    kept = AutomaticMaskGenerator(model, **knobs, max_area_share=0.95).generate(photo(128, 128))
    assert max(shares) == 1.0 and len(kept) == sum(share < 0.95 for share in shares) < len(shares)
    assert PRESETS["sa1b"].max_area_share == 0.95


def test_the_sa1b_preset_is_the_papers_generator(predictor: Predictor) -> None:
    config = PRESETS["sa1b"]
    generator = AutomaticMaskGenerator(predictor, config)
    assert len(generator.crops((1500, 2250))) == 21
    total: list[int] = []
    clicks = [0, 0]

    def progress(done: int, everything: int) -> None:
        clicks[:] = done, everything
        total.append(everything)

    small = dataclasses.replace(config, points_per_side=8)
    AutomaticMaskGenerator(predictor, small).generate(photo(), progress=progress)
    assert clicks == [64 + 4 * 16 + 16 * 4] * 2
    assert (config.points_per_side, config.crop_n_points_downscale_factor) == (32, 2)
    assert (config.pred_iou_thresh, config.stability_score_thresh, config.stability_score_offset) == (0.88, 0.95, 1.0)
    assert (config.box_nms_thresh, config.crop_nms_thresh) == (0.7, 0.7)
    assert config.min_mask_region_area == 100 and config.drop_small_masks
    assert PRESETS["reference"] == SweepConfig()


@pytest.mark.parametrize("size_hw", [(1, 200), (200, 1), (1, 1), (3, 900), (5, 7)])
@pytest.mark.parametrize("layers", [0, 2])
def test_thin_photos(discs: Predictor, size_hw: tuple[int, int], layers: int) -> None:
    records = AutomaticMaskGenerator(discs, **EASY, crop_n_layers=layers).generate(photo(*size_hw))
    assert all(record.size_hw == size_hw for record in records)


def test_non_overlapping_label_map(discs: Predictor) -> None:
    records = AutomaticMaskGenerator(discs, **EASY).generate(photo())
    labels = masks_to_label_map([record.segmentation for record in records])
    assert labels.shape == (90, 130) and labels.max() > 10
    assert np.array_equal(labels > 0, np.any([record.mask for record in records], axis=0))


@pytest.mark.parametrize("broken", [np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4, 2), np.uint8), "no-such.png"])
def test_bad_photos(discs: Predictor, broken: Any) -> None:
    with pytest.raises(ImageError):
        AutomaticMaskGenerator(discs, **EASY).generate(broken)


def test_knobs_and_config_exclude_each_other(discs: Predictor) -> None:
    with pytest.raises(OptionError, match=r"either a config or single knobs; got both \(points_per_side\)"):
        AutomaticMaskGenerator(discs, SweepConfig(), points_per_side=3)


@pytest.mark.parametrize("exact", [False, True])
def test_no_more_than_a_block_is_computed_at_once(
    discs: Predictor, monkeypatch: pytest.MonkeyPatch, exact: bool
) -> None:
    """What is kept between candidates is run lengths; full size means the mask's own window, block by block."""
    blocks: list[int] = []
    inner = Upscaler.columns_of

    def spy(self: Upscaler, *where: Any) -> Iterator[tuple[int, NDArray[np.float32]]]:
        for left, block in inner(self, *where):
            blocks.append(block.size)
            yield left, block

    monkeypatch.setattr(Upscaler, "columns_of", spy)
    monkeypatch.setattr(Upscaler, "logits", lambda *_: pytest.fail("the whole photo was upscaled"))
    image: NDArray[np.uint8] = photo(1000, 1000)
    records = AutomaticMaskGenerator(discs, **{**EASY, "pred_iou_thresh": 0.85, "exact": exact}).generate(image)
    assert len(records) == 25
    assert max(blocks) <= BLOCK_PIXELS and sum(blocks) < 25 * 0.1 * 1000 * 1000


def test_lively_masks_vary(predictor: Predictor) -> None:
    """The toy the other tests lean on is not degenerate."""
    config = {**EASY, "pred_iou_thresh": -9.0, "box_nms_thresh": 1.0}
    records = AutomaticMaskGenerator(Predictor(lively_model(), device="cpu"), **config).generate(photo())
    assert len(records) > 30 and len({record.area for record in records}) > 15
