"""A project's settings: who looks at what, how long a lease lasts, and what the cards of a release say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self, TypeAlias

from segany.core.errors import OptionError

Stage: TypeAlias = Literal["manual", "semi", "auto"]
"""Assisted-manual, semi-automatic, fully automatic."""
STAGES: tuple[Stage, ...] = ("manual", "semi", "auto")
Role: TypeAlias = Literal["annotator", "reviewer", "admin"]
ROLES: tuple[Role, ...] = ("annotator", "reviewer", "admin")
"""Each may do what the ones before it may."""
Purpose: TypeAlias = Literal["work", "overlap", "gold", "audit"]
"""Why a task is there: for the data set, to compare annotators, to test one, to improve every mask."""


@dataclass(frozen=True, kw_only=True)
class ProjectSettings:
    """What a project decides. Building one checks it; what is wrong raises `OptionError`."""

    lease_seconds: float = 900.0
    """How long a task stays with an annotator who gives no sign of life, seconds; at least 1."""
    review_seconds: float = 900.0
    """The same for a reviewer."""
    mend_seconds: float = 3 * 86400.0
    """How long a rejected task is kept for its annotator before others may take it, seconds."""
    mask_seconds: float = 30.0
    """After this long on one mask the page gently suggests the next image, seconds."""
    review_share: float = 1.0
    """Share of the submissions that a reviewer looks at, in [0, 1]; chosen by the image's hash."""
    review_first: int = 20
    """So many first submissions of everyone are always looked at."""
    self_review: bool = False
    """Whether people may review what they made; for a project of one person."""
    overlap_share: float = 0.0
    """Share of the images that several people annotate independently, in [0, 1]; chosen by the image's hash."""
    overlap_annotators: int = 2
    """How many people annotate such an image; at least 2."""
    gold_every: int = 0
    """Every so-manieth task of an annotator is an image with a known answer; 0 means never."""
    gold_least: float = 0.75
    """Below this mean IoU on the latest known answers everything an annotator submits is looked at, in [0, 1]."""
    held_out_share: float = 0.1
    """Share of the images that never train, in [0, 1); chosen by the image's hash, once and for all."""
    seed: int = 0
    """Of all choices by hash."""
    guideline: str = ""
    """What the page tells annotators to look for."""
    licence: str = ""
    """Of a release; cards say that none is stated when empty. The same holds for the texts below."""
    contact: str = ""
    """Whom to write to, also to have an image removed."""
    purpose: str = ""
    """Why the data set was made."""
    collection: str = ""
    """Where the photos come from, and with whose consent."""
    annotators: str = ""
    """Who the annotators were, how they were chosen, trained and paid."""
    uses: str = ""
    """What the data set is for, and what not."""

    def __post_init__(self) -> None:
        for name in ("lease_seconds", "review_seconds", "mask_seconds"):
            if not getattr(self, name) >= 1:
                raise OptionError(f"{name} must be 1 second or more; got {getattr(self, name)}.")
        if not self.mend_seconds >= 0:
            raise OptionError(f"mend_seconds must be 0 or more; got {self.mend_seconds}.")
        for name in ("review_share", "overlap_share", "gold_least", "held_out_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise OptionError(f"{name} must be a share from 0 to 1; got {getattr(self, name)}.")
        if self.held_out_share == 1:
            raise OptionError("held_out_share must be below 1; otherwise nothing is left to train on.")
        for name, low in (("review_first", 0), ("gold_every", 0), ("overlap_annotators", 2)):
            if getattr(self, name) < low:
                raise OptionError(f"{name} must be {low} or more; got {getattr(self, name)}.")

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Settings by name; those not named keep their defaults.

        Raises:
            OptionError: an unknown name, a value of the wrong kind, or an impossible one.
        """
        known = {one.name: type(one.default) for one in fields(cls)}
        if unknown := sorted(set(value) - set(known)):
            raise OptionError(f"settings must be among {', '.join(known)}; got {', '.join(unknown)}.")
        for name, item in value.items():
            kind = (int, float) if known[name] is float else known[name]
            if not isinstance(item, kind) or (isinstance(item, bool) and known[name] is not bool):
                raise OptionError(f"{name} must be a {known[name].__name__}; got {item!r}.")
        return cls(**value)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)
