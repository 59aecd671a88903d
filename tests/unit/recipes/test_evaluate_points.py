from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segany.core.errors import Cancelled, DataError, OptionError
from segany.data.packs import PACKS
from segany.evaluation.baselines import BaselineConfig
from segany.evaluation.points import PointsConfig
from segany.recipes.evaluate import points

FEW = PointsConfig(clicks=(1, 2))


class HalfPredictor:
    """Answers every prompt with the left half of the image; counts the images it saw."""

    fingerprint = "half"

    def __init__(self) -> None:
        self.seen = 0

    def encode(self, image: Any) -> Any:
        self.seen += 1
        return image.shape[:2]

    def decode(self, image: Any, *, multimask: Any = "auto", **prompts: Any) -> Any:
        count = len(prompts["boxes"] if "boxes" in prompts else prompts["points"])
        masks = np.zeros((count, 1 if multimask is False else 3, *image), bool)
        masks[..., : image[1] // 2] = True

        class Answer:
            pass

        answer: Any = Answer()
        answer.masks = masks
        answer.predicted_iou = np.ones(masks.shape[:2], np.float32)
        answer.low_res_logits = np.zeros((*masks.shape[:2], 8, 8), np.float32)
        return answer


def test_every_pack_gets_its_numbers(packs_root: Path) -> None:
    steps: list[tuple[int, int]] = []
    result = points(packs_root, predictor=HalfPredictor(), protocol=FEW, progress=lambda *step: steps.append(step))
    assert [summary.pack for summary in result.summaries] == list(PACKS)
    assert result.summaries[0].masks == 2 * 5
    assert steps == [(done, 10) for done in range(1, 11)]
    assert result.files == ()
    disc = next(row for row in result.rows if row.pack == "dsb2018")
    assert 0 < disc.scores["box"] < 1


def test_the_held_out_part_is_the_default(packs_root: Path) -> None:
    result = points(packs_root, predictor=HalfPredictor(), packs=["camvid"], protocol=FEW)
    assert {row.image for row in result.rows} == {"val/val0.jpg", "val/val1.jpg"}
    result = points(packs_root, predictor=HalfPredictor(), packs=["camvid"], part="train", protocol=FEW)
    assert {row.image for row in result.rows} == {"train/train0.jpg", "train/train1.jpg"}


def test_reports_are_written_and_repeatable(packs_root: Path, tmp_path: Path) -> None:
    runs = [
        points(
            packs_root,
            predictor=HalfPredictor(),
            packs=["dsb2018", "camvid"],
            protocol=FEW,
            output=tmp_path / name,
            baselines=BaselineConfig(),
        )
        for name in ("a", "b")
    ]
    assert [path.name for path in runs[0].files] == ["masks.jsonl", "points.json", "points.md", "points.png"]
    for first, second in zip(runs[0].files, runs[1].files, strict=True):
        assert first.read_bytes() == second.read_bytes(), first.name
    report = json.loads((tmp_path / "a/points.json").read_text())
    assert report["about"]["model_fingerprint"] == "half"
    assert {"clicks_1", "box", "grabcut", "felzenszwalb"} <= set(report["packs"][0]["scores"])
    assert "GrabCut" in (tmp_path / "a/points.md").read_text()


def test_a_stopped_run_goes_on_where_it_was(packs_root: Path, tmp_path: Path) -> None:
    first = HalfPredictor()
    with pytest.raises(Cancelled, match="after 3 of 4"):
        points(
            packs_root,
            predictor=first,
            packs=["camvid", "dsb2018"],
            protocol=FEW,
            output=tmp_path,
            cancelled=lambda: first.seen == 3,
        )
    journal = tmp_path / "masks.jsonl"
    journal.write_text(journal.read_text() + '{"pack": "dsb2018", "ima')
    second = HalfPredictor()
    result = points(packs_root, predictor=second, packs=["camvid", "dsb2018"], protocol=FEW, output=tmp_path)
    assert second.seen == 1
    whole = points(packs_root, predictor=HalfPredictor(), packs=["camvid", "dsb2018"], protocol=FEW)
    assert result.rows == whole.rows
    assert len(journal.read_text().splitlines()) == 1 + 4


def test_results_of_another_run_are_not_mixed_in(packs_root: Path, tmp_path: Path) -> None:
    points(packs_root, predictor=HalfPredictor(), packs=["camvid"], protocol=FEW, output=tmp_path)
    other = HalfPredictor()
    other.fingerprint = "other"
    with pytest.raises(OptionError, match="another model"):
        points(packs_root, predictor=other, packs=["camvid"], protocol=FEW, output=tmp_path)
    assert other.seen == 0
    points(packs_root, predictor=other, packs=["camvid"], protocol=FEW, output=tmp_path, restart=True)
    assert other.seen == 2


def test_a_damaged_journal_is_an_error(packs_root: Path, tmp_path: Path) -> None:
    (tmp_path / "masks.jsonl").write_text("nonsense\nmore\n")
    with pytest.raises(DataError, match="damaged"):
        points(packs_root, predictor=HalfPredictor(), packs=["camvid"], protocol=FEW, output=tmp_path)


def test_no_pack_or_a_wrong_folder_is_an_error(packs_root: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="at least one pack"):
        points(packs_root, predictor=HalfPredictor(), packs=[])
    with pytest.raises(DataError, match="does not exist"):
        points(tmp_path / "nowhere", predictor=HalfPredictor(), output=tmp_path / "out")
    assert not (tmp_path / "out").exists()
