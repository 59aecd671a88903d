"""Predictors whose answers are known."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray


@dataclass
class Answer:
    """What a predictor gives back: three masks per prompt, or one."""

    masks: NDArray[np.bool_]
    predicted_iou: NDArray[np.float32]
    low_res_logits: NDArray[np.float32]


@dataclass
class PerfectPredictor:
    """Knows the true masks: answers each prompt with the smallest one that agrees with it.

    Of three masks, the middle one is true; `confident_in` says which one it believes in.
    """

    truths: NDArray[np.bool_]
    confident_in: int = 1
    calls: list[dict[str, Any]] = field(default_factory=list)

    def encode(self, image: Any) -> Any:
        return image.shape[:2]

    def decode(self, image: Any, *, multimask: Any = "auto", **prompts: Any) -> Answer:
        self.calls.append({"multimask": multimask, **prompts})
        if "boxes" in prompts:
            chosen = [self._in_box(box) for box in prompts["boxes"]]
        else:
            pairs = zip(prompts["points"], prompts["labels"], strict=True)
            chosen = [self._under(points, labels) for points, labels in pairs]
        truth = np.stack(chosen)
        if multimask is False:
            return self._answer(truth[:, None], [1.0])
        opinions = [0.1, 0.1, 0.1]
        opinions[self.confident_in] = 0.9
        masks = np.stack([np.zeros_like(truth), truth, np.ones_like(truth)], axis=1)
        return self._answer(masks, opinions)

    def _under(self, points: NDArray[Any], labels: NDArray[Any]) -> NDArray[np.bool_]:
        fits = [
            truth
            for truth in self.truths
            if all(truth[int(y), int(x)] == bool(label) for (x, y), label in zip(points, labels, strict=True))
        ]
        return min(fits, key=lambda mask: int(mask.sum()))

    def _in_box(self, box: NDArray[Any]) -> NDArray[np.bool_]:
        def extent(mask: NDArray[np.bool_]) -> list[int]:
            rows, columns = np.nonzero(mask)
            return [columns.min(), rows.min(), columns.max(), rows.max()]

        return next(truth for truth in self.truths if extent(truth) == list(box))

    def _answer(self, masks: NDArray[np.bool_], opinions: list[float]) -> Answer:
        logits = np.where(masks[..., ::4, ::4], 10, -10).astype(np.float32)
        predicted = np.tile(np.float32(opinions), (len(masks), 1))
        return Answer(masks=masks, predicted_iou=predicted, low_res_logits=logits)


@dataclass
class EmptyPredictor:
    """Finds nothing, ever."""

    def encode(self, image: Any) -> Any:
        return image.shape[:2]

    def decode(self, image: Any, *, multimask: Any = "auto", **prompts: Any) -> Answer:
        count = len(prompts["boxes"] if "boxes" in prompts else prompts["points"])
        masks = np.zeros((count, 1 if multimask is False else 3, *image), bool)
        return Answer(
            masks=masks,
            predicted_iou=np.zeros(masks.shape[:2], np.float32),
            low_res_logits=np.full((*masks.shape[:2], 10, 15), -10, np.float32),
        )


@pytest.fixture
def scene() -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A picture of two separate blocks, and their masks."""
    truths = np.zeros((2, 40, 60), bool)
    truths[0, 5:25, 5:30] = True
    truths[1, 28:38, 35:55] = True
    rgb = np.zeros((40, 60, 3), np.uint8)
    rgb[truths[0]] = (250, 20, 20)
    rgb[truths[1]] = (20, 250, 20)
    return rgb, truths


@pytest.fixture
def perfect() -> type[PerfectPredictor]:
    return PerfectPredictor


@pytest.fixture
def empty() -> type[EmptyPredictor]:
    return EmptyPredictor
