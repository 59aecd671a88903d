"""Jobs: from the request to the records, over restarts, cancelling, and failures."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray
from starlette.testclient import TestClient

from segany.core.errors import SeganyError
from segany.core.progress import check_cancelled
from segany.predict.automatic.generator import AutomaticMaskGenerator
from segany.records.record import MaskRecord
from segany.records.sa1b import from_sa1b
from segany.service.errors import ApiError
from segany.service.jobs import MOST_STARTS, JobStore

from .conftest import MakeClient, upload

if TYPE_CHECKING:
    from segany.predict.predictor import Predictor

KNOBS = {
    "points_per_side": 4,
    "points_per_batch": 4,
    "pred_iou_thresh": 0.0,
    "stability_score_thresh": 0.0,
    "box_nms_thresh": 1.0,
}
KEY = "ab" * 32


class Steps:
    """A mask source that takes a step when told to."""

    def __init__(self) -> None:
        self.permits = threading.Semaphore(0)
        self.begun = threading.Event()

    def __call__(self, rgb: Any, *, progress: Any = None, cancelled: Any = None) -> list[MaskRecord]:
        self.begun.set()
        for step in range(1, 4):
            while not self.permits.acquire(timeout=0.01):
                check_cancelled(cancelled)
            progress(step, 3)
        return [MaskRecord.from_mask(np.ones(rgb.shape[:2], np.bool_))]


def start(client: TestClient, key: str, **more: Any) -> str:
    answer = client.post("/api/v1/jobs", json={"kind": "everything", "image": key, **more})
    assert answer.status_code == 202, answer.text
    id: str = answer.json()["id"]
    return id


def wait_until(true: Callable[[], bool], seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.01)


def read_events(client: TestClient, id: str) -> list[tuple[str, dict[str, Any]]]:
    with client.stream("GET", f"/api/v1/jobs/{id}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        text = "".join(stream.iter_text())
    blocks = [block.split("\n", 1) for block in text.split("\n\n") if block.startswith("event:")]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in blocks]


def test_a_job_finds_what_the_generator_finds(
    client: TestClient, photo: NDArray[np.uint8], toy_predictor: Predictor
) -> None:
    expected = AutomaticMaskGenerator(toy_predictor, **KNOBS).generate(photo)
    assert len(expected) > 1
    id = start(client, upload(client, photo), knobs=KNOBS)
    events = read_events(client, id)
    assert {name for name, _ in events[:-1]} <= {"progress"}
    assert events[-1][0] == "done"
    assert events[-1][1]["progress"] == {"done": 16, "total": 16}
    assert events[-1][1]["masks"] == len(expected)
    record = from_sa1b(client.get(f"/api/v1/jobs/{id}/records").json())
    assert (record.height, record.width) == photo.shape[:2]
    assert [mask.segmentation for mask in record.annotations] == [mask.segmentation for mask in expected]
    assert [job["id"] for job in client.get("/api/v1/jobs").json()] == [id]


def test_progress_is_told_while_it_runs_and_records_wait_for_the_end(
    make_client: MakeClient, photo: NDArray[np.uint8]
) -> None:
    steps = Steps()
    client = make_client(source_of=lambda model, knobs: steps)
    id = start(client, upload(client, photo))
    assert steps.begun.wait(30)
    early = client.get(f"/api/v1/jobs/{id}/records")
    assert early.status_code == 409 and "running" in early.json()["error"]["message"]
    steps.permits.release()
    wait_until(lambda: client.get(f"/api/v1/jobs/{id}").json()["progress"] == {"done": 1, "total": 3})
    steps.permits.release(2)
    assert read_events(client, id)[-1][0] == "done"


def test_a_running_and_a_queued_job_can_be_cancelled(make_client: MakeClient, photo: NDArray[np.uint8]) -> None:
    steps = Steps()
    client = make_client(source_of=lambda model, knobs: steps)
    key = upload(client, photo)
    running, queued, last = (start(client, key) for _ in range(3))
    assert steps.begun.wait(30)
    assert client.delete(f"/api/v1/images/{key}").status_code == 409, "a photo at work must stay"
    for id in (queued, running):
        assert client.delete(f"/api/v1/jobs/{id}").json()["status"] == "cancelled"
        assert read_events(client, id)[-1][0] == "cancelled"
    wait_until(lambda: client.get(f"/api/v1/jobs/{last}").json()["status"] == "running")
    steps.permits.release(3)
    assert read_events(client, last)[-1][0] == "done"
    assert client.delete(f"/api/v1/jobs/{last}").json()["status"] == "done", "a finished job stays as it is"
    assert client.get(f"/api/v1/jobs/{running}").json()["status"] == "cancelled"
    assert client.delete(f"/api/v1/images/{key}").status_code == 204


def test_a_stop_puts_the_job_back_and_the_next_start_does_it(
    make_client: MakeClient, photo: NDArray[np.uint8], tmp_path: Path
) -> None:
    steps = Steps()
    client = make_client(source_of=lambda model, knobs: steps, data_dir=tmp_path / "kept")
    key = upload(client, photo)
    first, second = start(client, key), start(client, key)
    assert steps.begun.wait(30)
    client.__exit__(None, None, None)
    stored = {path.parent.name: json.loads(path.read_text()) for path in (tmp_path / "kept/jobs").glob("*/job.json")}
    assert {job["status"] for job in stored.values()} == {"queued"}
    client.__enter__()
    steps.permits.release(6)
    for id in (first, second):
        assert read_events(client, id)[-1][0] == "done"


def test_a_failing_job_says_why_and_the_next_one_runs(make_client: MakeClient, photo: NDArray[np.uint8]) -> None:
    def source_of(model: str, knobs: dict[str, Any]) -> Any:
        def source(rgb: Any, **_: Any) -> list[MaskRecord]:
            if knobs.get("points_per_side") == 1:
                raise SeganyError("more is expected; got 1. Take 2.")
            if knobs.get("points_per_side") == 2:
                raise ZeroDivisionError("a secret of the house")
            return []

        return source

    client = make_client(source_of=source_of)
    key = upload(client, photo)
    ids = [start(client, key, knobs={"points_per_side": side}) for side in (1, 2, 3)]
    ends = [read_events(client, id)[-1] for id in ids]
    assert [name for name, _ in ends] == ["failed", "failed", "done"]
    assert ends[0][1]["error"] == "more is expected; got 1. Take 2."
    assert "secret" not in ends[1][1]["error"]


def test_what_a_kill_leaves_is_queued_again_but_not_for_ever(tmp_path: Path) -> None:
    store = JobStore(tmp_path, keep=10)
    jobs = [store.create(kind="everything", image=KEY, model="toy", knobs={}) for _ in range(4)]
    store.change(jobs[0].id, status="running", starts=1)
    store.change(jobs[1].id, status="running", starts=MOST_STARTS)
    store.finish(jobs[2].id, {"annotations": []})
    (tmp_path / ("cd" * 16)).mkdir()
    (tmp_path / ("cd" * 16) / "job.json").write_text("{ half")
    again = JobStore(tmp_path, keep=10)
    assert [again.get(job.id).status for job in jobs] == ["queued", "failed", "done", "queued"]
    assert [job.id for job in again.queued()] == [jobs[0].id, jobs[3].id]
    assert again.uses(KEY)
    assert len(again.all()) == 4


def test_jobs_keep_their_order_over_a_restart_whatever_the_clock_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter(["2026-01-01T12:00:00.002", *["2026-01-01T12:00:00.001"] * 7])
    monkeypatch.setattr("segany.service.jobs.now", lambda: next(times))
    store = JobStore(tmp_path, keep=10)
    jobs = [store.create(kind="everything", image=KEY, model="toy", knobs={}) for _ in range(8)]
    assert [job.id for job in JobStore(tmp_path, keep=10).queued()] == [job.id for job in jobs]


def test_old_finished_jobs_are_forgotten_and_unfinished_ones_are_not(tmp_path: Path) -> None:
    store = JobStore(tmp_path, keep=3)
    jobs = [store.create(kind="everything", image=KEY, model="toy", knobs={}) for _ in range(3)]
    store.finish(jobs[1].id, {"annotations": []})
    store.create(kind="everything", image=KEY, model="toy", knobs={})
    assert [job.id in {kept.id for kept in store.all()} for job in jobs] == [True, False, True]
    assert not (tmp_path / jobs[1].id).exists()
    with pytest.raises(ApiError, match="forgotten"):
        store.get(jobs[1].id)


def test_a_full_queue_says_when_to_come_again(make_client: MakeClient, photo: NDArray[np.uint8]) -> None:
    steps = Steps()
    client = make_client(source_of=lambda model, knobs: steps, job_queue=1)
    key = upload(client, photo)
    start(client, key)
    assert steps.begun.wait(30)
    start(client, key)
    refused = client.post("/api/v1/jobs", json={"kind": "everything", "image": key})
    assert refused.status_code == 503 and int(refused.headers["retry-after"]) > 0
