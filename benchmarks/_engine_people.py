"""Annotators, reviewers and an admin at work in a project over HTTP; every call is timed, none is tried again."""

from __future__ import annotations

import argparse
import http.client
import json
import re
import time
import uuid
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np

from segany.recipes.engine_client import EngineClient

PASSWORD = "one for everybody here"
LOOK_S, CLICK_S, JUDGE_S, STATS_S, PLOT_EVERY = 2.0, 2.0, 4.0, 5.0, 6
"""Mean seconds to look at a photo, to click and look at the mask, to judge; between looks at the numbers, and how many
of these go with a plot."""
SPREAD = 0.3
OBJECTS, SKIPS = 3, 0.03
REJECTS, FIXES = 0.1, 0.05
LONGEST_IDLE_S = 6.0
"""A connection that was idle for longer is opened anew, before the service closes it."""
MODEL = ("masks", "embedding")
NUMBER = re.compile(r"/(\d+|[0-9a-f]{64})(?=/|$)")


class Wrong(Exception):
    """An answer other than the expected one."""


@dataclass
class Tally:
    """Every call of everybody."""

    times_ms: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: list[str] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)


class TimedClient(EngineClient):
    """Times every call, and tries none again."""

    def __init__(self, url: str, tally: Tally) -> None:
        super().__init__(url, 60.0)
        self.tally, self._used = tally, time.monotonic()

    def call(self, method: str, path: str, body: Any) -> Any:
        """One call; the JSON of its answer."""
        raw = self.raw(method, path, body)
        return json.loads(raw) if raw else None

    def raw(self, method: str, path: str, body: Any = None) -> bytes:
        """One call; its answer.

        Raises:
            Wrong: it is none, or none of the good ones.
        """
        route = f"{method} {NUMBER.sub('/…', path.partition('?')[0])}"
        if time.monotonic() - self._used > LONGEST_IDLE_S:
            self.close()
        headers = {} if body is None else {"Content-Type": "application/json"}
        text = None if body is None else json.dumps(body)
        began = time.perf_counter()
        try:
            status, answer = self._once(method, f"/api/v1{path}", text, headers)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise self._wrong(f"{route}: {type(error).__name__}: {error}") from error
        self.tally.times_ms[route].append((time.perf_counter() - began) * 1000)
        self._used = time.monotonic()
        if not 200 <= status < 300:
            raise self._wrong(f"{route}: {status}: {answer[:200]!r}")
        return answer

    def _wrong(self, text: str) -> Wrong:
        self.tally.errors.append(text)
        return Wrong(text)


class Person:
    """Somebody in a thread of their own.

    Args:
        name: of the account.
        words: the command's.
        tally: where calls are counted.
        seed: of their randomness.
    """

    def __init__(self, name: str, words: argparse.Namespace, tally: Tally, seed: int) -> None:
        self.name, self.pace, self.tally = name, words.pace, tally
        self.client = TimedClient(words.url, tally)
        self.rng = np.random.default_rng([words.seed, seed])

    def live(self, project: int, begin: float, until: float) -> None:
        """Log in at some time, then work until the time is over; what goes wrong is counted, and they go on."""
        self.sleep_until(begin)
        while time.monotonic() < until:
            try:
                self.client.log_in(self.name, PASSWORD)
                self.client.get("/projects")
                while time.monotonic() < until:
                    self.work(project)
                break
            except Wrong:
                time.sleep(0.5)
        self.client.close()

    def sleep_until(self, when: float) -> None:
        time.sleep(max(0.0, when - time.monotonic()))

    def thinks(self, mean: float) -> float:
        """Time passes; how much."""
        seconds = mean * self.pace * float(np.exp(self.rng.normal(0, SPREAD) - SPREAD**2 / 2))
        time.sleep(seconds)
        return seconds

    def work(self, project: int) -> None:
        """One piece of work."""
        raise NotImplementedError


class Annotator(Person):
    """Who makes masks."""

    def work(self, project: int) -> None:
        """One photo."""
        task = self.client.post(f"/projects/{project}/claim", {"stage": "manual"})
        if task is None:
            time.sleep(0.5)
            return
        image, lease, path = task["image"], {"lease": task["lease"]}, f"/tasks/{task['task']}"
        self.client.raw("GET", f"/engine/images/{image['id']}/photo")
        for following in self.client.get(f"/projects/{project}/queue?stage=manual&count=1")["next"]:
            self.client.raw("GET", f"/images/{following['key']}/embedding")
        spent = self.thinks(LOOK_S)
        if self.rng.random() < SKIPS:
            body = {**lease, "key": str(uuid.uuid4()), "reason": "nothing to mark", "active_seconds": spent}
            self.client.post(f"{path}/skip", body)
            self.tally.done["skip"] += 1
            return
        made: list[dict[str, Any]] = []
        for number in range(OBJECTS):
            spent += self.thinks(CLICK_S)
            made.append(self.click(image, number))
        self.client.post(f"{path}/heartbeat", lease)
        document = document_of(task, made, spent)
        self.client.post(f"{path}/submit", {**lease, "key": str(uuid.uuid4()), "document": document})
        self.tally.done["submit"] += 1
        self.tally.done["masks"] += len(made)

    def click(self, image: dict[str, Any], number: int) -> dict[str, Any]:
        """A click, and the best of the model's masks as an annotation."""
        x, y = (round(float(self.rng.uniform(0, side)), 1) for side in (image["width"], image["height"]))
        prompts = {"prompts": [{"points": [[x, y]], "labels": [1]}], "return_low_res": "best"}
        result = self.client.post(f"/images/{image['key']}/masks", prompts)["results"][0]
        mask = result["masks"][result["best"]]
        record = {name: mask[name] for name in ("segmentation", "area", "bbox", "predicted_iou", "output_index")}
        gesture = {"kind": "point", "x": x, "y": y, "label": 1, "at": now()}
        interaction = {"prompts": [gesture], "created": now(), "modified": now(), "active_seconds": CLICK_S}
        about = {"id": number, "stability_score": 1.0, "crop_box": [0, 0, image["width"], image["height"]]}
        about |= {"point_coords": [[x, y]], "source": "model"}
        return {**record, **about, "interaction": {**interaction, "chosen": None, "model": None}}


class Reviewer(Person):
    """Who judges them."""

    def work(self, project: int) -> None:
        """One submission."""
        task = self.client.post(f"/projects/{project}/reviews/claim")
        if task is None:
            time.sleep(0.5)
            return
        self.client.raw("GET", f"/engine/images/{task['image']['id']}/photo")
        spent, drawn = self.thinks(JUDGE_S), self.rng.random()
        verdict: dict[str, Any] = {"verdict": "accept"}
        if drawn < REJECTS:
            verdict = {"verdict": "reject", "reason": "the masks miss their objects"}
        elif drawn < REJECTS + FIXES:
            document = task["document"]
            verdict = {"verdict": "fix", "document": {**document, "annotations": document["annotations"][:-1]}}
        body = {"lease": task["lease"], "key": str(uuid.uuid4()), "active_seconds": spent, **verdict}
        self.client.post(f"/tasks/{task['task']}/review", body)
        self.tally.done["review"] += 1


class Admin(Person):
    """Who looks at the numbers."""

    looks = 0

    def work(self, project: int) -> None:
        """One look."""
        plots = self.client.get(f"/projects/{project}/stats")["plots"]
        if plots and self.looks % PLOT_EVERY == PLOT_EVERY - 1:
            self.client.raw("GET", f"/projects/{project}/plots/{plots[0]}.png")
        self.looks += 1
        time.sleep(STATS_S)


def now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def document_of(task: dict[str, Any], made: list[dict[str, Any]], spent: float) -> dict[str, Any]:
    """What is handed in."""
    about = {name: task["image"][name] for name in ("image_id", "width", "height", "file_name")}
    return {
        "format": "segany-annotation 1",
        "image": {**about, "sha256": task["image"]["key"]},
        "created": now(),
        "modified": now(),
        "active_seconds": round(spent, 3),
        "annotations": made,
    }
