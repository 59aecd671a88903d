"""The benchmark's own plumbing, with a predictor that needs no weights."""

from __future__ import annotations

import importlib.util
import json
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "benchmarks" / "tiny_vs_baselines.py"


class NothingPredictor:
    """Finds nothing."""

    def encode(self, image: Any) -> Any:
        return image.shape[:2]

    def decode(self, image: Any, *, multimask: Any = "auto", **prompts: Any) -> Any:
        count = len(prompts["boxes"] if "boxes" in prompts else prompts["points"])
        masks = np.zeros((count, 1 if multimask is False else 3, *image), bool)

        class Answer:
            pass

        answer: Any = Answer()
        answer.masks = masks
        answer.predicted_iou = np.zeros(masks.shape[:2], np.float32)
        answer.low_res_logits = np.zeros((*masks.shape[:2], 8, 8), np.float32)
        return answer


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("tiny_vs_baselines", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "points", partial(module.points, predictor=NothingPredictor()))
    return module


def test_writes_numbers_pages_and_plots_the_same_way_twice(
    script: ModuleType, packs_root: Path, tmp_path: Path
) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("# Title\n<!-- scores:start -->\n<!-- scores:end -->\nrest\n")
    words = ["--data", str(packs_root), "--limit", "1", "--readme", str(readme)]
    for folder in ("one", "two"):
        assert script.main([*words, "--output", str(tmp_path / folder)]) == 0
    names = {"tiny_points.json", "tiny_points.md", "tiny_points.png", "tiny_points_bars.png"}
    assert {path.name for path in (tmp_path / "one").iterdir()} == names
    for name in names - {"tiny_points.json"}:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
    report, again = (json.loads((tmp_path / folder / "tiny_points.json").read_text()) for folder in ("one", "two"))
    assert report.pop("machine")["python"] and again.pop("machine")
    assert report == again
    worse = {item["verdict"] for item in report["comparisons"] if item["theirs"] == "filled_box"}
    assert worse == {"worse"}
    assert report["packs"][0]["scores"]["box"]["mean"] == 0
    page = readme.read_text()
    assert "| bsds500 | 1 |" in page and page.endswith("rest\n")


def test_a_wrong_folder_is_a_clear_failure(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script.main(["--data", str(tmp_path), "--output", str(tmp_path / "out")]) == 2
    assert "does not exist" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
