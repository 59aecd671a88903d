"""What must hold in every life of a task, however people, crashes and clocks mix."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from segany.core.errors import LeaseError, TransitionError
from segany.engine import life as rules
from segany.engine.life import TaskLife

PEOPLE = st.integers(1, 3)
REVIEWERS = st.integers(4, 5)
SECONDS = 60.0


class Task(RuleBasedStateMachine):
    """One task among annotators and reviewers who claim, vanish, come back late and write under any lease."""

    def __init__(self) -> None:
        super().__init__()
        self.task = TaskLife()
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.keys = count()
        self.leases: list[tuple[int, str]] = []
        self.submitted = self.accepted = self.rejected = self.reopened = 0

    def new_lease(self, by: int) -> str:
        key = f"lease {next(self.keys)}"
        self.leases.append((by, key))
        return key

    def is_current(self, by: int, key: str) -> bool:
        return (self.task.holder, self.task.lease) == (by, key)

    @rule(seconds=st.floats(0, 3 * SECONDS))
    def time_passes(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    @rule()
    def sweep(self) -> None:
        self.task = rules.expire(self.task, at=self.now)

    @rule(by=PEOPLE)
    def claim(self, by: int) -> None:
        free = rules.expire(self.task, at=self.now).state in rules.CLAIMABLE
        try:
            self.task = rules.claim(self.task, by=by, lease=self.new_lease(by), at=self.now, seconds=SECONDS)
        except TransitionError:
            assert not free
        else:
            assert free

    @rule(by=REVIEWERS)
    def claim_review(self, by: int) -> None:
        free = rules.expire(self.task, at=self.now).state == "submitted"
        key = self.new_lease(by)
        try:
            self.task = rules.claim_review(self.task, by=by, lease=key, at=self.now, seconds=SECONDS)
        except TransitionError:
            assert not free
        else:
            assert free

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), review=st.booleans())
    def submit(self, data: st.DataObject, review: bool) -> None:
        by, key = data.draw(st.sampled_from(self.leases))
        try:
            self.task = rules.submit(self.task, by=by, lease=key, review=review)
        except LeaseError:
            assert not self.is_current(by, key)
        except TransitionError:
            assert self.task.state in ("in_review", "submitted")
        else:
            self.submitted += 1
            self.accepted += not review
            assert self.task.author == by

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), action=st.sampled_from(["heartbeat", "release", "skip", "accept", "reject"]))
    def act(self, data: st.DataObject, action: str) -> None:
        by, key = data.draw(st.sampled_from(self.leases))
        before, current = self.task, self.is_current(by, key)
        try:
            if action == "heartbeat":
                self.task = rules.heartbeat(self.task, by=by, lease=key, at=self.now, seconds=SECONDS)
            elif action == "release":
                self.task = rules.release(self.task, by=by, lease=key)
            elif action == "skip":
                self.task = rules.skip(self.task, by=by, lease=key, reason="dark")
            elif action == "accept":
                self.task = rules.accept(self.task, by=by, lease=key)
                self.accepted += 1
            else:
                self.task = rules.reject(self.task, by=by, lease=key, reason="hole")
                self.rejected += 1
        except LeaseError:
            assert not current
        except TransitionError:
            assert current and self.task == before
        else:
            assert current, "written under a lease that is another's or over"

    @precondition(lambda self: self.task.state in rules.DONE)
    @rule()
    def reopen(self) -> None:
        was_accepted = self.task.state == "accepted"
        self.task = rules.reopen(self.task)
        self.reopened += was_accepted

    @invariant()
    def nothing_is_lost_or_doubled(self) -> None:
        assert self.task.submissions == self.submitted
        assert self.task.rejections == self.rejected
        assert (self.task.state == "accepted") == (self.accepted > self.reopened)
        assert self.accepted - self.reopened in (0, 1)

    @invariant()
    def nothing_is_stuck(self) -> None:
        """Whoever vanishes, the task waits for somebody, or is done, once the lease is over."""
        assert (self.task.expires is not None) == (self.task.state in rules.HELD)
        after = rules.expire(self.task, at=self.now + timedelta(seconds=SECONDS))
        assert after.state in (*rules.CLAIMABLE, "submitted", *rules.DONE)


TestTask = Task.TestCase
TestTask.settings = settings(max_examples=120, stateful_step_count=30, deadline=None)
