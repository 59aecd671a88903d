"""A task's life as pure transitions: each takes a value and returns the next one, or says why not.

::

             claim            submit              claim_review          accept
    queued --------> leased ----------> submitted --------> in_review --------> accepted
      ^  ^             | | \\               ^   \\                |                   |
      |  +-- release --+ |  \\-- skip -->    |    \\-- (no review needed) ----------> |
      |      or expire   |     skipped      +---- expire ------+                    |
      |                  |        |                            | reject             |
      +----------------- | -------+---- reopen --------------- | -------------------+
                         |                                     v
                         +------------- claim ------------- rejected   (back to its annotator)

A lease that ran out keeps its key until somebody else claims the task: whoever was merely slow loses nothing, and
whoever is gone holds up nobody.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

from segany.core.errors import LeaseError, TransitionError

State: TypeAlias = Literal["queued", "leased", "submitted", "in_review", "accepted", "rejected", "skipped"]
Verdict: TypeAlias = Literal["accept", "fix", "reject"]

CLAIMABLE: tuple[State, ...] = ("queued", "rejected")
"""States in which an annotator may take a task."""
HELD: tuple[State, ...] = ("leased", "in_review")
"""States in which somebody holds a lease."""
DONE: tuple[State, ...] = ("accepted", "skipped")
"""States that only reopening leaves."""


@dataclass(frozen=True, kw_only=True)
class TaskLife:
    """Where a task stands. Times carry their time zone."""

    state: State = "queued"
    author: int | None = None
    """Who submitted last; a rejected task goes back to them."""
    holder: int | None = None
    """Who has the lease, or had the last one."""
    lease: str | None = None
    """Key of the latest lease; nobody without it can write."""
    expires: datetime | None = None
    """When the lease runs out; None when there is none."""
    submissions: int = 0
    """How many documents were handed in."""
    rejections: int = 0
    """How many of them were sent back."""
    mending: bool = False
    """The last verdict was a rejection that no submission has answered yet."""
    reason: str | None = None
    """Why it was rejected or skipped."""


def claim(life: TaskLife, *, by: int, lease: str, at: datetime, seconds: float) -> TaskLife:
    """An annotator takes the task under a new lease.

    Raises:
        TransitionError: it is not waiting for an annotator.
    """
    life = expire(life, at=at)
    _require(life, CLAIMABLE, "claimed")
    return replace(life, state="leased", holder=by, lease=lease, expires=at + timedelta(seconds=seconds))


def heartbeat(life: TaskLife, *, by: int, lease: str, at: datetime, seconds: float) -> TaskLife:
    """The holder is still there; a lease that ran out and that nobody took lives again.

    Raises:
        LeaseError: not their lease, or somebody has taken the task since.
    """
    life = _held(life, by=by, lease=lease)
    until = at + timedelta(seconds=seconds)
    return replace(life, expires=until if life.expires is None else max(life.expires, until))


def expire(life: TaskLife, *, at: datetime) -> TaskLife:
    """The same, or, where a lease has run out, the task as it waited before."""
    if life.state not in HELD or life.expires is None or life.expires > at:
        return life
    return replace(life, state=_waiting(life), expires=None)


def release(life: TaskLife, *, by: int, lease: str) -> TaskLife:
    """The holder gives the task back without having done it.

    Raises:
        LeaseError: not their lease, or somebody has taken the task since.
    """
    life = _held(life, by=by, lease=lease)
    return replace(life, state=_waiting(life), holder=None, lease=None, expires=None)


def submit(life: TaskLife, *, by: int, lease: str, review: bool) -> TaskLife:
    """The annotator hands in a document.

    Args:
        life: the task.
        by: the annotator.
        lease: their lease.
        review: whether somebody has to look at it; otherwise it is accepted at once.

    Raises:
        LeaseError: not their lease, or somebody has taken the task since.
        TransitionError: it was handed in, skipped or reviewed already.
    """
    life = _held(life, by=by, lease=lease, as_="leased")
    return replace(
        _over(life),
        state="submitted" if review else "accepted",
        author=by,
        submissions=life.submissions + 1,
        mending=False,
        reason=None,
    )


def skip(life: TaskLife, *, by: int, lease: str, reason: str) -> TaskLife:
    """The annotator cannot or need not annotate the image.

    Raises:
        LeaseError: not their lease, or somebody has taken the task since.
        TransitionError: it was handed in already, or no reason is given.
    """
    life = _held(life, by=by, lease=lease, as_="leased")
    return replace(_over(life), state="skipped", mending=False, reason=_given(reason, "skipped"))


def claim_review(
    life: TaskLife, *, by: int, lease: str, at: datetime, seconds: float, self_review: bool = False
) -> TaskLife:
    """A reviewer takes a submitted task under a new lease.

    Raises:
        TransitionError: it is not waiting for a reviewer, or they made it themselves.
    """
    life = expire(life, at=at)
    _require(life, ("submitted",), "reviewed")
    if life.author == by and not self_review:
        raise TransitionError("a task must be reviewed by somebody else than its annotator; give it to another.")
    return replace(life, state="in_review", holder=by, lease=lease, expires=at + timedelta(seconds=seconds))


def accept(life: TaskLife, *, by: int, lease: str) -> TaskLife:
    """The reviewer takes the document as it is, or as they mended it.

    Raises:
        LeaseError: not their lease, or somebody has taken the task since.
        TransitionError: it was judged already.
    """
    life = _held(life, by=by, lease=lease, as_="in_review")
    return replace(_over(life), state="accepted", reason=None)


def reject(life: TaskLife, *, by: int, lease: str, reason: str) -> TaskLife:
    """The reviewer sends the task back to its annotator.

    Raises:
        LeaseError: not their lease, or somebody has taken the task since.
        TransitionError: it was judged already, or no reason is given.
    """
    life = _held(life, by=by, lease=lease, as_="in_review")
    told = _given(reason, "rejected")
    return replace(_over(life), state="rejected", rejections=life.rejections + 1, mending=True, reason=told)


def reopen(life: TaskLife) -> TaskLife:
    """An admin puts a finished task back into the queue; its documents stay.

    Raises:
        TransitionError: it is not finished.
    """
    _require(life, DONE, "reopened")
    return replace(_over(life), state="queued", mending=False, reason=None)


def _waiting(life: TaskLife) -> State:
    """The state a task with a lease came from."""
    if life.state == "in_review":
        return "submitted"
    if life.state == "leased":
        return "rejected" if life.mending else "queued"
    return life.state


def _over(life: TaskLife) -> TaskLife:
    return replace(life, holder=None, lease=None, expires=None)


def _held(life: TaskLife, *, by: int, lease: str, as_: State | None = None) -> TaskLife:
    """The task under its running lease; one that ran out and that nobody took since counts as running."""
    if life.lease is None or life.lease != lease or life.holder != by:
        raise LeaseError(
            "the lease must be the task's latest and one's own; it is over, or somebody has taken the task since. "
            "Ask for the next task."
        )
    state = life.state
    if state in CLAIMABLE:
        state = "leased"
    elif state == "submitted":
        state = "in_review"
    if as_ is not None and state != as_:
        raise TransitionError(f"the task must be {as_} for this; it is {state}.")
    return replace(life, state=state)


def _require(life: TaskLife, states: tuple[State, ...], done: str) -> None:
    if life.state not in states:
        raise TransitionError(f"only a task that is {' or '.join(states)} can be {done}; this one is {life.state}.")


def _given(reason: str, done: str) -> str:
    if not reason.strip():
        raise TransitionError(f"a task can only be {done} with a reason; got none. Say what is wrong in a few words.")
    return reason.strip()
