"""Several images at once: the same results, no more than asked for, and everything stops together."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from segany.batch.local import run_local
from segany.batch.plan import find_images
from segany.core.errors import Cancelled, OptionError
from segany.core.progress import check_cancelled
from segany.records.formats import WRITERS
from segany.records.record import MaskRecord

WAIT_S = 30.0


class Halves:
    """The left half of every image; notes who is at work."""

    fingerprint = "halves"

    def __init__(self) -> None:
        self.lock, self.inside, self.most, self.calls = threading.Lock(), 0, 0, 0
        self.threads: set[int] = set()

    def __call__(self, rgb: Any, *, progress: Any = None, cancelled: Any = None) -> list[MaskRecord]:
        with self.lock:
            self.calls += 1
            self.inside += 1
            self.most = max(self.most, self.inside)
            self.threads.add(torch.get_num_threads())
        try:
            return self.make(rgb, cancelled)
        finally:
            with self.lock:
                self.inside -= 1

    def make(self, rgb: Any, cancelled: Any) -> list[MaskRecord]:
        mask = np.zeros(rgb.shape[:2], dtype=bool)
        mask[:, : rgb.shape[1] // 2] = True
        return [MaskRecord.from_mask(mask)]


class Meeting(Halves):
    """Nobody goes on before so many are there: passes only when they really work at once."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.barrier = threading.Barrier(count)

    def make(self, rgb: Any, cancelled: Any) -> list[MaskRecord]:
        self.barrier.wait(WAIT_S)
        return super().make(rgb, cancelled)


class Patient(Halves):
    """The image of width 20 says what `says` does; the others wait until they are told to stop."""

    def __init__(self, says: BaseException) -> None:
        super().__init__()
        self.says, self.others_began, self.stopped = says, threading.Event(), 0

    def make(self, rgb: Any, cancelled: Any) -> list[MaskRecord]:
        if rgb.shape[1] == 20:
            assert self.others_began.wait(WAIT_S)
            raise self.says
        self.others_began.set()
        for _ in range(int(WAIT_S / 0.01)):
            try:
                check_cancelled(cancelled)
            except Cancelled:
                self.stopped += 1
                raise
            threading.Event().wait(0.01)
        raise AssertionError("never told to stop")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(6):
        picture = np.full((10, 20 + number, 3), 40 * number, np.uint8)
        Image.fromarray(picture).save(folder / f"{number}.png")
    return folder


def test_two_really_work_at_once_and_never_more(photos: Path, tmp_path: Path) -> None:
    source = Meeting(2)
    report = run_local(find_images(photos), source, tmp_path / "out", WRITERS["sa1b"], workers=2)
    assert source.most == 2 and len(report.done) == 6


@pytest.mark.parametrize("name", ["sa1b", "coco"])
def test_any_number_of_workers_gives_the_same(photos: Path, tmp_path: Path, name: str) -> None:
    (photos / "3.png").write_bytes(b"no picture")
    told: list[str] = []
    reports, files = [], []
    for workers in (1, 2, 9):
        out = tmp_path / str(workers)
        seen: list[tuple[int, int]] = []
        report = run_local(
            find_images(photos),
            Halves(),
            out,
            WRITERS[name],
            workers=workers,
            on_failure=lambda item, _: told.append(item.stem),
            progress=lambda done, total, seen=seen: seen.append((done, total)),  # type: ignore[misc]
        )
        assert seen == [(count, 6) for count in range(7)]
        reports.append(([item.stem for item in report.done], [item.stem for item, _ in report.failed], report.masks))
        files.append({path.relative_to(out): path.read_bytes() for path in out.rglob("*.json")})
        assert [path.stem for path in report.written][:5] == ["0", "1", "2", "4", "5"]
    assert reports[0] == reports[1] == reports[2] == (["0", "1", "2", "4", "5"], ["3"], 5)
    assert files[0] == files[1] == files[2] and told == ["3"] * 3


def test_torch_threads_are_divided_and_given_back(photos: Path, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        source = Halves()
        run_local(find_images(photos), source, tmp_path / "out", WRITERS["sa1b"], workers=2)
        assert source.threads == {2} and torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ZeroDivisionError()], ids=["Ctrl-C", "a defect"])
def test_what_stops_one_stops_all(photos: Path, tmp_path: Path, error: BaseException) -> None:
    source = Patient(error)
    with pytest.raises(type(error)):
        run_local(find_images(photos), source, tmp_path / "out", WRITERS["sa1b"], workers=3)
    assert source.stopped == source.calls - 1 and source.inside == 0
    assert not list((tmp_path / "out").rglob("*.json"))
    report = run_local(find_images(photos), Halves(), tmp_path / "out", WRITERS["sa1b"], workers=3)
    assert len(report.done) == 6, "the same call goes on"


def test_cancelling_stops_all(photos: Path, tmp_path: Path) -> None:
    wish = threading.Event()
    source = Halves()

    def progress(done: int, total: int) -> None:
        if done >= 2:
            wish.set()

    with pytest.raises(Cancelled):
        run_local(
            find_images(photos),
            source,
            tmp_path / "out",
            WRITERS["sa1b"],
            workers=2,
            progress=progress,
            cancelled=wish.is_set,
        )
    assert 2 <= len(list((tmp_path / "out").rglob("*.json"))) < 6


def test_a_failure_to_write_ends_the_run(photos: Path, tmp_path: Path) -> None:
    def full(*_: Any) -> None:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        run_local(find_images(photos), Halves(), tmp_path / "out", WRITERS["sa1b"], workers=2, before_write=full)


def test_no_workers(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"workers must be 1 or more; got 0\. Use 1"):
        run_local([], Halves(), tmp_path, WRITERS["sa1b"], workers=0)
