"""Local runs: finished work stays, broken images are passed over, settings are not mixed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segany.batch.local import LEDGER, open_folder, run_local
from segany.batch.plan import find_images
from segany.core.errors import Cancelled, OptionError
from segany.records.formats import WRITERS
from segany.records.record import MaskRecord
from segany.records.sa1b import read_sa1b


class Halves:
    """A mask source without a model: the left half of every image."""

    fingerprint = "halves"

    def __init__(self, fail_at: int | None = None) -> None:
        self.calls, self.fail_at = 0, fail_at

    def __call__(self, rgb: Any, *, progress: Any = None, cancelled: Any = None) -> list[MaskRecord]:
        self.calls += 1
        if self.calls == self.fail_at:
            raise KeyboardInterrupt
        mask = np.zeros(rgb.shape[:2], dtype=bool)
        mask[:, : rgb.shape[1] // 2] = True
        return [MaskRecord.from_mask(mask)]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    for number, name in enumerate(["a.png", "b.png", "sub/c.png"]):
        Image.fromarray(np.full((10, 20 + number, 3), 50 * number, np.uint8)).save(folder / name)
    return folder


def test_every_image_is_written_with_its_size_and_name(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    seen = []
    report = run_local(
        find_images(photos),
        Halves(),
        out,
        WRITERS["sa1b"],
        progress=lambda done, total: seen.append((done, total)),
    )
    assert (len(report.done), report.masks, report.failed, report.skipped) == (3, 3, [], [])
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]
    record = read_sa1b(out / "sub" / "c.json")
    assert (record.file_name, record.size_hw, record.annotations[0].area) == ("c.png", (10, 22), 110)


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_every_format_resumes(photos: Path, tmp_path: Path, name: str) -> None:
    out, items = tmp_path / "out", find_images(photos)
    with pytest.raises(KeyboardInterrupt):
        run_local(items, Halves(fail_at=2), out, WRITERS[name])
    assert WRITERS[name].target(out, "a").exists()
    source = Halves()
    report = run_local(items, source, out, WRITERS[name])
    assert [item.stem for item in report.skipped] == ["a"]
    assert source.calls == 2
    assert all(WRITERS[name].target(out, item.stem).exists() for item in items)
    again = Halves()
    run_local(items, again, out, WRITERS[name])
    assert again.calls == 0


def test_a_corrupt_image_is_reported_and_the_rest_goes_on(photos: Path, tmp_path: Path) -> None:
    (photos / "b.png").write_bytes((photos / "b.png").read_bytes()[:40])
    told: list[str] = []
    report = run_local(
        find_images(photos),
        Halves(),
        tmp_path / "out",
        WRITERS["sa1b"],
        on_failure=lambda item, reason: told.append(f"{item.stem}: {reason}"),
    )
    assert [item.stem for item in report.done] == ["a", "sub/c"]
    assert [item.stem for item, _ in report.failed] == ["b"]
    assert len(told) == 1 and "b.png" in told[0]
    assert not (tmp_path / "out" / "b.json").exists()


def test_a_picture_hook_runs_before_the_masks_count_as_done(photos: Path, tmp_path: Path) -> None:
    def broken(item: Any, rgb: Any, record: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_local(find_images(photos), Halves(), tmp_path / "out", WRITERS["sa1b"], before_write=broken)
    assert not list((tmp_path / "out").rglob("*.json"))


def test_cancelling_stops_between_images(photos: Path, tmp_path: Path) -> None:
    source = Halves()
    with pytest.raises(Cancelled):
        run_local(
            find_images(photos),
            source,
            tmp_path / "out",
            WRITERS["sa1b"],
            cancelled=lambda: source.calls == 2,
        )
    assert len(list((tmp_path / "out").rglob("*.json"))) == 2


def test_a_folder_belongs_to_one_kind_of_run(tmp_path: Path) -> None:
    out = tmp_path / "out"
    open_folder(out, {"masks": "abc", "settings": {"points_per_side": 4}})
    open_folder(out, {"masks": "abc", "settings": {"points_per_side": 4}})
    with pytest.raises(OptionError, match="--overwrite"):
        open_folder(out, {"masks": "abc", "settings": {"points_per_side": 8}})
    open_folder(out, {"masks": "abc", "settings": {}}, overwrite=True)
    open_folder(out, {"masks": "abc", "settings": {}})


def test_a_damaged_ledger_or_a_file_in_the_way_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OptionError, match="folder"):
        open_folder(tmp_path / "file", {})
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / LEDGER).write_text("{", encoding="utf-8")
    with pytest.raises(OptionError, match="--overwrite"):
        open_folder(tmp_path / "out", {})
