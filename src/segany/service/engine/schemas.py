"""What goes in and out of the data engine's routes, as types."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from segany.engine.config import Role, Stage
from segany.engine.life import State
from segany.engine.values import RegionKind
from segany.service.schemas import KEY, STRICT, Key

NO_NUL = r"^[^\x00]*$"
NOT_BLANK = r"^[^\x00]*[^\x00\s][^\x00]*$"
LEASE = "Zm9ydHktdHdvIGlzIHRoZSBhbnN3ZXI"
WHEN = "2026-01-31T12:00:00Z"
LONGEST_SECONDS = 1e6
MOST_CORNERS = 1000

Name = Annotated[str, Field(min_length=1, max_length=200, pattern=NOT_BLANK, examples=["ann"])]
Reason = Annotated[str, Field(min_length=1, max_length=1000, pattern=NOT_BLANK, examples=["the bird is missing"])]
MaybeReason = Annotated[str, Field(max_length=1000, pattern=NO_NUL)]
Password = Annotated[str, Field(min_length=8, max_length=1000, examples=["correct horse battery"])]
Lease = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$", examples=[LEASE])]
WriteKey = Annotated[
    str,
    Field(
        min_length=8,
        max_length=100,
        pattern=r"^[ -~]+$",
        examples=["6f1c3c0e-6c1f-4b1e-9a54-0d8f6f1c3c0e"],
        description="Made by the client, new for every write: the same call again changes nothing.",
    ),
]
ActiveSeconds = Annotated[float, Field(ge=0, le=LONGEST_SECONDS, examples=[12.5])]
Corner = Annotated[list[float], Field(min_length=2, max_length=2, description="x, y in pixels of the photo.")]
DocumentJson = dict[str, Any]


class Login(BaseModel):
    """A name and a password."""

    model_config = STRICT
    name: Name
    password: Annotated[str, Field(min_length=1, max_length=1000, examples=["correct horse battery"])]


class PersonInfo(BaseModel):
    """Somebody with an account."""

    id: int
    name: str
    role: Role
    simulated: bool = Field(description="Plays ground truth; what they make carries the mark.")


class SessionInfo(BaseModel):
    """Who is logged in."""

    person: PersonInfo
    csrf: str | None = Field(description="For the header X-Segany-CSRF of every write; null with a token.")


class TokenRequest(BaseModel):
    """A token for a program of one's own."""

    model_config = STRICT
    label: Annotated[str, Field(max_length=200, pattern=NO_NUL, examples=["nightly upload"])] = "token"
    days: Annotated[float, Field(gt=0, le=366, examples=[30])] = 30


class TokenAnswer(BaseModel):
    """The token, told this once."""

    token: str
    expires: datetime


class TokenListed(BaseModel):
    """A login or a program's token that is good for something; never its secret."""

    id: int
    label: str = Field(description='"session" for a login of the page.', examples=["nightly upload"])
    created: datetime
    expires: datetime
    current: bool = Field(description="It is what this request showed.")


class ProjectKnobs(BaseModel):
    """What the page needs to know of a project's settings."""

    seconds_per_mask: float = Field(description="After this long on one mask the page gently suggests to go on.")
    lease_seconds: float
    review_seconds: float
    heartbeat_seconds: float = Field(description="How often to give a sign of life.")
    self_review: bool


class ProjectInfo(BaseModel):
    """A data set in the making."""

    id: int
    name: str
    guideline: str
    settings: ProjectKnobs
    stages: list[Stage] = Field(description="Those that have tasks.")


class PhotoInfo(BaseModel):
    """A photo of a project."""

    id: int = Field(description="For /engine/images/{image}.")
    image_id: int = Field(description="For annotation documents.")
    key: Key = Field(description="For /images/{key}.")
    width: int
    height: int
    file_name: str


class QueuePhoto(BaseModel):
    """A photo that will probably come next."""

    image: int
    key: Key
    width: int
    height: int


class QueueAnswer(BaseModel):
    """What comes next; nothing is taken."""

    next: list[QueuePhoto]
    remaining: int = Field(description="Tasks one may take, counted up to 1000.")


class ClaimBody(BaseModel):
    """Wishes for the next task."""

    model_config = STRICT
    stage: Literal["manual", "semi"] | None = Field(None, description="Either one when left out.")


class VerdictInfo(BaseModel):
    """Why a task came back."""

    reason: str


class VersionInfo(BaseModel):
    """The weights in use."""

    name: str = Field(description="For `model` in requests and for /models/{name}.", examples=["model-3"])
    label: str = Field(description="What the one who made it calls it.", examples=["round 2"])
    fingerprint: str


class AssignmentInfo(BaseModel):
    """A task under a lease."""

    task: int
    stage: Stage
    purpose: Literal["work", "audit"] = Field(description="In an audit every mask there is is to be improved by hand.")
    lease: str = Field(description="Every write shows it; nobody else knows it.")
    expires: datetime
    image: PhotoInfo
    document: DocumentJson | None = Field(description="To start from, to mend, or to judge.")
    document_id: int | None = Field(description="Its number in the store.")
    verdict: VerdictInfo | None = Field(description="Why it was sent back, when it was.")
    attempt: int = Field(description="Counts submissions from 1.")
    model: VersionInfo | None = Field(description="The project's weights in use; null before the first publication.")
    annotator: str | None = Field(description="Who handed it in; only for reviewers.")


class LeaseBody(BaseModel):
    """The lease of the task."""

    model_config = STRICT
    lease: Lease


class LeaseAnswer(BaseModel):
    """How long the lease lasts."""

    expires: datetime


class SubmitBody(BaseModel):
    """All masks of the image."""

    model_config = STRICT
    lease: Lease
    key: WriteKey
    document: DocumentJson = Field(description='An annotation document, format "segany-annotation 1".')


class SkipBody(BaseModel):
    """Why the image is left for good."""

    model_config = STRICT
    lease: Lease
    key: WriteKey
    reason: Reason
    active_seconds: ActiveSeconds = 0.0


class ReviewBody(BaseModel):
    """A verdict."""

    model_config = STRICT
    lease: Lease
    key: WriteKey
    verdict: Literal["accept", "fix", "reject"]
    reason: MaybeReason = Field("", description="Needed to reject.")
    document: DocumentJson | None = Field(None, description="As it should be; only with fix.")
    active_seconds: ActiveSeconds = 0.0


class WriteAnswer(BaseModel):
    """What a write did."""

    state: State
    document: int | None = Field(description="Number of the document it is about.")
    repeated: bool = Field(description="It was known already, by its key: nothing was done again.")


class ReopenBody(BaseModel):
    """Why a finished task is opened again."""

    model_config = STRICT
    reason: MaybeReason = ""


class StateAnswer(BaseModel):
    """Where a task stands."""

    state: State


class RegionInfo(BaseModel):
    """A part of a photo that is blurred in a release."""

    id: int
    kind: RegionKind
    outline: list[list[float]]
    score: float | None
    by: str = Field(description='The detector\'s name, or "person".')


class ClearingItem(BaseModel):
    """A photo to look at before it may go out."""

    image: PhotoInfo
    regions: list[RegionInfo]


class ClearingAnswer(BaseModel):
    """Photos that detectors have looked at and no person yet."""

    next: list[ClearingItem]
    remaining: int


class RegionBody(BaseModel):
    """A part of a photo to blur."""

    model_config = ConfigDict(
        **STRICT,
        json_schema_extra={"examples": [{"kind": "face", "outline": [[10, 10], [30, 10], [30, 40], [10, 40]]}]},
    )
    kind: RegionKind
    outline: Annotated[list[Corner], Field(min_length=3, max_length=MOST_CORNERS)]


class ClearBody(BaseModel):
    """Whether a photo, blurred, may go out."""

    model_config = STRICT
    verdict: Literal["cleared", "withheld"]
    reason: MaybeReason = Field("", description="Needed to withhold.")


class PrivacyAnswer(BaseModel):
    """What may be shown of a photo."""

    privacy: Literal["unchecked", "found", "cleared", "withheld"]


class AccountInfo(PersonInfo):
    """Somebody with an account, as an admin sees it."""

    active: bool = Field(description="Whether they may log in.")
    created: datetime


class NewPerson(BaseModel):
    """A new account."""

    model_config = STRICT
    name: Name
    password: Password
    role: Role
    simulated: bool = False


class PersonChange(BaseModel):
    """What changes of an account; a lock and a new password end all of its logins and tokens."""

    model_config = STRICT
    role: Role | None = None
    active: bool | None = None
    password: Password | None = None


class AddedPhoto(BaseModel):
    """A photo that was taken in."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"image": {"id": 1, "key": KEY}, "task": True}]})
    image: PhotoInfo
    queued: bool = Field(description="Whether it was put into a queue by this.")
