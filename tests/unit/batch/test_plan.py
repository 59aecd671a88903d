"""Which images a run is about."""

from __future__ import annotations

from pathlib import Path

import pytest

from segany.batch.plan import find_images
from segany.core.errors import DataError


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_a_file_stands_for_itself_whatever_its_ending(tmp_path: Path) -> None:
    touch(tmp_path, "photo.strange")
    assert [(i.path.name, i.stem) for i in find_images(tmp_path / "photo.strange")] == [("photo.strange", "photo")]


def test_a_folder_is_walked_sorted_and_without_other_files(tmp_path: Path) -> None:
    touch(tmp_path, "b.JPG", "a.png", "sub/c.webp", "notes.txt", ".hidden.png", "sub/.d.png")
    assert [i.stem for i in find_images(tmp_path)] == ["a", "b", "sub/c"]


def test_the_output_folder_inside_is_left_out(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "out/a_overlay.png", "out/deep/x.png")
    assert [i.stem for i in find_images(tmp_path, exclude=tmp_path / "out")] == ["a"]
    assert [i.stem for i in find_images(tmp_path, exclude=tmp_path)] == ["a", "out/a_overlay", "out/deep/x"]


def test_equal_stems_stay_apart(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "a.jpg", "a_jpg.png", "sub/a.png")
    stems = [i.stem for i in find_images(tmp_path)]
    assert len(set(stems)) == 4
    assert {"a_png", "sub/a"} <= set(stems)


def test_a_pattern_keeps_folders_below_the_common_one(tmp_path: Path) -> None:
    touch(tmp_path, "x/1/a.png", "x/2/a.png", "x/2/b.txt")
    assert [i.stem for i in find_images(str(tmp_path / "x" / "*" / "*"))] == ["1/a", "2/a"]
    assert [i.stem for i in find_images(str(tmp_path / "**" / "*.png"))] == ["1/a", "2/a"]


@pytest.mark.parametrize("source", ["nothing-here.png", "nothing-here/*.png", "."])
def test_nothing_found_is_an_error(tmp_path: Path, source: str) -> None:
    with pytest.raises(DataError, match="got"):
        find_images(tmp_path / source)
