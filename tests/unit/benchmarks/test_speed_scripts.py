"""The scripts that measure speed run, and write what the performance page reads. No time is asserted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from segany.modeling.checkpoints.save import save_model
from segany.predict.automatic.config import SweepConfig
from segany.predict.predictor import Predictor
from segany.recipes.timing import PRODUCT, Timing, interleaved, machine, matrix_products, peak_bytes, rates

ROOT = Path(__file__).resolve().parents[3]
Script = Callable[[str], ModuleType]


@pytest.fixture
def photo(tmp_path: Path, scene: Any) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(scene(96, 144)).save(path)
    return path


@pytest.fixture
def toy(toy_predictor: Predictor, tmp_path: Path) -> Path:
    return save_model(toy_predictor.model.state_dict(), toy_predictor.config, tmp_path / "toy.safetensors")


@pytest.fixture
def few_photos(script_of: Script, scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    common = script_of("_common")
    monkeypatch.setattr(common, "demo_photos", lambda: {"one": scene(60, 90), "two": scene(90, 60)})


def test_interleaved_turns_the_order_and_counts_rounds() -> None:
    said: list[str] = []
    works = {name: (lambda name=name: said.append(name)) for name in "abc"}
    timings = interleaved(works, 3)
    assert "".join(said) == "abc" + "abc" + "bca" + "cab"
    assert all(len(timing.seconds) == 3 for timing in timings.values())
    assert Timing((3.0, 1.0, 2.0)).to_dict() == {"median": 2.0, "min": 1.0, "max": 3.0, "rounds": [3.0, 1.0, 2.0]}


def test_the_bound_is_the_best_rate_of_each_precision() -> None:
    products = matrix_products(torch.device("cpu"), (torch.float32, torch.bfloat16))
    timings = {name: Timing((2.0,)) for name in products}
    fastest = next(name for name in products if name.startswith(f"{PRODUCT} float32"))
    timings[fastest] = Timing((0.5,))
    found = rates(products, timings)
    assert found["float32"] == products[fastest][0] / 0.5
    assert found["bfloat16"] == max(operations for operations, _ in products.values()) / 2
    assert machine()["processor"]["name"]
    assert peak_bytes() > 10e6


def recorded_discs(automatic: ModuleType, predictor: Predictor, side: int) -> Any:
    """Smooth logits: discs around every click, of three radii, and IoUs that differ."""
    low = predictor.config.low_res
    y, x = torch.meshgrid(torch.arange(low) + 0.5, torch.arange(low) + 0.5, indexing="ij")
    reach = torch.tensor([low, low * 96 / 144])
    line = (torch.arange(side) + 0.5) / side
    centres = torch.stack([line.repeat(side), line.repeat_interleave(side)], dim=1) * reach
    distance = torch.hypot(x - centres[:, 0, None, None], y - centres[:, 1, None, None])
    radii = torch.tensor([4.0, 2.5, 5.0, 8.0])
    logits = (radii[:, None, None] - distance[:, None]) * 20
    iou = 0.9 + 0.05 * torch.rand(side * side, 4, generator=torch.Generator().manual_seed(0))
    return automatic.Recorded(logits, iou, side)


def test_both_sides_keep_the_same_of_recorded_logits(script_of: Script, toy_predictor: Predictor, scene: Any) -> None:
    automatic, reference, common = script_of("automatic"), script_of("reference"), script_of("_common")
    rgb = scene(96, 144)
    predictor = automatic.Injected(toy_predictor.model, device="cpu", dtype="float32")
    predictor.frame = predictor.model.frame((96, 144))
    predictor.recorded = recorded_discs(automatic, predictor, 7)
    plain = reference.Reference(toy_predictor.model.state_dict(), toy_predictor.config)
    theirs = automatic.Side("reference", [])
    automatic.run_reference(theirs, plain, rgb, predictor.recorded)
    assert len(theirs.records) > 30
    for knobs in [{}, common.EXACT]:
        mine = automatic.Side("segany", [])
        automatic.run_ours(mine, predictor, rgb, knobs)
        found = common.matching(theirs.records, mine.records)
        assert (found["found"], found["extra"]) == (len(theirs.records), 0), found
        assert set(mine.rounds[0]) == {"encode", "decode", "post-processing"}
        assert min(mine.rounds[0].values()) > 0


def test_clicks_in_any_order_get_their_own_answer(script_of: Script, toy_predictor: Predictor) -> None:
    automatic = script_of("automatic")
    recorded = recorded_discs(automatic, toy_predictor, 5)
    frame = toy_predictor.model.frame((96, 144))
    grid = torch.from_numpy(script_of("segany.geometry.grids").point_grid(5) * [144, 96])
    on_canvas = frame.to_canvas(grid)
    order = torch.randperm(25, generator=torch.Generator().manual_seed(1))
    assert torch.equal(recorded.of(on_canvas[order], frame)[1], recorded.iou[order])
    part = recorded.of(on_canvas[3:9], frame)[0]
    assert part.data_ptr() == recorded.logits[3:9].data_ptr()


def test_matching_counts_both_ways(script_of: Script) -> None:
    common = script_of("_common")

    def record(x0: int, x1: int) -> dict[str, Any]:
        mask = np.zeros((20, 200), bool)
        mask[:, x0:x1] = True
        return {"segmentation": {"size": [20, 200], "counts": [20 * x0, 20 * (x1 - x0), 20 * (200 - x1)]}}

    found = common.matching([record(0, 100), record(100, 150)], [record(0, 99), record(100, 140), record(150, 199)])
    assert (found["expected"], found["got"], found["found"], found["extra"]) == (2, 3, 1, 2)
    assert common.matching([], [record(0, 10)])["extra"] == 1


def test_the_page_is_written_from_the_results(
    script_of: Script, photo: Path, toy: Path, tmp_path: Path, few_photos: None
) -> None:
    out = tmp_path / "results"
    small = ["--photo", str(photo), "--repeats", "1", "-o", str(out)]
    assert script_of("automatic").main(["--model", "toy", "--points-per-side", "3", *small]) == 0
    assert script_of("profile_model").main(["--model", "toy", "--prompts", "2", *small]) == 0
    assert script_of("precision").main(["--model", "toy", "--clicks", "2", "--limit", "1", "-o", str(out)]) == 0
    linear = ["--model", str(toy), "--sides", "1", "2", "3", "--images", "2", "--points-per-side", "1", *small]
    assert script_of("linear").main(linear) == 0
    names = {path.name for path in out.iterdir()}
    assert {
        f"{name}.{kind}" for name in ("automatic", "profile", "precision", "linear") for kind in ("json", "png")
    } < names
    page = tmp_path / "performance.md"
    page.write_text((ROOT / "docs" / "performance.md").read_text(encoding="utf-8"), encoding="utf-8")
    words = ["--results", str(out), "--page", str(page)]
    writer = script_of("write_performance")
    assert writer.main(words) == 0
    assert writer.main([*words, "--check"]) == 0
    text = page.read_text(encoding="utf-8")
    ratio = json.loads((out / "automatic.json").read_text())["ratio"]
    assert f"**{ratio:.1f} times** as fast as the reference" in text
    assert "Not measured yet" in text.split("<!-- memory:start -->")[1].split("<!-- memory:end -->")[0]
    for name in ("automatic", "linear", "profile"):
        assert f"(results/{name}.png)" in text
    page.write_text(text.replace(f"{ratio:.1f} times", "99.9 times"), encoding="utf-8")
    assert writer.main([*words, "--check"]) == 1


@pytest.mark.skipif("exact" not in SweepConfig.__dataclass_fields__, reason="this version has no exact path")
def test_fast_and_exact_are_compared(script_of: Script, toy: Path, tmp_path: Path, few_photos: None) -> None:
    words = ["--model", str(toy), "--points-per-side", "2", "--limit", "1", "-o", str(tmp_path)]
    assert script_of("fast_vs_exact").main(words) == 0
    totals = json.loads((tmp_path / "fast_vs_exact.json").read_text())["totals"]
    assert set(totals) == {"filters alone", "as by default"}


def test_the_committed_page_is_what_the_committed_results_say(script_of: Script) -> None:
    assert script_of("write_performance").main(["--check"]) == 0
