"""A task's life: the paths that must be open, and those that must not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from segany.core.errors import LeaseError, TransitionError
from segany.engine import life as rules
from segany.engine.life import TaskLife

T0 = datetime(2026, 1, 31, 12, tzinfo=UTC)
ANN, BOB, REV = 1, 2, 9


def later(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def leased() -> TaskLife:
    return rules.claim(TaskLife(), by=ANN, lease="a", at=T0, seconds=60)


def submitted() -> TaskLife:
    return rules.submit(leased(), by=ANN, lease="a", review=True)


def in_review() -> TaskLife:
    return rules.claim_review(submitted(), by=REV, lease="r", at=T0, seconds=60)


def test_the_usual_path() -> None:
    task = rules.accept(in_review(), by=REV, lease="r")
    assert (task.state, task.author, task.submissions, task.lease) == ("accepted", ANN, 1, None)


def test_work_that_needs_no_review_is_accepted_at_once() -> None:
    assert rules.submit(leased(), by=ANN, lease="a", review=False).state == "accepted"


def test_a_rejected_task_goes_round_again() -> None:
    task = rules.reject(in_review(), by=REV, lease="r", reason=" a hole is missing ")
    assert (task.state, task.author, task.reason, task.rejections) == ("rejected", ANN, "a hole is missing", 1)
    task = rules.claim(task, by=ANN, lease="b", at=T0, seconds=60)
    assert task.reason == "a hole is missing", "the annotator must see what to mend"
    task = rules.submit(task, by=ANN, lease="b", review=True)
    assert (task.state, task.submissions, task.reason) == ("submitted", 2, None)


def test_a_lease_that_ran_out_on_a_rejected_task_leaves_it_rejected() -> None:
    task = rules.reject(in_review(), by=REV, lease="r", reason="x")
    task = rules.claim(task, by=ANN, lease="b", at=T0, seconds=60)
    assert rules.expire(task, at=later(60)).state == "rejected"


def test_a_lease_runs_out_at_its_time_and_not_before() -> None:
    assert rules.expire(leased(), at=later(59.9)).state == "leased"
    assert rules.expire(leased(), at=later(60)).state == "queued"
    assert rules.expire(in_review(), at=later(60)).state == "submitted"


def test_a_sign_of_life_never_shortens_a_lease() -> None:
    assert rules.heartbeat(leased(), by=ANN, lease="a", at=T0, seconds=1).expires == later(60)
    assert rules.heartbeat(leased(), by=ANN, lease="a", at=later(30), seconds=60).expires == later(90)


def test_the_slow_lose_nothing_as_long_as_nobody_took_the_task() -> None:
    task = rules.expire(leased(), at=later(100))
    assert rules.submit(task, by=ANN, lease="a", review=True).state == "submitted"
    assert rules.heartbeat(task, by=ANN, lease="a", at=later(100), seconds=60).state == "leased"
    taken = rules.claim(task, by=BOB, lease="b", at=later(100), seconds=60)
    with pytest.raises(LeaseError, match="taken the task since"):
        rules.submit(taken, by=ANN, lease="a", review=True)


def test_a_claim_finds_a_lease_that_ran_out() -> None:
    assert rules.claim(leased(), by=BOB, lease="b", at=later(60), seconds=60).holder == BOB
    with pytest.raises(TransitionError, match="this one is leased"):
        rules.claim(leased(), by=BOB, lease="b", at=later(59), seconds=60)


def test_nobody_writes_under_anothers_lease() -> None:
    for by, lease in ((BOB, "a"), (ANN, "z"), (BOB, "z")):
        with pytest.raises(LeaseError):
            rules.submit(leased(), by=by, lease=lease, review=True)
        with pytest.raises(LeaseError):
            rules.skip(leased(), by=by, lease=lease, reason="dark")
        with pytest.raises(LeaseError):
            rules.heartbeat(leased(), by=by, lease=lease, at=T0, seconds=1)
        with pytest.raises(LeaseError):
            rules.release(leased(), by=by, lease=lease)


def test_a_lease_serves_one_kind_of_work() -> None:
    with pytest.raises(TransitionError, match="must be in_review"):
        rules.accept(leased(), by=ANN, lease="a")
    with pytest.raises(TransitionError, match="must be leased"):
        rules.submit(in_review(), by=REV, lease="r", review=False)


def test_nobody_reviews_their_own_work_unless_the_project_says_so() -> None:
    with pytest.raises(TransitionError, match="somebody else"):
        rules.claim_review(submitted(), by=ANN, lease="r", at=T0, seconds=60)
    alone = rules.claim_review(submitted(), by=ANN, lease="r", at=T0, seconds=60, self_review=True)
    assert alone.state == "in_review"


def test_giving_back_ends_the_lease() -> None:
    task = rules.release(leased(), by=ANN, lease="a")
    assert (task.state, task.lease) == ("queued", None)
    assert rules.release(in_review(), by=REV, lease="r").state == "submitted"


@pytest.mark.parametrize("reason", ["", "  "])
def test_reasons_are_required(reason: str) -> None:
    with pytest.raises(TransitionError, match="with a reason"):
        rules.skip(leased(), by=ANN, lease="a", reason=reason)
    with pytest.raises(TransitionError, match="with a reason"):
        rules.reject(in_review(), by=REV, lease="r", reason=reason)


def test_only_finished_tasks_are_reopened() -> None:
    done = rules.skip(leased(), by=ANN, lease="a", reason="dark")
    assert rules.reopen(done) == TaskLife()
    with pytest.raises(TransitionError, match="this one is leased"):
        rules.reopen(leased())
