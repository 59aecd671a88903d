"""Simulated people who play ground truth through the real HTTP API; everything they make is marked as simulated."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from segany.core.progress import CancelCheck, check_cancelled
from segany.masks.rle import decode, rle_iou
from segany.recipes.engine_client import EngineClient, ServiceError
from segany.recipes.engine_human import Hand, HumanConfig, make_mask, prominent, sort_out
from segany.records.annotation import Annotation, AnnotationDocument

Truth = Mapping[str, Sequence[Mapping[str, Any]]]
"""A photo's SHA-256 → RLEs of everything in it that people of the data set marked."""
BAD_IOU, BAD_SHARE = 0.5, 0.25
"""A reviewer calls a mask bad below this IoU with every true one; more than this share of bad ones is sent back."""
IDLE_S = 0.2


@dataclass(frozen=True, kw_only=True)
class Login:
    """Who somebody is."""

    name: str
    password: str = field(repr=False)


@dataclass(kw_only=True)
class Played:
    """What simulated people did."""

    submitted: int = 0
    skipped: int = 0
    masks: int = 0
    given_up: int = 0
    """Objects nobody got a usable mask of."""
    kept: int = 0
    """Masks that were there and stayed."""
    removed: int = 0
    reviewed: int = 0
    sent_back: int = 0
    mended: int = 0
    """Submissions that a reviewer put right."""
    lost: int = 0
    """Leases that were somebody else's by the time the work was done."""
    active_seconds: float = 0.0

    def add(self, other: Played) -> None:
        """Count another's work too."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)


class Person:
    """One simulated person.

    Args:
        client: logged in as them.
        truth: what they see.
        config: how they work.
        seed: of their randomness.
    """

    def __init__(self, client: EngineClient, truth: Truth, config: HumanConfig, seed: int) -> None:
        self.client, self.truth, self.config = client, truth, config
        self.rng = np.random.default_rng(seed)
        self.played = Played()


class Annotator(Person):
    """One simulated annotator."""

    def work_once(self, project: int, stage: str | None = None) -> bool:
        """Claim a task and do it; False when there is none.

        Raises:
            ServiceError: the service refused something other than a lease that is over.
        """
        work = self.client.post(f"/projects/{project}/claim", {} if stage is None else {"stage": stage})
        if work is None:
            return False
        try:
            self._do(work)
        except ServiceError as error:
            if error.code != "lease":
                raise
            self.played.lost += 1
        return True

    def _do(self, work: Mapping[str, Any]) -> None:
        task, lease, image = work["task"], work["lease"], work["image"]
        hand = Hand(self.config, self.rng)
        hand.spends(self.config.look_seconds)
        key = f"sim-{uuid.uuid4()}"
        truth = prominent(self.truth.get(image["key"], ()), self.config)
        if not truth or (work["document"] is None and self.rng.random() < self.config.skip_share):
            body = {"lease": lease, "key": key, "reason": "nothing to mark", "active_seconds": hand.seconds}
            self.client.post(f"/tasks/{task}/skip", body)
            self.played.skipped += 1
            self.played.active_seconds += hand.seconds
            return
        document = self._annotated(work, hand, truth)
        self.client.post(f"/tasks/{task}/submit", {"lease": lease, "key": key, "document": document.to_json()})
        self.played.submitted += 1
        self.played.masks += len(document.annotations)
        self.played.active_seconds += hand.seconds

    def _annotated(self, work: Mapping[str, Any], hand: Hand, truth: list[dict[str, Any]]) -> AnnotationDocument:
        image, created = work["image"], hand.now
        there: list[Annotation] = []
        if work["document"] is not None:
            there = list(AnnotationDocument.from_json(work["document"]).annotations)
        kept, had = sort_out(hand, there, truth)
        self.played.kept += len(kept)
        self.played.removed += len(there) - len(kept)
        made = list(kept)
        number = max((one.mask.id or 0 for one in there), default=-1) + 1
        model = None if work["model"] is None else work["model"]["fingerprint"]
        for index, rle in enumerate(truth):
            if index in had:
                continue
            began = hand.seconds
            one = make_mask(hand, decode(rle), lambda prompt: self._ask(image["key"], prompt), number, model)
            self.client.post(f"/tasks/{work['task']}/heartbeat", {"lease": work["lease"]})
            if one is None:
                self.played.given_up += 1
            else:
                made.append(one)
                number += 1
            if hand.seconds - began > self.config.mask_seconds:
                break
        return AnnotationDocument(
            image_id=image["image_id"],
            width=image["width"],
            height=image["height"],
            file_name=image["file_name"],
            sha256=image["key"],
            created=created,
            modified=hand.now,
            active_seconds=round(hand.seconds, 3),
            annotations=tuple(made),
        )

    def _ask(self, key: str, prompt: Mapping[str, Any]) -> dict[str, Any]:
        body = {"prompts": [dict(prompt)], "return_low_res": "all"}
        result: dict[str, Any] = self.client.post(f"/images/{key}/masks", body)["results"][0]
        return result


class Reviewer(Person):
    """One simulated reviewer, who sees the truth as annotators do."""

    def work_once(self, project: int, stage: str | None = None) -> bool:
        """Judge one submission; False when none waits."""
        work = self.client.post(f"/projects/{project}/reviews/claim")
        if work is None:
            return False
        hand = Hand(self.config, self.rng)
        hand.spends(self.config.look_seconds)
        document = AnnotationDocument.from_json(work["document"])
        good = self._good(document, self.truth.get(work["image"]["key"], ()))
        for _ in document.annotations:
            hand.spends(self.config.check_seconds)
        bad = len(document.annotations) - len(good)
        verdict: Literal["accept", "fix", "reject"] = "accept"
        more: dict[str, Any] = {}
        if bad and bad > BAD_SHARE * len(document.annotations) and work["attempt"] == 1:
            verdict, more = "reject", {"reason": f"{bad} masks miss their object"}
        elif bad:
            mended = document.to_json()
            mended["annotations"] = [document.annotations[i].to_json() for i in good]
            verdict, more = "fix", {"document": mended}
        body = {"lease": work["lease"], "key": f"sim-{uuid.uuid4()}", "verdict": verdict, **more}
        try:
            self.client.post(f"/tasks/{work['task']}/review", {**body, "active_seconds": hand.seconds})
        except ServiceError as error:
            if error.code != "lease":
                raise
            self.played.lost += 1
            return True
        self.played.reviewed += 1
        self.played.sent_back += verdict == "reject"
        self.played.mended += verdict == "fix"
        self.played.active_seconds += hand.seconds
        return True

    def clear_once(self, project: int) -> bool:
        """Look at photos before they may go out, with the regions that detectors found; False when none waits."""
        waiting = self.client.get(f"/projects/{project}/clearing?limit=20")["next"]
        for one in waiting:
            self.client.post(f"/engine/images/{one['image']['id']}/clear", {"verdict": "cleared"})
        return bool(waiting)

    @staticmethod
    def _good(document: AnnotationDocument, truth: Sequence[Mapping[str, Any]]) -> list[int]:
        masks = [one.mask.segmentation for one in document.annotations]
        if not masks or not truth:
            return list(range(len(masks)))
        return [i for i, best in enumerate(rle_iou(masks, truth).max(axis=1)) if best >= BAD_IOU]


def play(
    url: str,
    project: int,
    truth: Truth,
    annotators: Sequence[Login],
    reviewers: Sequence[Login] = (),
    *,
    stage: str | None = None,
    config: HumanConfig | None = None,
    seed: int = 0,
    patience_s: float = 60.0,
    told: Callable[[int], None] | None = None,
    cancelled: CancelCheck | None = None,
) -> Played:
    """Let people work at once, each in a thread, until nothing is left to annotate and to review.

    Args:
        url: of the service.
        project: whose queue.
        truth: what they see.
        annotators: who annotates.
        reviewers: who reviews; without any, submissions that need a review stay where they are.
        stage: only of this one.
        config: how they work.
        seed: of all randomness.
        patience_s: how long to wait for a service that does not answer.
        told: called with the number of submissions and skips so far, after each.
        cancelled: asked between tasks.

    Raises:
        ServiceError: the service refused something it should not have.
        StoreUnavailableError: it did not answer in time.
        Cancelled: `cancelled` said so; nobody stops in the middle of a task.
    """
    human = config or HumanConfig()
    people: list[Annotator | Reviewer] = []
    for number, login in enumerate([*annotators, *reviewers]):
        client = EngineClient(url, patience_s)
        client.log_in(login.name, login.password)
        kind = Annotator if number < len(annotators) else Reviewer
        people.append(kind(client, truth, human, seed * 1000 + number))
    crew = _Crew(project, stage, people, told, cancelled)
    crew.work()
    whole = Played()
    for person in people:
        whole.add(person.played)
        person.client.close()
    return whole


class _Crew:
    """People at work together. It is over when everybody has found nothing since anybody did something last: work that
    one hands in may come back to another."""

    def __init__(
        self,
        project: int,
        stage: str | None,
        people: Sequence[Annotator | Reviewer],
        told: Callable[[int], None] | None,
        cancelled: CancelCheck | None,
    ) -> None:
        self.project, self.stage, self.people = project, stage, people
        self.told, self.cancelled = told, cancelled
        self._done, self._idle_at = 0, [-1] * len(people)
        self._errors: list[BaseException] = []
        self._lock = threading.Lock()
        self._over = threading.Event()

    def work(self) -> None:
        threads = [
            threading.Thread(target=self._live, args=(number,), daemon=True) for number in range(len(self.people))
        ]
        for thread in threads:
            thread.start()
        try:
            while any(thread.is_alive() for thread in threads):
                for thread in threads:
                    thread.join(IDLE_S)
                check_cancelled(self.cancelled)
        finally:
            self._over.set()
            for thread in threads:
                thread.join()
        if self._errors:
            raise self._errors[0]

    def _live(self, number: int) -> None:
        person = self.people[number]
        try:
            while not self._over.is_set():
                with self._lock:
                    seen = self._done
                if person.work_once(self.project, self.stage):
                    self._tell()
                    continue
                with self._lock:
                    self._idle_at[number] = seen
                    if all(at == self._done for at in self._idle_at):
                        self._over.set()
                self._over.wait(IDLE_S)
        except Exception as error:
            self._errors.append(error)
            self._over.set()

    def _tell(self) -> None:
        with self._lock:
            self._done += 1
            if self.told is not None:
                self.told(sum(one.played.submitted + one.played.skipped for one in self.people))
