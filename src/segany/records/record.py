"""The two values everything speaks: a mask with what is known about it, and an image with its masks."""

# H, W image height and width

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self, TypeAlias, get_args

from segany.core.errors import DataError
from segany.masks.boxes import exact_box_xywh
from segany.masks.rle import BoolArray, Rle, compressed, decode, encode, rle_area, rle_exact_box_xywh
from segany.masks.rle import to_uncompressed as uncompressed
from segany.records import _checks as check

OutputMode: TypeAlias = Literal["coco_rle", "uncompressed_rle", "binary_mask"]
Number: TypeAlias = int | float
Box: TypeAlias = tuple[Number, Number, Number, Number]

REFERENCE_KEYS = (
    "segmentation",
    "area",
    "bbox",
    "predicted_iou",
    "point_coords",
    "stability_score",
    "crop_box",
)
IMAGE_KEYS = ("image_id", "width", "height", "file_name")
OPTIONAL_KEYS = ("id", "output_index", "label", "text_score", "source", "attributes")


@dataclass(frozen=True, kw_only=True)
class MaskRecord:
    """One mask of an image. Building one checks it; what is wrong raises `DataError`."""

    segmentation: Rle
    """Compressed COCO RLE of the mask at the image's size; an uncompressed one is accepted and compressed."""
    area: int
    """Foreground pixels."""
    bbox: Box
    """x, y, w, h in pixels by the reference's rule: w = last column - first column, without +1."""
    predicted_iou: float
    """The model's own estimate of the mask's IoU; may exceed 1. 1 for masks no model made."""
    point_coords: tuple[tuple[Number, Number], ...] = ()
    """Clicks x, y that gave the mask, in pixels of the image."""
    stability_score: float = 1.0
    """Share of the mask that survives moving the threshold, in [0, 1]."""
    crop_box: Box
    """x, y, w, h of the crop the mask was found in; the whole image without crops."""
    id: int | None = None
    """Number of the mask, unique in its file."""
    output_index: int | None = None
    """Which mask token of the decoder it came from: 0 single, 1 to 3 from subpart to whole."""
    label: str | None = None
    """Class name."""
    text_score: float | None = None
    """How well the mask fits the text it was asked for."""
    source: str | None = None
    """What made it: a model, a person, a file."""
    attributes: Mapping[str, Any] | None = None
    """Free JSON values of the user's own."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Keys a reader did not know; written back unchanged."""

    def __post_init__(self) -> None:
        known = set(self.extra) & {*REFERENCE_KEYS, *OPTIONAL_KEYS}
        if known:
            raise DataError(f"extra holds unknown keys only; got {sorted(known)}. Pass them by their own name.")
        put = self._put
        put("segmentation", compressed(self.segmentation))
        put("area", check.integer("area", self.area))
        if self.area != (pixels := rle_area(self.segmentation)):
            raise DataError(
                f"area must be the mask's own {pixels} pixels; got {self.area}. MaskRecord.from_mask computes it."
            )
        put("bbox", self._inside_image(check.numbers("bbox", self.bbox, 4, "x, y, w, h in pixels")))
        put("predicted_iou", float(check.number("predicted_iou", self.predicted_iou)))
        put("point_coords", check.pairs("point_coords", self.point_coords))
        put("stability_score", float(check.number("stability_score", self.stability_score)))
        if not 0 <= self.stability_score <= 1:
            raise DataError(f"stability_score must lie in [0, 1]; got {self.stability_score}. It is a share.")
        put("crop_box", check.numbers("crop_box", self.crop_box, 4, "x, y, w, h in pixels"))
        self._check_optional()

    @classmethod
    def from_mask(
        cls,
        mask: Any,
        *,
        predicted_iou: float = 1.0,
        stability_score: float = 1.0,
        point_coords: Any = (),
        crop_box: Any = None,
        **optional: Any,
    ) -> Self:
        """A record around a mask, with area and box computed.

        Args:
            mask: (H, W) boolean or integer, or an RLE of either spelling.
            predicted_iou: 1 for masks no model made.
            stability_score: 1 for masks no model made.
            point_coords: list of x, y in pixels of the image.
            crop_box: x, y, w, h; the whole image when None.
            **optional: id, output_index, label, text_score, source, attributes, extra.

        Raises:
            DataError: not a mask, or a value out of its range.
        """
        rle = compressed(mask) if isinstance(mask, Mapping) else encode(mask)
        height, width = rle["size"]
        return cls(
            segmentation=rle,
            area=rle_area(rle),
            bbox=_inclusive(rle_exact_box_xywh(rle)),
            predicted_iou=predicted_iou,
            point_coords=point_coords,
            stability_score=stability_score,
            crop_box=(0, 0, width, height) if crop_box is None else crop_box,
            **optional,
        )

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Self:
        """The record of a dictionary in any of the three output modes.

        Args:
            value: the reference's seven keys, optional keys, and any others, which go to `extra`.

        Raises:
            DataError: a key is missing, or a value out of its range.
        """
        known = check.mapping("a mask record", value)
        check.need("a mask record", known, REFERENCE_KEYS)
        extra = {key: known.pop(key) for key in list(known) if key not in (*REFERENCE_KEYS, *OPTIONAL_KEYS)}
        if not isinstance(known["segmentation"], Mapping):
            known["segmentation"] = encode(known["segmentation"])
        return cls(**known, extra=extra)

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width of the image."""
        height, width = self.segmentation["size"]
        return height, width

    @property
    def mask(self) -> BoolArray:
        """(H, W) boolean mask, decoded anew at each call."""
        return decode(self.segmentation)

    @property
    def exact_bbox(self) -> tuple[int, int, int, int]:
        """x, y, w, h of the mask's exact extent: w and h count pixels. Zeros for an empty mask."""
        return rle_exact_box_xywh(self.segmentation)

    def to_dict(self, mode: OutputMode = "coco_rle") -> dict[str, Any]:
        """The reference's keys in its order, then optional ones that are set, then unknown ones.

        Args:
            mode: how to spell the mask: compressed RLE, uncompressed RLE, or a boolean (H, W) array.

        Raises:
            DataError: an unknown mode.
        """
        if mode not in get_args(OutputMode):
            raise DataError(f"mode must be one of {', '.join(get_args(OutputMode))}; got {mode!r}.")
        segmentation: Any = dict(self.segmentation, size=list(self.segmentation["size"]))
        if mode == "uncompressed_rle":
            segmentation = uncompressed(segmentation)
        elif mode == "binary_mask":
            segmentation = self.mask
        optional = {key: value for key in OPTIONAL_KEYS if (value := getattr(self, key)) is not None}
        return {
            "segmentation": segmentation,
            "area": self.area,
            "bbox": list(self.bbox),
            "predicted_iou": self.predicted_iou,
            "point_coords": [list(point) for point in self.point_coords],
            "stability_score": self.stability_score,
            "crop_box": list(self.crop_box),
            **optional,
            **self.extra,
        }

    def _put(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _inside_image(self, box: tuple[Number, ...]) -> tuple[Number, ...]:
        (x, y, w, h), (height, width) = box, self.size_hw
        if min(box) < 0 or x + w > width or y + h > height:
            raise DataError(
                f"bbox must be x, y, w, h inside the {width} x {height} image; got {list(box)}. "
                "Boxes given by two corners must be turned into x, y, w, h first."
            )
        return box

    def _check_optional(self) -> None:
        put = self._put
        if self.id is not None:
            put("id", check.integer("id", self.id))
        if self.output_index is not None:
            put("output_index", check.integer("output_index", self.output_index))
        if self.text_score is not None:
            put("text_score", float(check.number("text_score", self.text_score)))
        for name in ("label", "source"):
            if getattr(self, name) is not None:
                check.text(name, getattr(self, name))
        if self.attributes is not None:
            put("attributes", check.mapping("attributes", self.attributes))
        put("extra", check.mapping("extra", self.extra))


@dataclass(frozen=True, kw_only=True)
class ImageRecord:
    """An image and its masks, all of the image's size."""

    image_id: int
    """See `segany.records.ids.image_id_for`."""
    width: int
    height: int
    file_name: str
    annotations: tuple[MaskRecord, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Keys of the image a reader did not know; written back unchanged."""
    file_extra: Mapping[str, Any] = field(default_factory=dict)
    """Keys beside ``image`` and ``annotations`` a reader did not know; written back unchanged."""

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "image_id", check.integer("image_id", self.image_id))
        put(self, "width", check.integer("width", self.width, low=1))
        put(self, "height", check.integer("height", self.height, low=1))
        check.text("file_name", self.file_name)
        put(self, "annotations", tuple(self.annotations))
        put(self, "extra", check.mapping("extra", self.extra))
        put(self, "file_extra", check.mapping("file_extra", self.file_extra))
        known = {*IMAGE_KEYS} & set(self.extra) | {"image", "annotations"} & set(self.file_extra)
        if known:
            raise DataError(f"extra keys are unknown ones only; got {sorted(known)}. Pass them by their name.")
        for index, record in enumerate(self.annotations):
            if not isinstance(record, MaskRecord):
                raise DataError(f"annotations must be MaskRecords; number {index} is {check.shown(record)}.")
            if record.size_hw != self.size_hw:
                raise DataError(
                    f"all masks must have the image's size (H, W) = {self.size_hw}; number {index} has "
                    f"{record.size_hw}. Check that it belongs to {self.file_name}."
                )

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width."""
        return self.height, self.width


def inclusive_bbox(mask: Any) -> tuple[int, int, int, int]:
    """x, y, w, h of a mask (H, W) by the reference's rule: without +1, so a single pixel is 0 x 0."""
    return _inclusive(exact_box_xywh(mask))


def _inclusive(exact: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    x, y, w, h = exact
    return x, y, max(w - 1, 0), max(h - 1, 0)
