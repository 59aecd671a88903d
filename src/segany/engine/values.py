"""What the store hands out: plain values, free of the database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias

from segany.engine.config import ProjectSettings, Purpose, Role, Stage
from segany.engine.life import State
from segany.records.annotation import AnnotationDocument

DocumentKind: TypeAlias = Literal["prefill", "submission", "fix", "automatic", "gold"]
"""Shown to start from, handed in, mended by a reviewer, made by the sweep, a known answer."""
Privacy: TypeAlias = Literal["unchecked", "found", "cleared", "withheld"]
"""Not looked at; looked at by detectors; a person, or the project's rule, says it may go out; it must not."""
RegionKind: TypeAlias = Literal["face", "plate", "other"]
RoundState: TypeAlias = Literal["open", "closed", "failed"]


@dataclass(frozen=True, kw_only=True)
class Project:
    """One data set in the making."""

    id: int
    name: str
    settings: ProjectSettings
    created: datetime


@dataclass(frozen=True, kw_only=True)
class User:
    """Somebody with a role."""

    id: int
    name: str
    role: Role
    simulated: bool
    """Plays ground truth; everything it makes carries the same mark."""
    active: bool
    """Whether they may log in."""
    created: datetime


@dataclass(frozen=True, kw_only=True)
class IssuedToken:
    """A token, told once: only its hash is kept."""

    id: int
    secret: str
    """What the bearer shows."""
    user: int
    expires: datetime


@dataclass(frozen=True, kw_only=True)
class TokenInfo:
    """What may be told of a token."""

    id: int
    label: str
    created: datetime
    expires: datetime
    revoked: bool
    over: bool
    """Revoked or run out: good for nothing."""
    shown: bool = False
    """It is the one that was shown when asking."""


@dataclass(frozen=True, kw_only=True)
class Image:
    """A photo of a project."""

    id: int
    """In the store."""
    project: int
    image_id: int
    """See `segany.records.ids.image_id_for`; unique in its project."""
    sha256: str
    file_name: str
    width: int
    height: int
    privacy: Privacy
    held_out: bool
    """Never trains."""

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width."""
        return self.height, self.width


@dataclass(frozen=True, kw_only=True)
class AddedImages:
    """What became of the photos that were offered."""

    added: tuple[Image, ...]
    there_already: int
    refused: tuple[str, ...]
    """Why, a line each."""


@dataclass(frozen=True, kw_only=True)
class StoredDocument:
    """One version of an image's annotations; never changed once written."""

    id: int
    task: int | None
    image: int
    stage: Stage
    kind: DocumentKind
    version: int
    """Counts a task's documents from 1."""
    sha256: str
    """Of its JSON as kept."""
    author: int | None
    model: int | None
    created: datetime
    simulated: bool
    masks: int
    people_masks: int
    """Masks a person made or touched: those with a click, a box or a stroke."""
    clicks: int
    active_seconds: float
    document: AnnotationDocument


@dataclass(frozen=True, kw_only=True)
class Task:
    """An image to annotate in a stage."""

    id: int
    project: int
    image: int
    stage: Stage
    purpose: Purpose
    state: State
    author: int | None
    holder: int | None
    expires: datetime | None
    submissions: int
    rejections: int
    reason: str | None


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """A task under a lease: what an annotator or a reviewer works on."""

    task: Task
    image: Image
    lease: str
    """Shown with every write; nobody else knows it."""
    expires: datetime
    document: StoredDocument | None
    """To start from, or to judge; None for an image nobody has touched."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a write did."""

    task: Task
    event: int
    document: int | None
    repeated: bool
    """The write was known already, by its key: nothing was done again."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened; never changed once written."""

    id: int
    at: datetime
    kind: str
    user: int | None
    task: int | None
    image: int | None
    document: int | None
    active_seconds: float
    reason: str | None
    data: Mapping[str, Any]
    simulated: bool


@dataclass(frozen=True, kw_only=True)
class Region:
    """A part of a photo that is blurred in a release."""

    id: int
    image: int
    kind: RegionKind
    outline: tuple[tuple[float, float], ...]
    """Corners x, y in pixels of the image."""
    score: float | None
    source: str
    """The detector's name, or "person"."""
    active: bool
    """False once a person took it back."""


@dataclass(frozen=True, kw_only=True)
class ModelVersion:
    """Weights that were made, whether or not they are in use."""

    id: int
    project: int
    name: str
    fingerprint: str
    path: str
    metrics: Mapping[str, Any]
    created: datetime


@dataclass(frozen=True, kw_only=True)
class Round:
    """Snapshot, train, evaluate, publish: once round the loop."""

    id: int
    project: int
    number: int
    stage: Stage
    state: RoundState
    snapshot: str | None
    """Hash of what was trained on."""
    model_before: int | None
    model_after: int | None
    published: bool
    metrics: Mapping[str, Any]
    note: str
    opened: datetime
    closed: datetime | None


@dataclass(frozen=True, kw_only=True)
class Artefact:
    """A snapshot or a release that was written."""

    id: int
    project: int
    kind: Literal["snapshot", "release"]
    sha256: str
    """Of its content."""
    folder: str
    """Below the store's folder, or absolute."""
    stages: tuple[Stage, ...]
    images: int
    masks: int
    created: datetime
    report: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """An image with the document that counts."""

    image: Image
    document: StoredDocument
