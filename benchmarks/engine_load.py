"""Many annotators at once in a real `segany serve --project`, with reviewers and an admin; every call is timed.

    python benchmarks/engine_load.py --people 50 --seconds 120 --database postgresql

Everybody logs in during the first tenth of the time. An annotator claims a photo, loads it, peeks at the queue and
prefetches the next photo's embedding, looks, clicks objects (each click asks the model for masks), gives a sign of
life, hands in what the model answered, or skips. Between two steps they think: 2 s on average, times `--pace`, drawn
from a log-normal distribution; 0 is no thinking at all. They are several times as fast as people are. There is a
reviewer per ten annotators, who accepts, sends back or mends; an admin opens the numbers again and again, and now and
then a plot.

Calls to the model (masks, embedding) are reported apart from all others. Nothing is tried again: any answer but the
expected one is an error. In the end the store must hold exactly what was acknowledged.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from _common import RESULTS, demo_photos
from _engine_people import MODEL, PASSWORD, Admin, Annotator, Person, Reviewer, Tally
from PIL import Image

from segany.core.files import atomic_write_json
from segany.engine.config import ProjectSettings
from segany.engine.store import open_store
from segany.pictures.plots import bar_plot
from segany.recipes.timing import machine


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
    parser.add_argument("--photos", type=int, default=700)
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
