"""Annotators and reviewers on the store; on both databases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

sa = pytest.importorskip("sqlalchemy")

from segany.core.errors import (  # noqa: E402
    AccessError,
    DataError,
    EngineError,
    LeaseError,
    NotFoundError,
    TransitionError,
)

from .conftest import Clock, Desk, document  # noqa: E402

BOX, OTHER = (2, 2, 12, 12), (14, 4, 28, 20)
MakeDesk = Callable[..., Desk]


def test_the_usual_path(desk: MakeDesk) -> None:
    d = desk()
    assert d.store.open_stage(d.project, "manual") == 3
    assert d.store.open_stage(d.project, "manual") == 0, "a second time adds nothing"
    outcome = d.done(d.ann, BOX, OTHER)
    assert outcome.task.state == "submitted"
    judged = d.judged("accept")
    assert (judged.task.state, judged.document) == ("accepted", outcome.document)
    (one,) = d.store.accepted(d.project)
    assert [a.mask.area for a in one.document.document.annotations] == [100, 224]
    assert [event.kind for event in d.store.events(d.project)] == ["claim", "submit", "accept"]


def test_nobody_gets_what_another_holds(desk: MakeDesk) -> None:
    d = desk(images=2)
    d.store.open_stage(d.project, "manual")
    first, second = d.store.claim(d.project, d.ann), d.store.claim(d.project, d.bob)
    assert first and second and first.image != second.image
    again = d.store.claim(d.project, d.ann)
    assert again and (again.lease, again.image) == (first.lease, first.image), "one's own task comes back"
    assert d.store.claim(d.project, d.rev) is None


def test_a_rejected_task_goes_back_to_its_annotator(desk: MakeDesk, clock: Clock) -> None:
    d = desk(images=2, mend_seconds=100.0)
    d.store.open_stage(d.project, "manual")
    image = d.store.task(d.done(d.ann, BOX).task.id).image
    d.judged("reject", reason="the stalk is missing")
    other = d.store.claim(d.project, d.bob)
    assert other and other.image.id != image
    mine = d.store.claim(d.project, d.ann)
    assert mine and mine.image.id == image and mine.task.reason == "the stalk is missing"
    assert mine.document and mine.document.masks == 1, "what was handed in is there to be mended"
    d.store.submit(d.ann, mine.lease, document(mine.image, BOX, OTHER), key=d.key())
    d.judged("reject", reason="again")
    d.store.give_back(d.bob, other.lease)
    clock.passes(101)
    assert {d.store.claim(d.project, user).image.id for user in (d.bob, d.rev)} == {one.id for one in d.images}  # type: ignore[union-attr]


def test_a_fix_counts_and_both_versions_stay(desk: MakeDesk) -> None:
    d = desk(images=1)
    d.store.open_stage(d.project, "manual")
    task = d.done(d.ann, BOX).task.id
    judged = d.judged("fix", document=document(d.images[0], OTHER), reason="wrong object")
    versions = d.store.documents(task)
    assert [(one.version, one.kind, one.author) for one in versions] == [
        (1, "submission", d.ann),
        (2, "fix", d.rev),
    ]
    (one,) = d.store.accepted(d.project)
    assert one.document.id == judged.document == versions[1].id


def test_skipping_and_reopening(desk: MakeDesk) -> None:
    d = desk(images=1)
    d.store.open_stage(d.project, "manual")
    work = d.store.claim(d.project, d.ann)
    assert work
    with pytest.raises(TransitionError, match="reason"):
        d.store.skip(d.ann, work.lease, " ", key=d.key())
    skipped = d.store.skip(d.ann, work.lease, "too dark", key="skip-key-1", active_seconds=4.0)
    assert d.store.skip(d.ann, work.lease, "too dark", key="skip-key-1").repeated
    assert d.store.claim(d.project, d.bob) is None
    event = d.store.events(d.project)[-1]
    assert (event.kind, event.reason, event.active_seconds) == ("skip", "too dark", 4.0)
    with pytest.raises(AccessError, match="admin"):
        d.store.reopen(d.rev, skipped.task.id)
    d.store.reopen(d.admin, skipped.task.id)
    assert d.store.claim(d.project, d.bob) is not None


def test_a_write_repeated_under_its_key_changes_nothing(desk: MakeDesk) -> None:
    d = desk()
    d.store.open_stage(d.project, "manual")
    work = d.store.claim(d.project, d.ann)
    assert work
    made = document(work.image, BOX)
    first = d.store.submit(d.ann, work.lease, made, key="same-key-1")
    again = d.store.submit(d.ann, work.lease, made, key="same-key-1")
    assert (again.repeated, again.document, again.event) == (True, first.document, first.event)
    assert len(d.store.documents(work.task.id)) == 1
    with pytest.raises(TransitionError, match="something else"):
        d.store.submit(d.ann, work.lease, document(work.image, OTHER), key="same-key-1")
    review = d.store.next_review(d.project, d.rev)
    assert review
    one = d.store.review(d.rev, review.lease, "accept", key="same-key-1")
    assert not one.repeated, "keys of different people do not meet"
    assert d.store.review(d.rev, review.lease, "accept", key="same-key-1").repeated
    with pytest.raises(TransitionError, match="8 to 100"):
        d.store.submit(d.ann, work.lease, made, key="short")


def test_a_lease_that_ran_out_holds_up_nobody(desk: MakeDesk, clock: Clock) -> None:
    d = desk(images=1, lease_seconds=60.0)
    d.store.open_stage(d.project, "manual")
    mine = d.store.claim(d.project, d.ann)
    assert mine and d.store.claim(d.project, d.bob) is None
    clock.passes(50)
    until = d.store.heartbeat(d.ann, mine.lease)
    clock.passes(59)
    assert d.store.claim(d.project, d.bob) is None
    clock.passes(1)
    assert clock.now == until
    theirs = d.store.claim(d.project, d.bob)
    assert theirs and theirs.image == mine.image
    with pytest.raises(LeaseError, match="taken the task since"):
        d.store.submit(d.ann, mine.lease, document(mine.image, BOX), key=d.key())
    with pytest.raises(LeaseError):
        d.store.heartbeat(d.ann, mine.lease)
    assert [event.kind for event in d.store.events(d.project)] == ["claim", "expire", "claim"]


def test_the_slow_lose_nothing_when_nobody_took_the_task(desk: MakeDesk, clock: Clock) -> None:
    d = desk(images=1, lease_seconds=60.0)
    d.store.open_stage(d.project, "manual")
    mine = d.store.claim(d.project, d.ann)
    assert mine
    clock.passes(1000)
    assert d.store.expire() == 1 and d.store.expire() == 0
    assert d.store.task(mine.task.id).state == "queued"
    assert d.store.submit(d.ann, mine.lease, document(mine.image, BOX), key=d.key()).task.state == "submitted"


def test_a_reviewer_who_vanishes_holds_up_nobody(desk: MakeDesk, clock: Clock) -> None:
    d = desk(images=1, review_seconds=60.0)
    d.store.open_stage(d.project, "manual")
    d.done(d.ann, BOX)
    mine = d.store.next_review(d.project, d.rev)
    assert mine and d.store.next_review(d.project, d.admin) is None
    clock.passes(60)
    theirs = d.store.next_review(d.project, d.admin)
    assert theirs
    with pytest.raises(LeaseError):
        d.store.review(d.rev, mine.lease, "accept", key=d.key())
    assert d.store.review(d.admin, theirs.lease, "accept", key=d.key()).task.state == "accepted"


def test_nobody_writes_under_anothers_lease(desk: MakeDesk) -> None:
    d = desk()
    d.store.open_stage(d.project, "manual")
    work = d.store.claim(d.project, d.ann)
    assert work
    calls: list[Callable[[], Any]] = [
        lambda: d.store.submit(d.bob, work.lease, document(work.image, BOX), key=d.key()),
        lambda: d.store.skip(d.bob, work.lease, "mine", key=d.key()),
        lambda: d.store.heartbeat(d.bob, work.lease),
        lambda: d.store.give_back(d.bob, work.lease),
        lambda: d.store.submit(d.ann, "guess" + work.lease[5:], document(work.image, BOX), key=d.key()),
    ]
    for call in calls:
        with pytest.raises(LeaseError):
            call()
    assert d.store.task(work.task.id).holder == d.ann


def test_roles(desk: MakeDesk) -> None:
    d = desk()
    d.store.open_stage(d.project, "manual")
    d.done(d.ann, BOX)
    with pytest.raises(AccessError, match="reviewer"):
        d.store.next_review(d.project, d.bob)
    d.store.change_user(d.ann, role="reviewer")
    assert d.store.next_review(d.project, d.ann) is None, "nobody judges their own work"
    with pytest.raises(NotFoundError):
        d.store.claim(99, d.ann)
    with pytest.raises(NotFoundError):
        d.store.claim(d.project, 99)


def test_a_project_of_one_person(desk: MakeDesk) -> None:
    d = desk(self_review=True, review_first=0, review_share=0.0)
    d.store.open_stage(d.project, "manual")
    assert d.done(d.admin, BOX).task.state == "accepted", "nothing is looked at"
    d.store.change_settings(d.project, type(d.store.project(d.project).settings)(self_review=True))
    assert d.done(d.admin, BOX).task.state == "submitted"
    assert d.store.next_review(d.project, d.admin) is not None


def test_a_document_of_another_image_is_refused(desk: MakeDesk) -> None:
    d = desk()
    d.store.open_stage(d.project, "manual")
    work = d.store.claim(d.project, d.ann)
    assert work
    other = next(one for one in d.images if one.id != work.image.id)
    with pytest.raises(DataError, match="task's image"):
        d.store.submit(d.ann, work.lease, document(other, BOX), key=d.key())
    assert d.store.task(work.task.id).state == "leased"


def test_documents_and_events_are_only_added(desk: MakeDesk) -> None:
    from segany.engine.store.tables import DocumentRow, EventRow

    d = desk()
    d.store.open_stage(d.project, "manual")
    d.done(d.ann, BOX)
    for table, column, value in ((DocumentRow, "body", "{}"), (EventRow, "reason", "other")):
        with pytest.raises(EngineError, match="only ever added"), d.store._write() as s:
            setattr(s.get(table, 1), column, value)
        with pytest.raises(EngineError, match="only ever added"), d.store._write() as s:
            s.delete(s.get(table, 1))


def test_simulated_people_mark_everything(desk: MakeDesk) -> None:
    d = desk()
    d.store.open_stage(d.project, "manual")
    robot = d.store.add_user("robot", "simulated pass", "annotator", simulated=True).id
    d.done(robot, BOX)
    d.done(d.ann, BOX)
    marks = [(event.kind, event.simulated) for event in d.store.events(d.project)]
    assert marks == [("claim", True), ("submit", True), ("claim", False), ("submit", False)]
    d.judged("accept"), d.judged("accept")
    assert [one.document.simulated for one in d.store.accepted(d.project)] == [True, False]
    assert len(list(d.store.accepted(d.project, simulated=False))) == 1
    assert d.store.stats(d.project).simulated == 1
    assert d.store.stats(d.project, simulated=False).stages[0].done.images == 1
