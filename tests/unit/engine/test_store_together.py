"""Many at once, and some of them killed; on both databases."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sa = pytest.importorskip("sqlalchemy")

from segany.core.errors import EngineError, LeaseError  # noqa: E402

from .conftest import PASSWORD, Desk, document, photo  # noqa: E402

if TYPE_CHECKING:
    from segany.engine.store.store import Store

BOX = (2, 2, 12, 12)
MakeDesk = Callable[..., Desk]


def test_eight_work_at_once_and_nothing_is_done_twice(desk: MakeDesk) -> None:
    d = desk(images=24, review_share=0.5, review_first=0)
    d.store.open_stage(d.project, "manual")
    people = [d.store.add_user(f"annotator {i}", PASSWORD, "annotator").id for i in range(6)]
    judges = [d.store.add_user(f"reviewer {i}", PASSWORD, "reviewer").id for i in range(2)]

    def annotate(user: int) -> list[int]:
        mine = []
        while work := d.store.claim(d.project, user):
            made = document(work.image, BOX)
            d.store.submit(user, work.lease, made, key=f"{user}, {work.lease}")
            mine.append(work.image.id)
        return mine

    def judge(user: int) -> int:
        judged = 0
        while any(task.state not in ("accepted", "in_review") for task in d.store.tasks(d.project)):
            if work := d.store.next_review(d.project, user):
                d.store.review(user, work.lease, "accept", key=f"{user}, {work.lease}")
                judged += 1
        return judged

    with ThreadPoolExecutor(8) as pool:
        working = [pool.submit(annotate, user) for user in people]
        judging = [pool.submit(judge, user) for user in judges]
        done = [image for future in working for image in future.result()]
        judged = sum(future.result() for future in judging)
    assert sorted(done) == sorted(one.id for one in d.images)
    kinds = Counter(event.kind for event in d.store.events(d.project, limit=1000))
    assert kinds["submit"] == kinds["claim"] == kinds["accept"] == 24
    assert 0 < judged < 24, "a half is looked at"
    assert [one.document.version for one in d.store.accepted(d.project)] == [1] * 24


def test_one_person_in_several_tabs_never_waits_for_themselves(desk: MakeDesk) -> None:
    """Claims and submissions of one person at once: neither waits for the other for ever, nor breaks off."""
    d = desk(images=12, review_share=0.0, review_first=0)
    d.store.open_stage(d.project, "manual")

    def tab(number: int) -> int:
        done = 0
        while work := d.store.claim(d.project, d.ann):
            made = document(work.image, BOX)
            try:
                outcome = d.store.submit(d.ann, work.lease, made, key=f"{number}, {work.lease}")
                done += not outcome.repeated
            except LeaseError:  # another tab had the same task and was faster
                continue
        return done

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(tab, range(4))) == 12
    assert [one.document.version for one in d.store.accepted(d.project)] == [1] * 12


def test_one_lease_written_by_many_counts_once(desk: MakeDesk) -> None:
    """A client that repeats itself before the first answer has come."""
    d = desk(images=1)
    d.store.open_stage(d.project, "manual")
    work = d.store.claim(d.project, d.ann)
    assert work
    made = document(work.image, BOX)
    with ThreadPoolExecutor(6) as pool:
        same = [pool.submit(d.store.submit, d.ann, work.lease, made, key="the same key") for _ in range(6)]
        outcomes = [future.result() for future in same]
    assert sorted(outcome.repeated for outcome in outcomes) == [False, True, True, True, True, True]
    assert len({outcome.document for outcome in outcomes}) == 1
    assert len(d.store.documents(work.task.id)) == 1
    with ThreadPoolExecutor(4) as pool:
        others = [pool.submit(d.store.submit, d.ann, work.lease, made, key=f"other key {i}") for i in range(4)]
        assert all(isinstance(future.exception(), LeaseError) for future in others)


def test_one_photo_offered_by_many_is_one_image(desk: MakeDesk) -> None:
    d = desk(images=1)
    with ThreadPoolExecutor(6) as pool:
        same = [pool.submit(d.store.add_image, d.project, "new.png", photo(50)) for _ in range(6)]
        assert len({future.result().id for future in same}) == 1
    assert len(d.store.images(d.project)) == 2


def child(store: Store, address: str, project: int, user: int) -> subprocess.Popen[str]:
    script = Path(__file__).with_name("_annotator_child.py")
    command = [sys.executable, str(script), str(store.folder), address, str(project), str(user)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def test_the_killed_lose_nothing_and_hold_up_nobody(
    open_again: Callable[[], Store], address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two annotators, each killed in the midst of work; a third finishes. What was acknowledged is there, once."""
    from segany.engine.store.base import utc_now

    store = open_again()
    monkeypatch.setattr(store, "_clock", utc_now)
    d = Desk(store, images=16, lease_seconds=1.0)
    store.open_stage(d.project, "manual")
    acknowledged = []
    for user, lines in ((d.ann, 3), (d.bob, 2)):
        process = child(store, address, d.project, user)
        assert process.stdout is not None
        acknowledged += [process.stdout.readline() for _ in range(lines)]
        process.kill()
        acknowledged += process.stdout.readlines()
        process.wait()
    last = child(store, address, d.project, store.add_user("carol", PASSWORD, "annotator").id)
    told, _ = last.communicate(timeout=120)
    assert last.returncode == 0
    acknowledged += told.splitlines(keepends=True)
    pairs = {tuple(int(word) for word in line.split()) for line in acknowledged if line.endswith("\n")}
    kept = {(task.id, one.id) for task in store.tasks(d.project) for one in store.documents(task.id)}
    assert pairs <= kept, "acknowledged work is missing"
    assert len(kept) == 16 and len({task for task, _ in kept}) == 16, "an image was done twice, or never"
    assert {task.state for task in store.tasks(d.project)} == {"submitted"}


@pytest.mark.parametrize("address", ["postgresql"], indirect=True)
def test_a_server_that_was_killed_comes_back(open_again: Callable[[], Store], address: str) -> None:
    """Connections that died are replaced; the caller is told to try again, and trying again works."""
    d = Desk(open_again(), images=2)
    d.store.open_stage(d.project, "manual")
    work = d.store.claim(d.project, d.ann)
    assert work
    other = sa.create_engine(address, isolation_level="AUTOCOMMIT")
    with other.connect() as connection:
        kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
        connection.execute(sa.text(kill + " AND pid <> pg_backend_pid()"))
    other.dispose()
    for _ in range(2):
        try:
            outcome = d.store.submit(d.ann, work.lease, document(work.image, BOX), key="through the storm")
            break
        except EngineError as error:
            assert "try again" in str(error)
    assert outcome.task.state == "submitted"
