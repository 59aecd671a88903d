"""Numbers of data sets, checked against masks whose numbers are known."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray

from segany.core.errors import OptionError
from segany.data.sample import Sample, given_bytes
from segany.data.stats import StatsCollector, StatsConfig, centroid, concavity
from segany.masks.rle import encode
from segany.records.record import ImageRecord, MaskRecord

SIZE = (20, 30)


def rectangle(x: int, y: int, w: int, h: int) -> NDArray[np.bool_]:
    mask = np.zeros(SIZE, bool)
    mask[y : y + h, x : x + w] = True
    return mask


def given_record(record: ImageRecord) -> ImageRecord:
    return record


def sample(key: str, masks: Sequence[NDArray[np.bool_]], label: str | None = None) -> Sample:
    records = tuple(MaskRecord.from_mask(mask, label=label) for mask in masks)
    height, width = SIZE
    record = ImageRecord(image_id=1, width=width, height=height, file_name="a.png", annotations=records)
    return Sample(
        source="made",
        key=key,
        file_name="a.png",
        load_bytes=partial(given_bytes, b""),
        load_record=partial(given_record, record),
    )


def test_masks_per_image_fall_into_the_papers_bins() -> None:
    collector = StatsCollector("made")
    for count in (0, 10, 11, 50, 51, 100, 101, 200, 201, 300):
        collector.add(sample(f"a{count}", [rectangle(0, 0, 1, 1)] * count))
    shares = collector.result().count_shares()
    assert list(shares) == ["≤10", "11–50", "51–100", "101–200", ">200"]
    assert all(share == pytest.approx(0.2) for share in shares.values())


def test_size_place_and_labels() -> None:
    collector = StatsCollector("made", StatsConfig(heat_bins=2))
    collector.add(sample("a", [rectangle(0, 0, 15, 10), rectangle(15, 10, 15, 10), np.zeros(SIZE, bool)], "cup"))
    stats = collector.result()
    assert (stats.images, stats.masks, stats.empty_masks) == (1, 2, 1)
    assert stats.size_shares()[int(0.5 * 20)] == 1
    assert stats.size_quantile(0.5) == pytest.approx(0.5, abs=0.001)
    assert stats.centers.tolist() == [[1, 0], [0, 1]]
    assert stats.labels == {"cup": 2}


def test_a_whole_image_and_a_single_pixel_have_a_bin() -> None:
    collector = StatsCollector("made", StatsConfig(heat_bins=10))
    collector.add(sample("a", [np.ones(SIZE, bool), rectangle(29, 19, 1, 1)]))
    stats = collector.result()
    assert stats.size_shares()[-1] == stats.size_shares()[0] == 0.5
    assert stats.centers[-1, -1] == 1 and stats.centers.sum() == 2


def test_centroid_is_the_mean_of_the_pixel_centres() -> None:
    rng = np.random.default_rng(0)
    for share in (0.02, 0.5, 0.98):
        mask = rng.random(SIZE) < share
        mask[3, 4] = True
        rows, columns = np.nonzero(mask)
        assert centroid(encode(mask)) == pytest.approx((columns.mean() + 0.5, rows.mean() + 0.5))


def test_concavity_of_known_shapes() -> None:
    assert concavity(rectangle(3, 4, 5, 6)) == 0
    assert concavity(rectangle(3, 4, 1, 1)) == 0
    assert concavity(np.zeros(SIZE, bool)) == 0
    corner = rectangle(0, 0, 10, 10) & ~rectangle(5, 5, 5, 5)
    assert concavity(corner) == pytest.approx(1 - 75 / 87.5)
    assert concavity(rectangle(0, 0, 9, 9) & ~rectangle(3, 3, 3, 3)) == pytest.approx(1 / 9)


def test_concavity_weighs_sizes_alike() -> None:
    """Many small full squares and one large ring: each size counts half."""
    ring = np.ones(SIZE, bool)
    ring[1:-1, 1:-1] = False
    ring[8:12] = True
    collector = StatsCollector("made", StatsConfig(masks_per_stratum=50))
    collector.add(sample("a", [rectangle(i % 28, i % 18, 2, 2) for i in range(200)] + [ring]))
    stats = collector.result()
    assert [len(values) for values in stats.concavity if values] == [50, 1]
    assert stats.mean_concavity == pytest.approx(concavity(ring) / 2)


def test_the_order_of_images_does_not_matter() -> None:
    rng = np.random.default_rng(1)
    samples = [sample(f"a{i}", [rng.random(SIZE) < 0.3 for _ in range(5)]) for i in range(12)]
    results = []
    for order in (samples, samples[::-1]):
        collector = StatsCollector("made", StatsConfig(masks_per_stratum=7))
        for one in order:
            collector.add(one)
        results.append(collector.result().to_json())
    assert results[0] == results[1]


def test_impossible_bins_are_refused() -> None:
    with pytest.raises(OptionError, match="size_bins"):
        StatsConfig(size_bins=7)
    with pytest.raises(OptionError, match="heat_bins"):
        StatsConfig(heat_bins=0)
