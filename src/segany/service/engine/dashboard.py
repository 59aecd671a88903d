"""What goes in and out of the dashboard's routes, as types."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from segany.engine.config import Role, Stage
from segany.service.engine.schemas import MaybeReason, VersionInfo
from segany.service.schemas import STRICT


class RoundInfo(BaseModel):
    """Once round the loop."""

    id: int
    number: int
    stage: Stage
    state: Literal["open", "closed", "failed"]
    snapshot: str | None
    model_before: int | None
    model_after: int | None
    published: bool
    metrics: dict[str, Any]
    note: str
    opened: datetime
    closed: datetime | None


class ModelVersionInfo(BaseModel):
    """Weights of a project."""

    id: int
    name: str = Field(examples=["model-3"])
    label: str
    fingerprint: str
    metrics: dict[str, Any]
    created: datetime
    current: bool = Field(description="In use.")


class PublishBody(BaseModel):
    """Why other weights go into use."""

    model_config = STRICT
    reason: MaybeReason = ""


class EffortInfo(BaseModel):
    """What some documents took."""

    images: int
    masks: int
    people_masks: int = Field(description="Masks a person made or touched.")
    clicks: int
    active_seconds: float
    seconds_per_mask: float | None
    clicks_per_mask: float | None
    masks_per_image: float | None


class StageInfo(BaseModel):
    """How far a stage is."""

    stage: Stage
    states: dict[str, int]
    total: int
    progress: float
    done: EffortInfo


class PersonWork(BaseModel):
    """What somebody did."""

    user: int
    name: str
    role: Role
    simulated: bool
    actions: dict[str, int]
    rejected: int
    work: EffortInfo
    gold: float | None


class AgreementInfo(BaseModel):
    """How far people agree."""

    pairs: int
    masks: int
    mean_iou: float | None
    f1: float | None


class StatsAnswer(BaseModel):
    """The dashboard's numbers."""

    images: int
    privacy: dict[str, int]
    stages: list[StageInfo]
    people: list[PersonWork]
    days: dict[str, dict[str, int]] = Field(description="Day in UTC to number of events by kind.")
    agreement: AgreementInfo
    simulated_documents: int
    rounds: list[RoundInfo]
    model: VersionInfo | None
    plots: list[str] = Field(description="Names for /projects/{project}/plots/{name}.png.")
