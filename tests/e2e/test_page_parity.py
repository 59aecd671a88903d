"""A click in the page gives the mask that the Python predictor gives for the same click."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from segany.masks.rle import decode

if TYPE_CHECKING:
    from segany.predict.embedding import ImageEmbedding
    from segany.predict.predictor import Predictor

PROMPTS = 8
"""Per photo; four photos."""


def python_mask(tiny: Predictor, image: ImageEmbedding, prompts: list[dict[str, Any]]) -> NDArray[np.bool_]:
    """The same clicks and boxes, one after the other, each with the mask before as a hint."""
    hint = None
    for count in range(1, len(prompts) + 1):
        told = prompts[:count]
        points = [(p["x"], p["y"]) for p in told if p["kind"] == "point"]
        labels = [p["label"] for p in told if p["kind"] == "point"]
        boxes = [p["xyxy"] for p in told if p["kind"] == "box"]
        result = tiny.decode(
            image, points=points or None, labels=labels or None, boxes=boxes[-1] if boxes else None, mask=hint
        )
        hint = result.low_res_logits[result.best]
    mask: NDArray[np.bool_] = result.masks[result.best]
    return mask


def overlap(ours: NDArray[np.bool_], theirs: NDArray[np.bool_]) -> float:
    union = np.count_nonzero(ours | theirs)
    return 1.0 if union == 0 else np.count_nonzero(ours & theirs) / union


def prompt_at_random(page: Any, draw: np.random.Generator, width: int, height: int) -> None:
    """A click, or a box, and every third time a click more."""

    def place(low: float = 0.08, high: float = 0.92) -> tuple[float, float]:
        return float(draw.uniform(low, high) * width), float(draw.uniform(low, high) * height)

    if draw.random() < 0.3:
        (x0, y0), (x1, y1) = place(0.05, 0.45), place(0.55, 0.95)
        page.box(x0, y0, x1, y1)
    else:
        page.click(*place())
    if draw.random() < 0.35:
        page.click(*place(), background=bool(draw.random() < 0.5))


def compare(page: Any, tiny: Predictor, photo: Path, seed: int) -> list[float]:
    page.open(photo)
    image = tiny.encode(photo)
    height, width = image.size_hw
    draw = np.random.default_rng(seed)
    kept = 0
    while kept < PROMPTS:
        prompt_at_random(page, draw, width, height)
        if page.find("accept").is_enabled():
            page.accept()
            kept += 1
        else:
            page.press("Escape")  # an empty mask: nothing to compare
    documents = {one["image"]["file_name"]: one for one in page.documents((seed + 1) * PROMPTS)}
    return [
        overlap(decode(one["segmentation"]), python_mask(tiny, image, one["interaction"]["prompts"]))
        for one in documents[photo.name]["annotations"]
    ]


@pytest.fixture
def measured(tiny: Predictor, photos: dict[str, Path], desk: Callable[..., Any]) -> Callable[..., list[float]]:
    def run(address: str) -> list[float]:
        page = desk(address).visit()
        scores = [score for seed, photo in enumerate(photos.values()) for score in compare(page, tiny, photo, seed)]
        print(f"IoU of {len(scores)} masks with Python's: lowest {min(scores):.4f}, mean {np.mean(scores):.4f}")
        return scores

    return run


def test_masks_are_pythons_when_the_service_encodes(measured: Callable[..., list[float]], service_url: str) -> None:
    scores = measured(service_url)
    assert len(scores) >= 30
    assert min(scores) >= 0.99


def test_masks_are_pythons_when_the_page_encodes(measured: Callable[..., list[float]], site: str) -> None:
    scores = measured(site)
    assert len(scores) >= 30
    assert min(scores) >= 0.97
