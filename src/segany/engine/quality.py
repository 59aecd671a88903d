"""How good annotations are: agreement of people, tests with known answers, the audit. Documents in, numbers out."""

# N, M masks of one image

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from segany.engine.chance import draw, is_reviewed
from segany.engine.config import ProjectSettings
from segany.masks.rle import Rle, rle_iou
from segany.records.annotation import AnnotationDocument

SAME_OBJECT = 0.5
"""Least IoU at which two people's masks count as the same object."""
AUDIT_IMAGES = 500
"""Images of an audit, at most; as many as in the SA-1B paper."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How far two annotations of one image agree."""

    matched: int
    """Objects that both have."""
    only_first: int
    only_second: int
    mean_iou: float
    """Of the matched masks; 0 when there is none."""

    @property
    def f1(self) -> float:
        """Share of the masks that the other one has too; 1 when both have none."""
        alone = self.only_first + self.only_second
        return 1.0 if not self.matched and not alone else 2 * self.matched / (2 * self.matched + alone)

    def to_json(self) -> dict[str, float]:
        """Plain JSON values."""
        return {**asdict(self), "f1": self.f1}


@dataclass(frozen=True, kw_only=True)
class GoldScore:
    """How well an annotation reproduces a known answer."""

    masks: int
    """Masks of the answer."""
    found: int
    """Of these, how many are there."""
    extra: int
    """Masks that the answer does not have."""
    mean_iou: float
    """Over the answer's masks, a missing one counting 0; 1 for an answer without masks."""


@dataclass(frozen=True, kw_only=True)
class AuditReport:
    """What the improvement of every mask of some images showed."""

    images: int
    masks: int
    """Masks that were there before and after."""
    removed: int
    """Masks that the auditors took away; they count in no share."""
    added: int
    mean_iou: float
    """Between a mask before and after; 0 without masks."""
    share_above_90: float
    """Share of the masks whose IoU before and after is above 0.90."""
    share_above_75: float

    def to_json(self) -> dict[str, float]:
        """Plain JSON values."""
        return asdict(self)


def match_masks(
    first: Sequence[Rle], second: Sequence[Rle], *, least: float = SAME_OBJECT
) -> list[tuple[int, int, float]]:
    """Pairs of masks that show the same object: one to one, with the largest possible sum of IoUs.

    Args:
        first: N run lengths of one image.
        second: M run lengths of the same image.
        least: pairs below this IoU are no pairs.

    Returns:
        Index in the first, index in the second, IoU; in the order of the first.

    Raises:
        DataError: sizes differ, or a mask is malformed.
    """
    from scipy.optimize import linear_sum_assignment

    if not first or not second:
        return []
    iou = rle_iou(first, second)
    rows, columns = linear_sum_assignment(np.where(iou >= least, iou, 0.0), maximize=True)
    pairs = zip(rows.tolist(), columns.tolist(), strict=True)
    return [(row, column, float(iou[row, column])) for row, column in pairs if iou[row, column] >= least]


def agreement(first: AnnotationDocument, second: AnnotationDocument) -> Agreement:
    """How far two people's annotations of one image agree.

    Raises:
        DataError: the images' sizes differ.
    """
    a, b = masks_of(first), masks_of(second)
    pairs = match_masks(a, b)
    return Agreement(
        matched=len(pairs),
        only_first=len(a) - len(pairs),
        only_second=len(b) - len(pairs),
        mean_iou=_mean([iou for _, _, iou in pairs]),
    )


def gold_score(document: AnnotationDocument, answer: AnnotationDocument) -> GoldScore:
    """How well a document reproduces the known answer.

    Raises:
        DataError: the images' sizes differ.
    """
    wanted, got = masks_of(answer), masks_of(document)
    pairs = match_masks(wanted, got)
    total = sum(iou for _, _, iou in pairs)
    return GoldScore(
        masks=len(wanted),
        found=len(pairs),
        extra=len(got) - len(pairs),
        mean_iou=total / len(wanted) if wanted else 1.0,
    )


def audit_ious(before: AnnotationDocument, after: AnnotationDocument) -> tuple[list[float], int, int]:
    """Every mask of an image against itself after a person improved it.

    Args:
        before: as it was.
        after: the same masks under the same ids, mended.

    Returns:
        IoU of each mask that is in both, number of masks removed, number added.

    Raises:
        DataError: the images' sizes differ.
    """
    old = {one.mask.id: one.mask.segmentation for one in before.annotations}
    new = {one.mask.id: one.mask.segmentation for one in after.annotations}
    kept = [number for number in old if number in new]
    ious = [float(rle_iou([old[number]], [new[number]])[0, 0]) for number in kept]
    return ious, len(old) - len(kept), len(new) - len(kept)


def audit_report(images: Sequence[tuple[Sequence[float], int, int]]) -> AuditReport:
    """All images' results of `audit_ious` in one.

    Source: Segment Anything (arXiv 2304.02643), mask quality.
    """
    ious = np.array([iou for values, _, _ in images for iou in values], np.float64)
    return AuditReport(
        images=len(images),
        masks=len(ious),
        removed=sum(removed for _, removed, _ in images),
        added=sum(added for _, _, added in images),
        mean_iou=float(ious.mean()) if len(ious) else 0.0,
        share_above_90=float((ious > 0.90).mean()) if len(ious) else 0.0,
        share_above_75=float((ious > 0.75).mean()) if len(ious) else 0.0,
    )


def choose_audit(sha256s: Sequence[str], *, count: int = AUDIT_IMAGES, seed: int = 0) -> list[str]:
    """So many images by chance, the same whatever order they come in."""
    return sorted(sha256s, key=lambda name: draw(seed, "audit", name))[: min(count, AUDIT_IMAGES)]


def needs_review(
    settings: ProjectSettings, sha256: str, *, earlier: int, rejections: int, gold: Sequence[float]
) -> bool:
    """Whether a reviewer looks at a submission.

    Args:
        settings: of the project.
        sha256: of the image.
        earlier: how many tasks its annotator has submitted before.
        rejections: how often this task was sent back; a mended one is always looked at.
        gold: the annotator's latest scores on known answers; below `settings.gold_least` everything is looked at.
    """
    if rejections or earlier < settings.review_first:
        return True
    if gold and sum(gold) / len(gold) < settings.gold_least:
        return True
    return is_reviewed(sha256, share=settings.review_share, seed=settings.seed)


def masks_of(document: AnnotationDocument) -> list[Rle]:
    """The run lengths of a document."""
    return [one.mask.segmentation for one in document.annotations]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
