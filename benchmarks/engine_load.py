"""Many annotators at once in a real `segany serve --project`, with reviewers and an admin; every call is timed.

    python benchmarks/engine_load.py --people 50 --seconds 120 --database postgresql

Everybody logs in during the first tenth of the time. An annotator claims a photo, loads it, peeks at the queue and
prefetches the next photo's embedding, looks, clicks objects (each click asks the model for masks), gives a sign of
life, hands in what the model answered, or skips. Between two steps they think: seconds below, times `--pace`, drawn
from a log-normal distribution; 0 is no thinking at all. They are several times as fast as people are. Per ten
annotators there is a reviewer who accepts, sends back or mends; an admin opens the numbers again and again, and now and
then a plot.

Calls to the model (masks, embedding) are reported apart from all others. Nothing is tried again: any answer but the
expected one is an error. In the end the store must hold exactly what was acknowledged.
"""

from __future__ import annotations

import argparse
import http.client
import io
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from _common import RESULTS, demo_photos
from PIL import Image

from segany.core.files import atomic_write_json
from segany.engine.config import ProjectSettings
from segany.engine.store import open_store
from segany.pictures.plots import bar_plot
from segany.recipes.engine_client import EngineClient
from segany.recipes.timing import machine

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


def photos(count: int, seed: int) -> Iterator[bytes]:
    """JPEG files, all different: cuts of the demonstration photos."""
    draw = np.random.default_rng(seed)
    sources = list(demo_photos().values())
    for number in range(count):
        source = sources[number % len(sources)]
        sides = [min(full, int(draw.integers(320, 641))) for full in source.shape[:2]]
        top, left = (int(draw.integers(0, full - side + 1)) for full, side in zip(source.shape, sides, strict=False))
        file = io.BytesIO()
        Image.fromarray(source[top : top + sides[0], left : left + sides[1]]).save(file, "JPEG", quality=85)
        yield file.getvalue()


def furnish(folder: Path, address: str | None, words: argparse.Namespace) -> tuple[int, list[Person], Tally]:
    """A project with photos and people."""
    tally = Tally()
    store = open_store(folder, database=address, create=True)
    settings = ProjectSettings(review_share=0.5, review_first=0, lease_seconds=300)
    project = store.create_project("load", settings=settings).id
    for number, raw in enumerate(photos(words.photos, words.seed)):
        store.add_image(project, f"{number:05d}.jpg", raw)
    store.open_stage(project, "manual")
    kinds: list[type[Person]] = [Annotator] * words.people + [Reviewer] * max(1, words.people // 10) + [Admin]
    people = []
    for number, kind in enumerate(kinds):
        name = f"{kind.__name__.lower()} {number}"
        store.add_user(name, PASSWORD, kind.__name__.lower(), simulated=True)  # type: ignore[arg-type]
        people.append(kind(name, words, tally, number))
    store.close()
    return project, people, tally


@contextmanager
def database(wanted: str) -> Iterator[str | None]:
    """Address of the database: a server that is started for it, the one of an address, or none, a file."""
    if wanted == "sqlite":
        yield None
    elif wanted == "postgresql":
        sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
        import postgres_server

        if postgres_server.tools() is None:
            raise SystemExit("expected a PostgreSQL server; none is installed. Install postgresql, or give an address.")
        with postgres_server.running() as address:
            yield f"{address}postgres"
    else:
        yield wanted


@contextmanager
def service(folder: Path, address: str | None, words: argparse.Namespace) -> Iterator[tuple[str, int]]:
    """A service of the project; its address, and its process."""
    command = [sys.executable, "-m", "segany", "serve", "--project", str(folder / "store"), "--port", "0"]
    command += ["--data", str(folder / "data"), "--no-prepare", "--rate-per-s", "0", "--model", words.model]
    command += ["--threads", str(words.threads)]
    known = {**os.environ} | ({} if address is None else {"SEGANY_DATABASE": address})
    with open(folder / "service.log", "w") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=known)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        if not url.startswith("http"):
            raise SystemExit((folder / "service.log").read_text())
        yield url, process.pid
    finally:
        process.terminate()
        process.wait(60)


def used(process: int) -> tuple[float, float]:
    """Memory in MiB and processor seconds of a process."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    ticks = os.sysconf("SC_CLK_TCK")
    return int(fields[21]) * os.sysconf("SC_PAGE_SIZE") / 2**20, (int(fields[11]) + int(fields[12])) / ticks


def load(project: int, people: Sequence[Person], tally: Tally, process: int, seconds: float) -> dict[str, Any]:
    """Everybody at once; what they saw, and what the service used."""
    warm = people[-1].client  # the model is loaded before the time begins
    warm.log_in(people[-1].name, PASSWORD)
    for photo in warm.get(f"/projects/{project}/queue?count=1")["next"]:
        warm.post(f"/images/{photo['key']}/masks", {"prompts": [{"points": [[1, 1]], "labels": [1]}]})
    tally.times_ms.clear()
    before, own = used(process), time.process_time()
    memory, began = [before[0]], time.monotonic()
    until = began + seconds
    ramp = [began + seconds / 10 * number / len(people) for number in range(len(people))]
    threads = [
        threading.Thread(target=person.live, args=(project, ramp[number], until), daemon=True)
        for number, person in enumerate(people)
    ]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        time.sleep(0.5)
        memory.append(used(process)[0])
    took = time.monotonic() - began
    return {
        "seconds": round(took, 1),
        "calls_per_s": round(sum(map(len, tally.times_ms.values())) / took, 1),
        "errors": len(tally.errors),
        "first_errors": tally.errors[:5],
        "done": dict(tally.done),
        "groups": groups(tally.times_ms),
        "routes": {route: summary(times) for route, times in sorted(tally.times_ms.items())},
        "server_rss_mib": {"start": round(memory[0]), "end": round(memory[-1]), "peak": round(max(memory))},
        "processor_seconds": {
            "service": round(used(process)[1] - before[1], 1),
            "people": round(time.process_time() - own, 1),
        },
    }


def groups(times_ms: dict[str, list[float]]) -> dict[str, Any]:
    """Calls to the model, and all others."""
    parts: dict[str, list[float]] = {"other calls": [], "calls to the model": []}
    for route, times in times_ms.items():
        parts["calls to the model" if route.endswith(MODEL) else "other calls"] += times
    return {name: summary(times) for name, times in parts.items() if times}


def summary(times: Sequence[float]) -> dict[str, Any]:
    cuts = statistics.quantiles(times, n=100, method="inclusive") if len(times) > 1 else [times[0]] * 99
    found = {"p50": cuts[49], "p95": cuts[94], "p99": cuts[98], "max": max(times)}
    return {"count": len(times), **{name: round(value, 1) for name, value in found.items()}}


def kept(folder: Path, address: str | None, project: int) -> dict[str, int]:
    """What the store says people did."""
    store = open_store(folder, database=address)
    actions: Counter[str] = Counter()
    for person in store.stats(project).people:
        actions.update(person.actions)
    store.close()
    judged = sum(actions[kind] for kind in ("accept", "reject", "fix"))
    return {"submit": actions["submit"], "skip": actions["skip"], "review": judged}


def measure(words: argparse.Namespace) -> dict[str, Any]:
    """One run."""
    with tempfile.TemporaryDirectory() as place, database(words.database) as address:
        folder = Path(place)
        words.url = ""
        project, people, tally = furnish(folder / "store", address, words)
        with service(folder, address, words) as (url, process):
            for person in people:
                person.client.url = url
            result = load(project, people, tally, process, words.seconds)
        stands = kept(folder / "store", address, project)
    asked = {name: value for name, value in vars(words).items() if name not in ("output", "url", "database")}
    agrees = all(stands[name] == tally.done[name] for name in stands)
    return {"settings": asked, **result, "kept": stands, "kept_what_was_acknowledged": agrees}


def draw(path: Path, runs: dict[str, Any]) -> Path:
    """Percentiles of each kind of call on each database."""
    names = [f"{kind}, {part}" for kind, run in runs.items() for part in run["groups"]]
    values = [part for run in runs.values() for part in run["groups"].values()]
    series = {name: [one[name] for one in values] for name in ("p50", "p95", "p99")}
    return bar_plot(path, [name.replace(", ", "\n") for name in names], series, title="Calls", y_label="ms")


def main(arguments: Sequence[str] | None = None, told: Callable[[str], None] = print) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=50, help="annotators")
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--database", default="postgresql", help="postgresql (starts one), sqlite, or an address")
    parser.add_argument("--pace", type=float, default=1.0, help="times the seconds of thought; 0 is none")
    parser.add_argument("--photos", type=int, default=1000)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=RESULTS / "engine_load.json")
    words = parser.parse_args(arguments)
    about = machine()
    result = {**measure(words), "machine": about}
    kind = "sqlite" if words.database == "sqlite" else "postgresql"
    before = json.loads(words.output.read_text())["runs"] if words.output.is_file() else {}
    runs = dict(sorted({**before, kind: result}.items()))
    atomic_write_json(words.output, {"runs": runs}, indent=1)
    draw(words.output.with_suffix(".png"), runs)
    for name, value in result.items():
        if isinstance(value, dict) and name in ("groups", "routes"):
            for part, numbers in value.items():
                told(f"{part}: {numbers}")
        elif name != "machine":
            told(f"{name}: {value}")
    return 1 if result["errors"] or not result["kept_what_was_acknowledged"] else 0


if __name__ == "__main__":
    sys.exit(main())
