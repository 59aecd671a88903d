"""The class-agnostic detector of the semi-automatic stage: proposals of the sweep, judged on the frozen embedding.

P proposals · C channels of the embedding · g its grid · H, W photo
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from segany.core.errors import CheckpointError, EmbeddingError, OptionError
from segany.core.files import atomic_path
from segany.masks.nms import mask_nms
from segany.masks.rle import decode
from segany.modeling.object_head import ObjectScorer
from segany.predict.automatic.generator import AutomaticMaskGenerator
from segany.predict.embedding import ImageEmbedding
from segany.records.record import MaskRecord

if TYPE_CHECKING:
    from segany.predict.predictor import Predictor

FORMAT = "segany-objects 1"
SHAPE_FEATURES = 13
"""Numbers that describe a proposal beside what the embedding says."""


@dataclass(frozen=True, kw_only=True)
class ObjectConfig:
    """How proposals are made and which of them count as found."""

    points_per_side: int = 16
    """Clicks along each edge that make proposals. 1 or more."""
    least_iou: float = 0.3
    """Proposals that the model itself thinks less of are not looked at: predicted IoU; 0 is off."""
    stability_thresh: float = 0.5
    """Proposals less stable than this are not looked at, in [0, 1]."""
    proposal_nms: float = 0.85
    """Of proposals whose boxes overlap by more, the one of lower predicted IoU goes before judging, in [0, 1]."""
    final_nms: float = 0.5
    """Of judged masks that overlap by more than this IoU, the less convincing one goes, in [0, 1]."""
    least_share: float = 0.004
    """Smaller masks are no objects here: share of the photo, in [0, 1]."""
    most_share: float = 0.9
    """Nor are larger ones, in [0, 1]."""
    ring: float = 0.5
    """How far around a mask's box its surroundings are looked at, as a share of the box's sides. 0 or more."""
    width: int = 64
    """Hidden width of the judge."""
    threshold: float = 0.5
    """Least score of a found object, in [0, 1]; set by training so that enough of what is found is right."""

    def __post_init__(self) -> None:
        thresholds = ("least_iou", "stability_thresh", "proposal_nms", "final_nms", "threshold")
        for name in (*thresholds, "least_share", "most_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise OptionError(f"{name} must be from 0 to 1; got {getattr(self, name)}. Change it.")
        if self.points_per_side < 1 or self.width < 1 or self.ring < 0:
            raise OptionError(
                f"points_per_side and width must be 1 or more and ring 0 or more; got {self.points_per_side}, "
                f"{self.width} and {self.ring}. Change them."
            )


@dataclass(frozen=True, eq=False)
class Proposals:
    """Masks that might be objects, with what a judge is told of each.

    Attributes:
        masks: P records.
        features: (P, F) float32.
    """

    masks: list[MaskRecord]
    features: Tensor


@dataclass(frozen=True)
class Found:
    """An object and how sure the detector is of it, in [0, 1]."""

    mask: MaskRecord
    score: float


def propose(predictor: Predictor, rgb: NDArray[np.uint8], config: ObjectConfig) -> Proposals:
    """Masks of a grid of clicks, hardly filtered, with their features.

    Args:
        predictor: the model whose embedding is looked at.
        rgb: (H, W, 3) uint8.
        config: see there.
    """
    generator = AutomaticMaskGenerator(
        predictor,
        points_per_side=config.points_per_side,
        pred_iou_thresh=config.least_iou,
        stability_score_thresh=config.stability_thresh,
        box_nms_thresh=config.proposal_nms,
        max_area_share=config.most_share,
        mask_nms_thresh=0.0,
        min_mask_region_area=0,
    )
    embeddings = generator.embed(rgb)
    least = config.least_share * rgb.shape[0] * rgb.shape[1]
    masks = [one for one in generator.generate(rgb, embeddings=embeddings) if one.area >= least]
    if not masks:
        return Proposals([], torch.zeros(0, feature_count(predictor.config.width)))
    return Proposals(masks, _features(embeddings[0], predictor.config.width, masks, config.ring))


def feature_count(channels: int) -> int:
    """F, for an embedding of so many channels."""
    return 3 * channels + SHAPE_FEATURES


def _features(embedding: ImageEmbedding, channels: int, masks: Sequence[MaskRecord], ring: float) -> Tensor:
    """Mean embedding inside, around, and the difference; shape and the model's own opinions."""
    frame, side = embedding.frame, embedding.features.shape[-1]
    rows, columns = (max(1, round(n * side / frame.canvas)) for n in frame.resized_hw)
    grid = embedding.features[:channels, :rows, :columns].cpu().numpy().reshape(channels, -1)
    told = []
    for one in masks:
        mask = decode(one.segmentation)
        cover = cv2.resize(mask.astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA).reshape(-1)
        around = _around(one, ring, (rows, columns)).reshape(-1) * (1 - cover)
        inside, outside = (grid @ (w / max(float(w.sum()), 1e-6)) for w in (cover, around))
        told.append(np.concatenate([inside, outside, np.abs(inside - outside), _shape(one, mask)]))
    return torch.from_numpy(np.stack(told).astype(np.float32))


def _around(mask: MaskRecord, ring: float, grid: tuple[int, int]) -> NDArray[np.float32]:
    """1 in the mask's box, made larger, 0 elsewhere; on the grid of the embedding."""
    height, width = mask.size_hw
    x, y, w, h = (float(value) for value in mask.bbox)
    rows, columns = grid
    x0, x1 = (x - ring * w) * columns / width, (x + w + ring * w) * columns / width
    y0, y1 = (y - ring * h) * rows / height, (y + h + ring * h) * rows / height
    made = np.zeros(grid, np.float32)
    made[max(0, int(y0)) : max(1, int(np.ceil(y1))), max(0, int(x0)) : max(1, int(np.ceil(x1)))] = 1
    return made


def _shape(record: MaskRecord, mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The numbers beside the embedding; lengths as shares of the photo."""
    height, width = record.size_hw
    x, y, w, h = (float(value) for value in record.bbox)
    filled = record.area / max(1.0, (w + 1) * (h + 1))
    outline = float(np.count_nonzero(mask[1:] != mask[:-1]) + np.count_nonzero(mask[:, 1:] != mask[:, :-1]))
    edges = [float(mask[0].any()), float(mask[-1].any()), float(mask[:, 0].any()), float(mask[:, -1].any())]
    values = [
        record.predicted_iou,
        record.stability_score,
        np.log(record.area / (height * width)),
        filled,
        outline / (4 * np.sqrt(record.area)),
        (x + w / 2) / width,
        (y + h / 2) / height,
        np.log((w + 1) / (h + 1)),
        float(record.output_index or 0),
        *edges,
    ]
    return np.array(values, np.float32)


class ObjectDetector:
    """Objects of a photo without a prompt, for people to start from.

    Args:
        predictor: the very model it was trained with.
        scorer: the judge.
        config: how it was trained.
        fingerprint: of the model it was trained with.

    Raises:
        EmbeddingError: the predictor has another model.
    """

    def __init__(self, predictor: Predictor, scorer: ObjectScorer, config: ObjectConfig, fingerprint: str) -> None:
        if predictor.fingerprint != fingerprint:
            raise EmbeddingError(
                f"a detector works with the model it was trained on, {fingerprint[:12]}…; got "
                f"{predictor.fingerprint[:12]}…. Train it again with this model."
            )
        self.predictor, self.scorer, self.config = predictor, scorer.eval(), config

    def find(self, rgb: NDArray[np.uint8]) -> list[Found]:
        """Objects of a photo that are at least as sure as the threshold, the surest first.

        Args:
            rgb: (H, W, 3) uint8.
        """
        proposals = propose(self.predictor, rgb, self.config)
        return [one for one in judge(self.scorer, proposals, self.config) if one.score >= self.config.threshold]


def judge(scorer: ObjectScorer, proposals: Proposals, config: ObjectConfig) -> list[Found]:
    """Every proposal that no more convincing one overlaps, the surest first."""
    if not proposals.masks:
        return []
    with torch.no_grad():
        scores = torch.sigmoid(scorer(proposals.features)).numpy()
    kept = mask_nms([one.segmentation for one in proposals.masks], scores, config.final_nms)
    return [Found(proposals.masks[i], float(scores[i])) for i in kept.tolist()]


def save_detector(path: Path, scorer: ObjectScorer, config: ObjectConfig, about: dict[str, Any]) -> Path:
    """Write a detector.

    Args:
        path: safetensors file.
        scorer: its judge.
        config: how proposals are made; its threshold.
        about: JSON values; `fingerprint` names the model it belongs to.
    """
    told = {"format": FORMAT, "config": json.dumps(asdict(config)), "about": json.dumps(about)}
    with atomic_path(path) as part:
        save_file({name: value.contiguous() for name, value in scorer.state_dict().items()}, part, metadata=told)
    return path


def load_detector(path: Path, predictor: Predictor) -> ObjectDetector:
    """Read a detector.

    Raises:
        CheckpointError: no such file, or another kind of file.
        EmbeddingError: it belongs to another model.
    """
    try:
        with safe_open(path, framework="pt") as file:
            told = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"expected a detector at {path}; reading it failed: {error}. Train it again.") from error
    if told.get("format") != FORMAT:
        raise CheckpointError(f"expected a detector ({FORMAT}) at {path}; it is something else. Train it again.")
    config, about = ObjectConfig(**json.loads(told["config"])), json.loads(told["about"])
    scorer = ObjectScorer(len(tensors["mean"]), SHAPE_FEATURES, config.width)
    scorer.load_state_dict(tensors)
    return ObjectDetector(predictor, scorer, config, about["fingerprint"])
