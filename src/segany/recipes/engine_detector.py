"""Train the class-agnostic detector on masks that people made, and fill images with what it is sure of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from segany.core.errors import DataError, OptionError, TransitionError
from segany.core.files import sha256_file
from segany.core.progress import CancelCheck, Progress, check_cancelled
from segany.data.sample import SampleSource
from segany.engine.moving import document_of
from segany.engine.objects import (
    SHAPE_FEATURES,
    ObjectConfig,
    ObjectDetector,
    Proposals,
    feature_count,
    judge,
    load_detector,
    propose,
    save_detector,
)
from segany.masks.rle import rle_iou
from segany.modeling.object_head import ObjectScorer

if TYPE_CHECKING:
    from segany.engine.store.store import Store
    from segany.predict.predictor import Predictor


@dataclass(frozen=True, kw_only=True)
class DetectorTraining:
    """How the judge of proposals learns."""

    objects: ObjectConfig = field(default_factory=ObjectConfig)
    """How proposals are made."""
    same: float = 0.6
    """IoU with a mask that people made from which a proposal is an object, in (0, 1]."""
    precision: float = 0.6
    """The threshold is the lowest at which this share of what is found is right, in (0, 1]."""
    steps: int = 200
    """Of the optimiser, each over all proposals. 1 or more."""
    rate: float = 3e-3
    """Learning rate. Above 0."""
    weight_decay: float = 0.05
    """AdamW's. 0 or more."""
    folds: int = 4
    """Parts for finding the threshold on images the judge did not learn from. 2 or more."""
    most_images: int = 400
    """Images looked at, evenly spread. 2 or more."""
    seed: int = 0
    """Of weights and folds."""

    def __post_init__(self) -> None:
        if not (0 < self.same <= 1 and 0 < self.precision <= 1 and self.rate > 0 and self.weight_decay >= 0):
            raise OptionError(
                "same and precision must be above 0 and at most 1, rate above 0, weight_decay 0 or more; got "
                f"{self.same}, {self.precision}, {self.rate}, {self.weight_decay}. Change them."
            )
        if self.steps < 1 or self.folds < 2 or self.most_images < 2:
            raise OptionError(
                f"steps must be 1 or more, folds and most_images 2 or more; got {self.steps}, {self.folds}, "
                f"{self.most_images}. Change them."
            )


@dataclass(frozen=True, eq=False)
class Lesson:
    """A photo's proposals and how well each meets a mask that people made."""

    proposals: Proposals
    truth: list[dict[str, Any]]
    """RLEs of what people made."""
    best: NDArray[np.float64]
    """(P,) IoU of each proposal with the nearest of them."""


def lessons_of(
    predictor: Predictor,
    samples: SampleSource,
    config: DetectorTraining,
    *,
    progress: Progress | None = None,
    cancelled: CancelCheck | None = None,
) -> list[Lesson]:
    """Make the proposals of annotated photos.

    Args:
        predictor: the frozen model.
        samples: photos with masks.
        config: how.
        progress: told (photos done, photos in all).
        cancelled: asked before every photo.
    """
    count = min(len(samples), config.most_images)
    found = []
    for done, index in enumerate(np.linspace(0, len(samples) - 1, count).round().astype(int).tolist(), start=1):
        check_cancelled(cancelled)
        sample = samples[index]
        proposals = propose(predictor, sample.load_rgb(), config.objects)
        truth = [dict(rle) for rle in sample.rles]
        best = np.zeros(len(proposals.masks))
        if truth and proposals.masks:
            best = rle_iou([one.segmentation for one in proposals.masks], truth).max(axis=1)
        found.append(Lesson(proposals, truth, best))
        if progress is not None:
            progress(done, count)
    return found


def train_scorer(lessons: Sequence[Lesson], config: DetectorTraining, channels: int) -> ObjectScorer:
    """A judge that learnt from all of these proposals.

    Raises:
        DataError: no proposal met a mask, or all did: nothing tells them apart.
    """
    features = torch.cat([one.proposals.features for one in lessons])
    right = torch.from_numpy(np.concatenate([one.best for one in lessons]) >= config.same).float()
    if not 0 < float(right.sum()) < len(right):
        raise DataError(
            f"the detector needs proposals that meet a mask people made and others that do not; {int(right.sum())} of "
            f"{len(right)} do. Annotate more images, or train the model first."
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        scorer = ObjectScorer(feature_count(channels), SHAPE_FEATURES, config.objects.width)
        scorer.standardise(features)
        scorer.train()
        optimizer = torch.optim.AdamW(scorer.parameters(), lr=config.rate, weight_decay=config.weight_decay)
        for _ in range(config.steps):
            loss = functional.binary_cross_entropy_with_logits(scorer.both(features), right.expand(2, -1))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return scorer.eval()


@dataclass(frozen=True)
class Marks:
    """What a detector found on photos it did not learn from, judged by what people made there.

    Attributes:
        scores: of everything found, the surest first.
        right: whether it is the first to meet a mask.
        truth: masks people made.
    """

    scores: NDArray[np.float64]
    right: NDArray[np.bool_]
    truth: int

    def threshold(self, precision: float) -> float | None:
        """The lowest score down to which so large a share is right; None when no score does."""
        shares = np.cumsum(self.right) / np.arange(1, len(self.right) + 1)
        enough = np.flatnonzero(shares >= precision)
        return float(self.scores[enough[-1]]) if len(enough) else None

    def recall(self, threshold: float) -> float:
        """Share of people's masks that are found at a score of at least this."""
        return float(self.right[self.scores >= threshold].sum() / max(1, self.truth))

    @property
    def average_precision(self) -> float:
        """Area under precision over recall, each mask found counting with the precision down to it."""
        shares = np.cumsum(self.right) / np.arange(1, len(self.right) + 1)
        return float(shares[self.right].sum() / max(1, self.truth))


def marks_of(
    found: Sequence[tuple[Sequence[tuple[dict[str, Any], float]], list[dict[str, Any]]]], same: float
) -> Marks:
    """Judge what was found on photos.

    Args:
        found: per photo the masks found with their scores, and those people made.
        same: least IoU at which both mean the same object; each of people's masks is met once, by the surest.
    """
    scores, right, truth = [], [], 0
    for masks, made in found:
        truth += len(made)
        taken: set[int] = set()
        overlap = rle_iou([rle for rle, _ in masks], made) if masks and made else np.zeros((len(masks), len(made)))
        for index in sorted(range(len(masks)), key=lambda i: -masks[i][1]):
            free = [(overlap[index, m], m) for m in range(len(made)) if m not in taken and overlap[index, m] >= same]
            if free:
                taken.add(max(free)[1])
            scores.append(masks[index][1])
            right.append(bool(free))
    order = np.argsort(-np.array(scores), kind="stable")
    return Marks(np.array(scores, np.float64)[order], np.array(right, bool)[order], truth)


def judged(scorer: ObjectScorer, lessons: Sequence[Lesson], config: DetectorTraining) -> Marks:
    """What a judge finds on photos."""
    found = []
    for one in lessons:
        masks = [(dict(f.mask.segmentation), f.score) for f in judge(scorer, one.proposals, config.objects)]
        found.append((masks, one.truth))
    return marks_of(found, config.same)


def train_detector(
    predictor: Predictor,
    samples: SampleSource,
    path: Path,
    config: DetectorTraining,
    *,
    progress: Progress | None = None,
    cancelled: CancelCheck | None = None,
) -> dict[str, Any]:
    """Train a detector on photos with masks; its threshold comes from photos that the judge in question did not see.

    Args:
        predictor: the frozen model it will work with.
        samples: photos and masks of the training part.
        path: file to write.
        config: how.
        progress: told (photos done, photos in all).
        cancelled: asked before every photo.

    Returns:
        What was measured: images, masks, average precision, threshold, recall; JSON values.

    Raises:
        DataError: too few photos, or proposals that tell nothing.
        Cancelled: `cancelled` said so.
    """
    lessons = lessons_of(predictor, samples, config, progress=progress, cancelled=cancelled)
    folds = min(config.folds, len(lessons))
    if folds < 2:
        raise DataError(f"a detector needs two annotated photos or more; got {len(lessons)}. Annotate more.")
    channels = predictor.config.width
    part = np.random.default_rng(config.seed).permutation(len(lessons)) % folds
    outside = []
    for number in range(folds):
        judge_of = train_scorer([one for one, p in zip(lessons, part, strict=True) if p != number], config, channels)
        for one in (one for one, p in zip(lessons, part, strict=True) if p == number):
            masks = [(dict(f.mask.segmentation), f.score) for f in judge(judge_of, one.proposals, config.objects)]
            outside.append((masks, one.truth))
    marks = marks_of(outside, config.same)
    threshold = marks.threshold(config.precision)
    reached = threshold is not None
    objects = replace(config.objects, threshold=threshold if threshold is not None else 1.0)
    report = {
        "images": len(lessons),
        "masks": marks.truth,
        "average_precision": round(marks.average_precision, 4),
        "wanted_precision": config.precision,
        "reached": reached,
        "threshold": round(objects.threshold, 4),
        "recall": round(marks.recall(objects.threshold), 4) if reached else 0.0,
        "fingerprint": predictor.fingerprint,
        "training": {**asdict(config), "objects": asdict(config.objects)},
    }
    save_detector(path, train_scorer(lessons, config, channels), objects, report)
    return report


@dataclass(kw_only=True)
class Filled:
    """What prefilling did."""

    images: int = 0
    """That got masks to start from."""
    masks: int = 0
    without: int = 0
    """Images in which nothing was sure enough; they are in the queue as they are."""
    begun: int = 0
    """Left alone: somebody had begun."""


def prefill(
    store: Store,
    project: int,
    detector: ObjectDetector,
    images: Sequence[int] | None = None,
    *,
    model: int | None = None,
    progress: Progress | None = None,
    cancelled: CancelCheck | None = None,
) -> Filled:
    """Open the semi-automatic stage: confident masks on every image that nobody has begun there.

    Args:
        store: where images lie.
        project: whose.
        detector: finds objects.
        images: in the store's numbers; all when None.
        model: number of the weights, to be noted.
        progress: told (images done, images in all).
        cancelled: asked before every image; what is done stays.
    """
    from segany.transforms.encoded import decode_image

    told = Filled()
    chosen = [store.image(i) for i in images] if images is not None else store.images(project)
    begun = {one.image for one in store.tasks(project, stage="semi") if one.state != "queued" or one.submissions}
    for done, image in enumerate(chosen, start=1):
        check_cancelled(cancelled)
        if image.id in begun:
            told.begun += 1
        else:
            found = detector.find(decode_image(store.image_bytes(image), image.file_name))
            document = document_of(
                image,
                [one.mask for one in found],
                source="model",
                at=datetime.now(UTC),
                model=detector.predictor.fingerprint,
                detector_scores=[one.score for one in found],
            )
            try:
                if found:
                    store.set_prefill(image.id, "semi", document, model=model)
                else:
                    store.open_stage(project, "semi", [image.id])
                told.images += bool(found)
                told.without += not found
                told.masks += len(found)
            except TransitionError:
                told.begun += 1
        if progress is not None:
            progress(done, len(chosen))
    return told


def detector_for(
    store: Store,
    project: int,
    predictor: Predictor,
    config: DetectorTraining,
    *,
    progress: Progress | None = None,
    cancelled: CancelCheck | None = None,
) -> tuple[ObjectDetector, dict[str, Any]]:
    """The detector of the masks that people made so far, trained unless it is there already.

    Raises:
        DataError: nothing is accepted that may train.
    """
    import json

    from segany.core.files import atomic_write_json
    from segany.data.photo_sets import open_photos
    from segany.engine.snapshot import make_snapshot, part_of

    snapshot = make_snapshot(store, project, ("manual", "semi"), cancelled=cancelled)
    part = part_of(store, snapshot, "train")
    if part is None:
        raise DataError("a detector needs accepted images that are not held out; there are none. Annotate more.")
    place = store.folder / "detectors" / f"{snapshot.sha256[:16]}-{predictor.fingerprint[:16]}"
    path, told = place / "detector.safetensors", place / "report.json"
    if not (path.is_file() and told.is_file()):
        place.mkdir(parents=True, exist_ok=True)
        source = open_photos(part).source
        report = train_detector(predictor, source, path, config, progress=progress, cancelled=cancelled)
        atomic_write_json(told, {**report, "snapshot": snapshot.sha256, "sha256": sha256_file(path)}, indent=1)
    return load_detector(path, predictor), json.loads(told.read_text(encoding="utf-8"))
