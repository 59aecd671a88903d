"""The points protocol with a real, untrained model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from segany.evaluation.points import PointsConfig
from segany.modeling.build import build_model
from segany.modeling.presets import PRESETS
from segany.predict.predictor import Predictor
from segany.recipes.evaluate import points


@pytest.fixture(scope="module")
def toy() -> Predictor:
    torch.manual_seed(0)
    return Predictor(build_model(PRESETS["toy"]))


def test_every_score_of_every_mask_is_there(toy: Predictor, packs_root: Path, tmp_path: Path) -> None:
    result = points(packs_root, predictor=toy, model="toy", output=tmp_path / "out")
    expected = {f"clicks_{count}" for count in (1, 2, 3, 5, 9)} | {"oracle_1", "box", "box_oracle", "predicted_1"}
    assert all(expected <= set(row.scores) for row in result.rows)
    values = np.array([[row.scores[name] for name in sorted(expected - {"predicted_1"})] for row in result.rows])
    assert ((values >= 0) & (values <= 1)).all()
    assert all(row.scores["oracle_1"] >= row.scores["clicks_1"] for row in result.rows)
    assert result.about["model_fingerprint"] == toy.fingerprint
    assert all(path.is_file() for path in result.files)


def test_two_runs_agree_and_grouping_changes_nothing(toy: Predictor, packs_root: Path) -> None:
    first = points(packs_root, predictor=toy, packs=["bsds500"], protocol=PointsConfig(clicks=(1, 2)))
    again = points(packs_root, predictor=toy, packs=["bsds500"], protocol=PointsConfig(clicks=(1, 2)))
    assert first.rows == again.rows
    alone = points(
        packs_root, predictor=toy, packs=["bsds500"], protocol=PointsConfig(clicks=(1, 2), prompts_per_call=1)
    )
    for together, single in zip(first.rows, alone.rows, strict=True):
        assert together.scores == pytest.approx(single.scores, abs=0.02)
