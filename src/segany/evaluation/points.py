"""Protocol "points": how good is the mask after 1, 2, 3, 5 and 9 simulated clicks, and from a box?"""

# P prompts, one per true mask · M masks per prompt · K clicks so far · H, W image · h, w low-res logits

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from segany.core.errors import OptionError
from segany.evaluation.metrics import candidate_iou
from segany.masks.boxes import masks_to_boxes
from segany.prompts.clicks import FOREGROUND, first_click_center, next_click

Scores = dict[str, NDArray[np.float64]]


class Decoded(Protocol):
    """What one call of `PromptablePredictor.decode` gives for P prompts."""

    @property
    def masks(self) -> Any:
        """(P, M, H, W) boolean masks at the image's size."""

    @property
    def predicted_iou(self) -> Any:
        """(P, M) the model's own opinion of each mask."""

    @property
    def low_res_logits(self) -> Any:
        """(P, M, h, w) logits that can be handed back as ``mask``."""


class PromptablePredictor(Protocol):
    """The part of a predictor this protocol needs."""

    def encode(self, image: Any, /) -> Any:
        """(H, W, 3) uint8 RGB → an embedding."""

    def decode(
        self,
        image: Any,
        /,
        *,
        points: Any = None,
        labels: Any = None,
        boxes: Any = None,
        mask: Any = None,
        multimask: Any = "auto",
    ) -> Any:
        """An embedding and P prompts → `Decoded`."""


@dataclass(frozen=True, kw_only=True)
class PointsConfig:
    """What the protocol measures."""

    clicks: tuple[int, ...] = (1, 2, 3, 5, 9)
    """Numbers of clicks to report; the cost grows with the largest."""
    box: bool = True
    """Measure the box prompt too."""
    prompts_per_call: int = 16
    """Masks decoded together; memory grows with it, results do not change."""

    def __post_init__(self) -> None:
        if not self.clicks or min(self.clicks) < 1:
            raise OptionError(f"clicks must be whole numbers from 1; got {self.clicks}. The usual: 1, 2, 3, 5, 9.")
        if self.prompts_per_call < 1:
            raise OptionError(f"prompts_per_call must be at least 1; got {self.prompts_per_call}.")


@dataclass(frozen=True, kw_only=True)
class PointsScorer:
    """Scores a predictor on true masks; a `segany.evaluation.sampling.Scorer`.

    One click: the mask's centre, three candidate masks. Each later click corrects the mask so far (after the
    first click the one with the highest predicted IoU) and is decoded with the single-mask token from all
    clicks and the previous logits. Box: the best-predicted mask of the box alone.

    Source: Segment Anything (arXiv 2304.02643), single-point evaluation; handing back the logits follows its
    training.
    """

    predictor: PromptablePredictor
    config: PointsConfig = PointsConfig()

    def __call__(self, rgb: NDArray[np.uint8], targets: NDArray[np.bool_]) -> Scores:
        """Measure all masks of one image.

        Args:
            rgb: (H, W, 3) uint8.
            targets: (P, H, W) true masks, none empty.

        Returns:
            (P,) each: "clicks_N" IoU after N clicks, "oracle_1" of the best of three after one by the truth,
            "mean_1" and "largest_1" of the three on average and of the largest (what choosing blindly or by
            area would give), "predicted_1" the model's own opinion after one click; with boxes "box",
            "box_oracle" and "box_predicted".
        """
        embedding = self.predictor.encode(rgb)
        parts = [
            self._score(embedding, targets[start : start + self.config.prompts_per_call])
            for start in range(0, len(targets), self.config.prompts_per_call)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if parts else {}

    def _score(self, embedding: Any, targets: NDArray[np.bool_]) -> Scores:
        scores = self._click_rounds(embedding, targets)
        if self.config.box:
            boxes = masks_to_boxes(targets).astype(np.float32)
            scores |= _first_choice(self.predictor.decode(embedding, boxes=boxes, multimask="auto"), targets, "box")
        return scores

    def _click_rounds(self, embedding: Any, targets: NDArray[np.bool_]) -> Scores:
        points = np.array([[first_click_center(target)] for target in targets], dtype=np.float32)
        labels = np.full(points.shape[:2], FOREGROUND, dtype=np.int64)
        first = self.predictor.decode(embedding, points=points, labels=labels, multimask=True)
        scores = _first_choice(first, targets, "1")
        masks, logits = _best_of(first)
        for count in range(2, max(self.config.clicks) + 1):
            corrections = [next_click(mask, target) for mask, target in zip(masks, targets, strict=True)]
            points = np.concatenate([points, np.array([[xy] for xy, _ in corrections], np.float32)], axis=1)
            labels = np.concatenate([labels, np.array([[label] for _, label in corrections])], axis=1)
            decoded = self.predictor.decode(embedding, points=points, labels=labels, mask=logits, multimask=False)
            masks, logits = _best_of(decoded)
            if count in self.config.clicks:
                scores[f"clicks_{count}"] = candidate_iou(masks[:, None], targets)[:, 0]
        if 1 not in self.config.clicks:
            del scores["clicks_1"]
        return scores


def _first_choice(decoded: Decoded, targets: NDArray[np.bool_], prompt: str) -> Scores:
    """Scores of a prompt that offers several masks: chosen, oracle, and what blind choices would give."""
    masks, predicted = _array(decoded.masks), _array(decoded.predicted_iou)
    iou = candidate_iou(masks, targets)
    rows, best = np.arange(len(targets)), predicted.argmax(axis=1)
    chosen, opinion = iou[rows, best], predicted[rows, best].astype(np.float64)
    if prompt == "box":
        return {"box": chosen, "box_oracle": iou.max(axis=1), "box_predicted": opinion}
    largest = np.count_nonzero(masks, axis=(2, 3)).argmax(axis=1)
    return {
        "clicks_1": chosen,
        "oracle_1": iou.max(axis=1),
        "mean_1": iou.mean(axis=1),
        "largest_1": iou[rows, largest],
        "predicted_1": opinion,
    }


def _best_of(decoded: Decoded) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """The mask with the highest predicted IoU, (P, H, W), and its logits as a mask prompt, (P, 1, h, w)."""
    best = _array(decoded.predicted_iou).argmax(axis=1)
    rows = np.arange(len(best))
    logits = _array(decoded.low_res_logits)[rows, best][:, None]
    return _array(decoded.masks)[rows, best].astype(bool), logits.astype(np.float32)


def _array(values: Any) -> NDArray[Any]:
    if hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    return np.asarray(values)
