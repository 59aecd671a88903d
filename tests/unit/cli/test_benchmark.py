"""`segany benchmark` on a model that takes no time: what it writes, not how fast anything is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from segany.recipes.benchmark import demo_sheet
from segany.transforms.image import read_image

from .conftest import Ran

Run = Callable[..., Ran]
SMALL = ("--points-per-side", "2", "--device", "cpu", "--repeats")


def check_row(row: dict[str, Any], repeats: int) -> None:
    seconds = row["seconds"]
    assert len(seconds["rounds"]) == repeats
    assert 0 < seconds["min"] <= seconds["median"] <= seconds["max"]
    if "operations" in row:
        assert row["operations"] > 0
        for dtype in ("float32", "bfloat16"):
            product = row["bound_seconds"][dtype] * row["times_bound"][dtype]
            assert product == pytest.approx(seconds["median"], rel=1e-6)


def test_everything_is_measured_and_written(run: Run, photo: Path) -> None:
    words = ("--random-weights", "toy", "--photo", photo, "--against", "transformers", "--threads", "1", "-o", "out")
    said = run("benchmark", *words, *SMALL, "1")
    assert said.code == 0, said.err
    report = json.loads(Path("out/toy.json").read_text())
    assert report["format"] == "segany-benchmark 1"
    assert (report["model"]["name"], report["model"]["random_weights"]) == ("toy", True)
    assert report["photo"] == {"name": "photo.png", "size_hw": [60, 90]}
    sides = {(row["what"], row["side"]) for row in report["results"]}
    assert sides == {
        ("encode", "segany"),
        ("encode", "transformers"),
        ("decode, 1 click", "segany"),
        ("decode, 1 click", "transformers"),
        ("decode, 64 clicks", "segany"),
        ("decode, 64 clicks", "transformers"),
        ("everything, 2² clicks", "segany"),
        ("cold start of segany segment", "segany"),
    }
    for row in report["results"]:
        check_row(row, repeats=1)
    assert set(report["rates"]) == {"float32", "bfloat16"}
    assert 0 <= report["agreement"]["embedding_relative_error"] < 0.02
    assert report["agreement"]["mask_iou_median"] > 0.95
    memory = report["memory"]
    assert 10e6 < memory["after_imports"] <= memory["after_loading"] <= memory["peak"] < 3e9
    assert memory["photo_bytes"] == 60 * 90 * 3
    machine = report["machine"]
    assert machine["threads"] == 1 and machine["cores"] >= 1
    assert {"torch", "numpy", "transformers"} <= set(machine["libraries"])
    assert len(machine["load_average"]) == len(machine["load_average_before"]) == 3
    assert read_image("out/toy.png").shape[2] == 3
    for text in ("encode", "transformers", "ratio", "x bound bfloat16", "peak memory"):
        assert text in said.out
    assert Path("out/toy.txt").read_text() == said.out


def test_parts_can_be_chosen_and_a_model_named(run: Run, photo: Path, toy: Path) -> None:
    said = run("benchmark", "--model", toy, "--what", "decode", "--photo", photo, "-o", "out", *SMALL, "2")
    assert said.code == 0, said.err
    report = json.loads(Path("out/toy.json").read_text())
    assert [row["what"] for row in report["results"]] == ["decode, 1 click", "decode, 64 clicks"]
    assert "memory" not in report and report["agreement"] == {}
    for row in report["results"]:
        check_row(row, repeats=2)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--what", "encode,speed"), "--what"),
        (("--what", ""), "--what"),
        (("--against", "others"), "--against"),
        (("--random-weights", "vit_x"), "--random-weights"),
        (("--repeats", "0"), "--repeats"),
        (("--random-weights", "tiny", "--what", "encode", "--against", "transformers"), "plain ViT"),
        (("--photo", "nowhere.jpg"), "nowhere.jpg"),
    ],
)
def test_wrong_options_are_answered(run: Run, words: tuple[str, ...], expected: str) -> None:
    said = run("benchmark", *words, "-o", "out")
    assert said.code == 2
    assert expected in said.err
    assert not Path("out").exists()


def test_the_built_in_photo() -> None:
    sheet = demo_sheet()
    assert (sheet.shape, str(sheet.dtype)) == ((1200, 1800, 3), "uint8")
    assert sheet.reshape(2, 600, 3, 600, 3).std(axis=(1, 3, 4)).min() > 10, "a tile is empty"
