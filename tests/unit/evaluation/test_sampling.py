from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from segany.core.errors import DataError, OptionError
from segany.data.packs import iter_pack
from segany.evaluation.sampling import MaskRow, SampleConfig, sample_images, sample_masks, score_image


def test_small_masks_are_left_out(packs_root: Path) -> None:
    image = next(iter_pack("dsb2018", packs_root))
    areas = [int(mask.sum()) for mask in image.masks()]
    share = areas[1] / 2400
    keep_all = SampleConfig(min_area_share=share)
    drop_one = SampleConfig(min_area_share=share + 1e-6)
    assert sample_masks(image, (40, 60), keep_all)[0] == [0, 1]
    assert sample_masks(image, (40, 60), drop_one)[0] == [0]


def test_draws_are_capped_and_repeatable(packs_root: Path) -> None:
    image = next(iter_pack("bsds500", packs_root))
    config = SampleConfig(masks_per_image=2, images_per_pack=1, seed=5)
    positions, masks = sample_masks(image, (40, 60), config)
    assert len(positions) == len(masks) == 2 and positions == sorted(positions)
    assert np.array_equal(masks, [image.masks()[position] for position in positions])
    assert sample_masks(image, (40, 60), config)[0] == positions
    others = {tuple(sample_masks(image, (40, 60), replace(config, seed=seed))[0]) for seed in range(20)}
    assert len(others) > 1
    images = list(iter_pack("bsds500", packs_root))
    assert len(sample_images(images, config)) == 1
    assert sample_images(images, SampleConfig()) == images


def test_rows_carry_every_scorers_numbers(packs_root: Path) -> None:
    image = next(iter_pack("dsb2018", packs_root))
    rows = score_image(
        image,
        [lambda rgb, masks: {"area": masks.sum(axis=(1, 2))}, lambda rgb, masks: {"order": np.arange(len(masks))}],
        SampleConfig(),
    )
    assert [row.mask for row in rows] == [0, 1]
    assert [row.scores["order"] for row in rows] == [0, 1]
    assert [row.scores["area"] for row in rows] == pytest.approx([row.area_share * 2400 for row in rows])


def test_an_image_without_large_masks_costs_nothing(packs_root: Path) -> None:
    image = next(iter_pack("coco", packs_root))

    def never(rgb: object, masks: object) -> dict[str, np.ndarray]:
        raise AssertionError("nothing to score")

    assert score_image(image, [never], SampleConfig()) == []


def test_masks_of_another_size_are_an_error(packs_root: Path) -> None:
    image = next(iter_pack("camvid", packs_root))
    with pytest.raises(DataError, match="another image"):
        sample_masks(image, (60, 40), SampleConfig())


def test_rows_survive_json() -> None:
    row = MaskRow(pack="coco", image="a.jpg", mask=3, area_share=0.25, scores={"box": 0.5})
    assert MaskRow.from_dict(row.to_dict()) == row
    with pytest.raises(DataError, match="row of mask scores"):
        MaskRow.from_dict({"pack": "coco"})


def test_impossible_configs_are_errors() -> None:
    with pytest.raises(OptionError, match=r"\[0, 1\]"):
        SampleConfig(min_area_share=2)
    with pytest.raises(OptionError, match="at least 1"):
        SampleConfig(masks_per_image=0)
    with pytest.raises(OptionError, match="at least 1"):
        SampleConfig(images_per_pack=0)
