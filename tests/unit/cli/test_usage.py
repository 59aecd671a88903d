"""Usage errors: exit code 2, one message that says what to do, nothing written, no traceback."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from segany import __version__
from segany.cli.console import clock, table

from .conftest import Ran

Run = Callable[..., Ran]


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_version(run: Run) -> None:
    said = run("--version")
    assert (said.code, said.out.strip()) == (0, f"segany {__version__}")


@pytest.mark.parametrize(
    "words", [["--help"], ["segment", "--help"], ["models", "--help"], ["evaluate", "points", "-h"]]
)
def test_help_goes_to_stdout(run: Run, words: list[str]) -> None:
    said = run(*words)
    assert said.code == 0
    assert "Usage: segany" in said.out


BAD = {
    "no such command": (["segmnt"], "Unknown command"),
    "no such option": (["segment", "photo.png", "--piont", "3,4"], "--point"),
    "no image": (["segment"], "IMAGE"),
    "a word for a number": (["segment", "photo.png", "--point", "3,4", "--threads", "many"], "--threads"),
    "an unknown choice": (["segment", "photo.png", "--point", "3,4", "--dtype", "int3"], "float32"),
    "nothing pointed at": (["segment", "photo.png"], "--point X,Y"),
    "half a point": (["segment", "photo.png", "--point", "3"], "2 numbers"),
    "a point of words": (["segment", "photo.png", "--point", "left,top"], "2 numbers"),
    "a box of three": (["segment", "photo.png", "--box", "1,2,3"], "4 numbers"),
    "points with two boxes": (
        ["segment", "photo.png", "--point", "3,4", "--box", "0,0,9,9", "--box", "1,1,5,5"],
        "one box",
    ),
    "an unknown ending": (["segment", "photo.png", "--point", "3,4", "-o", "mask.xyz"], "end in .png or .json"),
    "a cut-out as JSON": (["segment", "photo.png", "--point", "3,4", "--cutout", "-o", "a.json"], "--cutout"),
    "the photo as output": (["segment", "photo.png", "--point", "3,4", "-o", "photo.png"], "the photo itself"),
    "a negative feather": (["segment", "photo.png", "--point", "3,4", "--cutout", "--feather", "-2"], "--feather"),
    "no such photo": (["segment", "nothing.png", "--point", "3,4"], "nothing.png"),
    "a photo that is none": (["segment", "text.png", "--point", "3,4"], "text.png"),
    "no such mask": (["segment", "photo.png", "--mask", "nothing.png"], "nothing.png"),
    "no such model": (["segment", "photo.png", "--point", "3,4", "--model", "vit_x"], "vit_x"),
    "a model not downloaded": (["segment", "photo.png", "--point", "3,4", "--model", "vit_b"], "models download vit_b"),
    "a model that is none": (["segment", "photo.png", "--point", "3,4", "--model", "text.png"], "text.png"),
    "no threads": (["segment", "photo.png", "--point", "3,4", "--threads", "0"], "1 or more"),
    "no output folder": (["everything", "photo.png"], "--output"),
    "an unknown format": (["everything", "photo.png", "-o", "out", "--format", "tar"], "sa1b"),
    "no such folder": (["everything", "nothing", "-o", "out"], "nothing"),
    "a folder without images": (["everything", "empty", "-o", "out"], "at least one image"),
    "a pattern without images": (["everything", "empty/*.png", "-o", "out"], "at least one image"),
    "weights nobody knows": (["models", "download", "vit_x"], "vit_b"),
    "information about nothing": (["models", "info", "nothing.pth"], "nothing.pth"),
    "conversion without a target": (["models", "convert", "text.png", "--to", "official"], "--output"),
    "evaluation without data": (["evaluate", "points", "--data", "empty"], "pack"),
    "clicks of words": (["evaluate", "points", "--data", "empty", "--clicks", "one"], "1,3,9"),
}


@pytest.mark.parametrize("case", sorted(BAD))
def test_a_users_mistake_is_answered(run: Run, photo: Path, tmp_path: Path, case: str) -> None:
    (tmp_path / "text.png").write_text("no picture", encoding="utf-8")
    (tmp_path / "empty").mkdir()
    before = files(tmp_path)
    words, expected = BAD[case]
    said = run(*words)
    assert said.code == 2, said
    assert expected in said.err
    assert said.err.startswith("segany: ")
    assert "Traceback" not in said.err + said.out
    assert said.out == ""
    assert files(tmp_path) == before


def test_text_prompts_are_not_offered_yet(run: Run, photo: Path) -> None:
    assert "--text" not in run("segment", "--help").out


def test_columns_line_up() -> None:
    assert table(("a", "long"), [("xyz", "1")]).splitlines() == ["a    long", "---  ----", "xyz  1"]


def test_clock() -> None:
    assert [clock(5), clock(65), clock(3661)] == ["0:05", "1:05", "1:01:01"]
