"""Numbers of a project: progress, throughput, effort per mask, agreement. Plain values with their arithmetic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from segany.engine.config import Role, Stage


@dataclass(frozen=True, kw_only=True)
class Effort:
    """What some documents took: the ratios of the paper's table."""

    images: int = 0
    masks: int = 0
    people_masks: int = 0
    """Masks that a person made or touched."""
    clicks: int = 0
    """Points and boxes."""
    active_seconds: float = 0.0

    @property
    def seconds_per_mask(self) -> float | None:
        """Active seconds per mask that a person made or touched; None without such masks."""
        return self.active_seconds / self.people_masks if self.people_masks else None

    @property
    def clicks_per_mask(self) -> float | None:
        """Points and boxes per mask that a person made or touched; None without such masks."""
        return self.clicks / self.people_masks if self.people_masks else None

    @property
    def masks_per_image(self) -> float | None:
        """All masks per image; None without images."""
        return self.masks / self.images if self.images else None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, ratios included."""
        ratios = ("seconds_per_mask", "clicks_per_mask", "masks_per_image")
        return {**asdict(self), **{name: getattr(self, name) for name in ratios}}


@dataclass(frozen=True, kw_only=True)
class StageNumbers:
    """How far a stage is."""

    stage: Stage
    states: Mapping[str, int]
    """Tasks for the data set by state."""
    done: Effort
    """Of what was accepted."""

    @property
    def total(self) -> int:
        """Tasks for the data set."""
        return sum(self.states.values())

    @property
    def progress(self) -> float:
        """Share of the tasks that are accepted or skipped, in [0, 1]; 0 without tasks."""
        over = self.states.get("accepted", 0) + self.states.get("skipped", 0)
        return over / self.total if self.total else 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        counts = {"states": dict(self.states), "total": self.total, "progress": self.progress}
        return {"stage": self.stage, **counts, "done": self.done.to_json()}


@dataclass(frozen=True, kw_only=True)
class PersonNumbers:
    """What somebody did."""

    user: int
    name: str
    role: Role
    simulated: bool
    actions: Mapping[str, int]
    """Number of events by kind: submit, skip, accept, fix, reject, expire, ..."""
    rejected: int
    """How often their work was sent back."""
    work: Effort
    """Of what they handed in last for each task."""
    gold: float | None
    """Mean IoU on known answers; None when they had none."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "actions": dict(self.actions), "work": self.work.to_json()}


@dataclass(frozen=True, kw_only=True)
class AgreementNumbers:
    """How far people agree on images that several annotated."""

    pairs: int = 0
    """Pairs of annotations that were compared."""
    masks: int = 0
    """Masks that both of a pair have."""
    mean_iou: float | None = None
    """Over these masks."""
    f1: float | None = None
    """Mean over pairs of the share of masks that the other one has too."""


@dataclass(frozen=True, kw_only=True)
class ProjectNumbers:
    """Everything the dashboard shows."""

    images: int
    privacy: Mapping[str, int]
    """Images by what may be shown of them."""
    stages: Sequence[StageNumbers]
    people: Sequence[PersonNumbers]
    days: Mapping[str, Mapping[str, int]]
    """Day in UTC to number of events by kind."""
    agreement: AgreementNumbers = field(default_factory=AgreementNumbers)
    simulated: int = 0
    """Documents of simulated people among those that count here."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "images": self.images,
            "privacy": dict(self.privacy),
            "stages": [one.to_json() for one in self.stages],
            "people": [one.to_json() for one in self.people],
            "days": {day: dict(kinds) for day, kinds in self.days.items()},
            "agreement": asdict(self.agreement),
            "simulated_documents": self.simulated,
        }


def agreement_numbers(comparisons: Sequence[tuple[int, Mapping[str, Any]]]) -> AgreementNumbers:
    """All comparisons in one; of the same two tasks the last one counts.

    Args:
        comparisons: task and what was measured, in the order of time.
    """
    latest: dict[frozenset[int], Mapping[str, Any]] = {
        frozenset((task, int(told["other"]))): told for task, told in comparisons
    }
    if not latest:
        return AgreementNumbers()
    masks = sum(int(told["matched"]) for told in latest.values())
    total = sum(float(told["mean_iou"]) * int(told["matched"]) for told in latest.values())
    return AgreementNumbers(
        pairs=len(latest),
        masks=masks,
        mean_iou=total / masks if masks else None,
        f1=sum(float(told["f1"]) for told in latest.values()) / len(latest),
    )
