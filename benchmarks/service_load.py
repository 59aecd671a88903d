"""Many users at once, each clicking in a photo of their own, against a real `segany serve`; every mask is checked.

    python benchmarks/service_load.py --users 32 --seconds 60

Each user uploads a photo, then sends one prompt after the other (a click, two clicks, a box in turn). What the
service answers is compared with what the predictor of this process gives for the same prompt alone. An answer is
wrong when one of its masks overlaps its counterpart by an IoU below 0.99; anything but 200 is an error.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
from _common import RESULTS, demo_photos
from numpy.typing import NDArray
from PIL import Image

from segany.core.files import atomic_write_json
from segany.masks.rle import encode_many, rle_iou
from segany.predict.predictor import Predictor
from segany.recipes.timing import machine

SAME_IOU = 0.99
PROMPTS_PER_USER = 12


@dataclass
class User:
    """A photo, prompts on it, and what they must give."""

    photo: NDArray[np.uint8]
    prompts: list[dict[str, Any]]
    expected: list[list[dict[str, Any]]] = field(default_factory=list)
    key: str = ""


@dataclass
class Tally:
    """What the users saw."""

    latencies_ms: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    masks: int = 0
    identical: int = 0
    wrong: int = 0
    lowest_iou: float = 1.0

    def check(self, answer: Any, expected: list[dict[str, Any]]) -> None:
        """Compare the masks of one answer with those of the predictor."""
        if answer.status_code != 200:
            self.errors.append(f"{answer.status_code}: {answer.text[:200]}")
            return
        got = [mask["segmentation"] for mask in answer.json()["results"][0]["masks"]]
        self.masks += len(expected)
        if len(got) != len(expected):
            self.wrong += len(expected)
            return
        for mine, theirs in zip(expected, got, strict=True):
            if mine == theirs:
                self.identical += 1
                continue
            iou = float(rle_iou([mine], [theirs])[0, 0]) if "0" not in (mine["counts"], theirs["counts"]) else 0.0
            self.lowest_iou = min(self.lowest_iou, iou)
            self.wrong += iou < SAME_IOU


def make_users(count: int, seed: int) -> list[User]:
    """Users with different photos: cuts of the demonstration photos, of many shapes."""
    draw = np.random.default_rng(seed)
    photos = list(demo_photos().values())
    users = []
    for number in range(count):
        source = photos[number % len(photos)]
        height, width = (int(draw.uniform(0.6, 1.0) * side) for side in source.shape[:2])
        top, left = (
            int(draw.integers(0, full - side + 1)) for full, side in zip(source.shape, (height, width), strict=False)
        )
        photo = np.ascontiguousarray(source[top : top + height, left : left + width])
        users.append(User(photo, [prompt(draw, height, width, turn) for turn in range(PROMPTS_PER_USER)]))
    return users


def prompt(draw: np.random.Generator, height: int, width: int, turn: int) -> dict[str, Any]:
    """A click, two clicks, or a box, as the service takes them."""
    spots = [[round(float(draw.uniform(0, width)), 1), round(float(draw.uniform(0, height)), 1)] for _ in range(2)]
    if turn % 3 == 0:
        return {"points": spots[:1], "labels": [1]}
    if turn % 3 == 1:
        return {"points": spots, "labels": [1, 0]}
    (x0, y0), (x1, y1) = spots
    return {"box": [min(x0, x1), min(y0, y1), max(x0, x1) + 1, max(y0, y1) + 1]}


def expect(users: list[User], predictor: Predictor) -> None:
    """Each prompt decoded alone by a predictor of the same settings."""
    for user in users:
        embedding = predictor.encode(user.photo)
        for one in user.prompts:
            arguments = {"boxes" if name == "box" else name: value for name, value in one.items()}
            user.expected.append(encode_many(predictor.decode(embedding, **arguments).masks))


def start_server(words: argparse.Namespace, folder: Path) -> tuple[subprocess.Popen[str], str]:
    command = [sys.executable, "-m", "segany", "serve", "--port", "0", "--data", str(folder), "--no-prepare"]
    command += ["--model", words.model, "--dtype", words.dtype, "--rate-per-s", "0"]
    command += ["--threads", str(words.threads)] if words.threads else []
    log = open(folder.with_suffix(".log"), "w")  # noqa: SIM115 (the process keeps it)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    if not url.startswith("http"):
        raise SystemExit(folder.with_suffix(".log").read_text())
    return process, url


async def settle_in(client: httpx2.AsyncClient, user: User, file: bytes) -> None:
    """Upload the photo and click once, so that it is encoded."""
    user.key = (await client.post("images", files={"file": ("photo.png", file)})).json()["key"]
    answer = await client.post(f"images/{user.key}/masks", json={"prompts": [user.prompts[0]]})
    answer.raise_for_status()


async def use(client: httpx2.AsyncClient, user: User, until: float, tally: Tally) -> None:
    """One prompt after the other until the time is over."""
    turn = 0
    while time.monotonic() < until:
        index = turn % len(user.prompts)
        began = time.perf_counter()
        try:
            answer = await client.post(f"images/{user.key}/masks", json={"prompts": [user.prompts[index]]})
        except httpx2.HTTPError as error:
            tally.errors.append(f"{type(error).__name__}: {error}")
        else:
            tally.latencies_ms.append((time.perf_counter() - began) * 1000)
            tally.check(answer, user.expected[index])
        turn += 1


async def load(url: str, users: list[User], seconds: float) -> dict[str, Any]:
    """Everybody at once; what they saw, and the server's memory before, during and after."""
    tally = Tally()
    limits = httpx2.Limits(max_connections=len(users) + 2)
    async with httpx2.AsyncClient(base_url=f"{url}api/v1/", timeout=120, limits=limits) as client:
        for user in users:
            await settle_in(client, user, png(user.photo))
        await asyncio.gather(*(use(client, user, time.monotonic() + 2, Tally()) for user in users))
        memory = [await resident(client, url)]
        watcher = asyncio.create_task(watch(client, url, memory))
        began = time.monotonic()
        await asyncio.gather(*(use(client, user, began + seconds, tally) for user in users))
        took = time.monotonic() - began
        watcher.cancel()
        memory.append(await resident(client, url))
        metrics = (await client.get(f"{url}metrics")).text
    return report(tally, took, memory, metrics)


async def watch(client: httpx2.AsyncClient, url: str, memory: list[float]) -> None:
    """The server's memory, once a second."""
    while True:
        await asyncio.sleep(1)
        memory.append(await resident(client, url))


async def resident(client: httpx2.AsyncClient, url: str) -> float:
    """Bytes of memory the server holds, as its metrics tell."""
    return metrics_of((await client.get(f"{url}metrics")).text)["process_resident_memory_bytes"]


def metrics_of(text: str) -> dict[str, float]:
    """Prometheus' text as numbers by name."""
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#")]
    return {name: float(value) for name, value in lines}


def png(photo: NDArray[np.uint8]) -> bytes:
    import io

    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def report(tally: Tally, took: float, memory: list[float], metrics: str) -> dict[str, Any]:
    numbers = metrics_of(metrics)
    percentiles = statistics.quantiles(tally.latencies_ms, n=100, method="inclusive")
    mebi = [round(size / 2**20, 1) for size in memory]
    return {
        "requests": len(tally.latencies_ms),
        "requests_per_s": round(len(tally.latencies_ms) / took, 1),
        "errors": len(tally.errors),
        "first_errors": tally.errors[:3],
        "masks": tally.masks,
        "masks_identical": tally.identical,
        "masks_wrong": tally.wrong,
        "lowest_iou": tally.lowest_iou,
        "latency_ms": {
            "p50": round(percentiles[49], 1),
            "p95": round(percentiles[94], 1),
            "p99": round(percentiles[98], 1),
            "max": round(max(tally.latencies_ms), 1),
        },
        "prompts_per_pass": round(
            numbers["segany_decode_batch_prompts_sum"] / numbers["segany_decode_batch_prompts_count"], 2
        ),
        "server_rss_mib": {"start": mebi[0], "end": mebi[-1], "peak": max(mebi)},
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=RESULTS / "service_load.json")
    words = parser.parse_args()
    users = make_users(words.users, words.seed)
    expect(users, Predictor.from_pretrained(words.model, dtype=words.dtype, threads=words.threads))
    with tempfile.TemporaryDirectory() as folder:
        process, url = start_server(words, Path(folder) / "data")
        try:
            result = asyncio.run(load(url, users, words.seconds))
        finally:
            process.terminate()
            code = process.wait(60)
    settings = {name: value for name, value in vars(words).items() if name != "output"}
    result = {"settings": settings, **result, "exit_code_after_sigterm": code}
    atomic_write_json(words.output, {**result, "machine": machine()}, indent=1)
    for name, value in result.items():
        print(f"{name}: {value}")
    return 1 if result["errors"] or result["masks_wrong"] or code else 0


if __name__ == "__main__":
    sys.exit(main())
