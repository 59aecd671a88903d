"""What goes in and out, as types; the page's client is generated from them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from segany.service.jobs import Status

STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
KEY = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
COUNTS = "T55d1=0"
MOST_TEXT = 1 << 20

Key = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", examples=[KEY], description="SHA-256 of the photo's file, hex.")]
JobId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$", examples=["0123456789abcdef0123456789abcdef"])]
ModelName = Annotated[str, Field(min_length=1, max_length=64, examples=["tiny"])]
Point = Annotated[list[float], Field(min_length=2, max_length=2, description="x, y in pixels of the photo.")]
Box = Annotated[list[float], Field(min_length=4, max_length=4, description="x0, y0, x1, y1 in pixels of the photo.")]
Format = Literal["annotations", "sa1b", "coco", "png", "labelmap", "polygons", "yolo", "labelme", "cvat", "labelstudio"]


class Problem(BaseModel):
    """What was wrong."""

    code: str = Field(description="Short, for programs.", examples=["image_unknown"])
    message: str = Field(description="What was expected, what came, what to do.")


class ErrorBody(BaseModel):
    """The body of every answer with status 400 and above."""

    error: Problem


class Health(BaseModel):
    """The service is there."""

    status: Literal["ok"] = "ok"
    version: str
    project: bool = Field(description="Whether this is a data engine's service, where people log in.")


class ModelInfo(BaseModel):
    """A model of this service. What only its weights can tell is null until it has been loaded."""

    name: str
    label: str | None = Field(None, description="What the one who made a published version calls it.")
    default: bool = Field(description="Used by requests that name none.")
    loaded: bool
    onnx: bool = Field(description="Whether its ONNX files can be had.")
    fingerprint: str | None = Field(description="SHA-256 over config and weights.")
    canvas: int | None = Field(description="Side of the model's canvas, pixels.")
    low_res: int | None = Field(description="Side of the low-res logits.")
    channels: int | None = Field(description="Channels of an embedding.")
    mask_threshold: float | None
    pixel_mean: list[float] | None
    pixel_std: list[float] | None


class ImageInfo(BaseModel):
    """A photo in the store."""

    key: Key
    width: int = Field(description="After turning as EXIF says, pixels.", examples=[1800])
    height: int = Field(examples=[1200])


class Rle(BaseModel):
    """A mask in COCO's run-length encoding, compressed."""

    model_config = STRICT
    size: Annotated[list[int], Field(min_length=2, max_length=2, description="height, width")]
    counts: Annotated[str, Field(max_length=MOST_TEXT)]


class PromptBody(BaseModel):
    """What a person says about one object: clicks, a box, or what an earlier answer gave."""

    model_config = STRICT
    points: list[Point] | None = Field(None, description="Clicks.", examples=[[[500, 375]]])
    labels: list[Literal[0, 1]] | None = Field(None, description="Per click: 1 object, 0 background.", examples=[[1]])
    box: Box | None = Field(None, examples=[[75, 275, 1725, 850]])
    low_res: str | None = Field(
        None,
        max_length=MOST_TEXT,
        description="Low-res logits of an earlier answer: base64 of little-endian float32, side x side.",
    )
    mask: Rle | None = Field(None, description="A mask of the photo's size to start from, instead of low_res.")
    multimask: Literal["auto"] | bool = Field(
        "auto", description="auto: three candidates for one click or one box, else one mask."
    )


class MasksBody(BaseModel):
    """Prompts for one photo; each is answered as if it were alone."""

    model_config = ConfigDict(
        **STRICT,
        json_schema_extra={"examples": [{"prompts": [{"points": [[500, 375]], "labels": [1]}]}]},
    )
    prompts: Annotated[list[PromptBody], Field(min_length=1)]
    model: ModelName | None = Field(None, description="The default model when left out.")
    return_low_res: Literal["none", "best", "all"] = Field(
        "none", description="Whether low-res logits are sent along, of the best mask or of all."
    )


class MaskBody(BaseModel):
    """One mask."""

    segmentation: Rle
    area: int = Field(description="Pixels.")
    bbox: list[int] = Field(description="x, y, w, h; w = last column - first column.", examples=[[10, 20, 30, 40]])
    predicted_iou: float = Field(description="The model's own estimate; may exceed 1.")
    output_index: int = Field(description="0 the single mask, 1 to 3 the candidates.")


class Result(BaseModel):
    """The masks of one prompt, in the model's own order."""

    masks: list[MaskBody]
    best: int = Field(description="Index of the mask with the highest predicted IoU.")
    low_res: str | None = Field(
        None, description="Base64 of little-endian float32, one side x side after the other, when asked for."
    )


class MasksAnswer(BaseModel):
    """One result per prompt, in order."""

    model: str
    fingerprint: str
    results: list[Result]


class JobRequest(BaseModel):
    """Find everything in a photo."""

    model_config = ConfigDict(
        **STRICT,
        json_schema_extra={"examples": [{"kind": "everything", "image": KEY, "knobs": {"points_per_side": 16}}]},
    )
    kind: Literal["everything"]
    image: Key
    model: ModelName | None = None
    knobs: dict[str, Any] = Field(
        default_factory=dict,
        description="Settings of the automatic generator by the reference's names; `preset` may name a set of them.",
        examples=[{"points_per_side": 16, "pred_iou_thresh": 0.8}],
    )


class Progress(BaseModel):
    """How far a job is."""

    done: int = Field(description="Clicks made.")
    total: int = Field(description="Clicks in all; 0 before it is known.")


class JobInfo(BaseModel):
    """A job."""

    id: JobId
    kind: str
    image: Key
    model: str
    status: Status
    progress: Progress
    masks: int | None = Field(description="Masks found, when done.")
    error: str | None = Field(description="What was wrong, when failed.")
    created: str = Field(description="UTC, ISO 8601.")
    finished: str | None


class ImageSection(BaseModel):
    """The image of an SA-1B file."""

    image_id: int
    width: int
    height: int
    file_name: str


class RecordsAnswer(BaseModel):
    """What a job found, in the SA-1B schema."""

    image: ImageSection
    annotations: list[dict[str, Any]]


class ExportRequest(BaseModel):
    """Annotation documents, to be written as files."""

    model_config = STRICT
    documents: Annotated[list[dict[str, Any]], Field(min_length=1, description="Annotation documents.")]
    format: Format
