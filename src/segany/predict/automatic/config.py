"""The knobs of automatic mask generation, under the reference's names; no torch here."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from segany.core.errors import OptionError


@dataclass(frozen=True, kw_only=True)
class SweepConfig:
    """How a photo is swept and which masks are kept. Thresholds are fractions; one that is 0 or less is off."""

    points_per_side: int | None = 32
    """Clicks along each image edge; cost grows with the square. None when `point_grids` says where to click."""
    points_per_batch: int = 64
    """Clicks decoded together; bounds memory, changes no mask."""
    pred_iou_thresh: float = 0.88
    """Masks whose predicted IoU is not above this are dropped."""
    stability_score_thresh: float = 0.95
    """Masks whose stability is below this are dropped."""
    stability_score_offset: float = 1.0
    """Shift of the cut for the stability score, in logits."""
    box_nms_thresh: float = 0.7
    """Within a crop, of two boxes overlapping by more than this IoU the one of lower predicted IoU is dropped."""
    crop_n_layers: int = 0
    """Layers of crops beyond the whole image; layer i has 2^i × 2^i crops. 0 to 4."""
    crop_nms_thresh: float = 0.7
    """Between crops, of two boxes overlapping by more than this IoU the one from the larger crop is dropped."""
    crop_overlap_ratio: float = 512 / 1500
    """Overlap of the first layer's crops, as a share of the image's shorter side."""
    crop_n_points_downscale_factor: int = 1
    """Layer i uses points_per_side / factor^i clicks along each crop edge."""
    point_grids: tuple[tuple[tuple[float, float], ...], ...] | None = None
    """Instead of points_per_side: per layer, x, y of every click in [0, 1] of the crop; lists and arrays will do."""
    min_mask_region_area: int = 0
    """Holes and islands smaller than this many pixels are removed; 0 leaves masks as they are."""
    drop_small_masks: bool = False
    """With min_mask_region_area: drop a mask whose largest part is smaller, instead of keeping that part."""
    max_area_share: float = 0.0
    """Masks covering at least this share of the image are dropped; 0 is off."""
    mask_nms_thresh: float = 0.0
    """At the end, of two masks overlapping by more than this IoU the less sure one is dropped; 0 is off."""
    containment_thresh: float = 0.0
    """At the end, a mask more than this share of whose pixels lie in a better one is dropped; 0 is off."""

    exact: bool = False
    """Measure every candidate at full size before any is dropped, as the reference does; several times slower."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "point_grids", _as_tuples(self.point_grids))
        problems = [problem for problem in _problems(self) if problem]
        if problems:
            raise OptionError("; ".join(problems))

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready value."""
        return asdict(self)

    @classmethod
    def of(cls, **knobs: Any) -> SweepConfig:
        """From keyword arguments.

        Raises:
            OptionError: an unknown knob or an impossible value.
        """
        known = {item.name for item in fields(cls)}
        if unknown := sorted(set(knobs) - known):
            raise OptionError(
                f"automatic masks take the knobs {', '.join(sorted(known))}; got {', '.join(unknown)}. "
                "Rename or remove it."
            )
        return cls(**knobs)


def _problems(c: SweepConfig) -> list[str]:
    if (c.points_per_side is None) == (c.point_grids is None):
        return ["give exactly one of points_per_side and point_grids; got both or neither. Set the other to None."]
    return [
        _whole("points_per_side", c.points_per_side, 1, 512) if c.point_grids is None else "",
        _whole("points_per_batch", c.points_per_batch, 1, 1 << 16),
        _whole("crop_n_layers", c.crop_n_layers, 0, 4),
        _whole("crop_n_points_downscale_factor", c.crop_n_points_downscale_factor, 1, 512),
        _whole("min_mask_region_area", c.min_mask_region_area, 0, 1 << 40),
        _real("pred_iou_thresh", c.pred_iou_thresh, -1e9, 2),
        _real("stability_score_thresh", c.stability_score_thresh, -1e9, 1),
        _real("stability_score_offset", c.stability_score_offset, 0, 1e3),
        _real("box_nms_thresh", c.box_nms_thresh, 0, 1),
        _real("crop_nms_thresh", c.crop_nms_thresh, 0, 1),
        _real("crop_overlap_ratio", c.crop_overlap_ratio, 0, 0.99),
        _real("max_area_share", c.max_area_share, 0, 1),
        _real("mask_nms_thresh", c.mask_nms_thresh, 0, 1),
        _real("containment_thresh", c.containment_thresh, 0, 1),
        "" if isinstance(c.drop_small_masks, bool) else _flag("drop_small_masks", c.drop_small_masks),
        "" if isinstance(c.exact, bool) else _flag("exact", c.exact),
        _grids(c),
    ]


def _as_tuples(grids: Any) -> Any:
    """Nested sequences or arrays of x, y as tuples; anything else as one empty grid, which the checks refuse."""
    try:
        return None if grids is None else tuple(tuple((float(x), float(y)) for x, y in grid) for grid in grids)
    except (TypeError, ValueError):
        return ((),)


def _flag(name: str, value: Any) -> str:
    return f"{name} must be True or False; got {value!r}. Change it."


def _whole(name: str, value: Any, low: int, high: int) -> str:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        return f"{name} must be a whole number from {low} to {high}; got {value!r}. Change it."
    return ""


def _real(name: str, value: Any, low: float, high: float) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return f"{name} must be a number; got {value!r}. Change it."
    if not low <= value <= high:
        lowest = f"{low:g}" if low > -1e6 else "anything (0 or less is off)"
        return f"{name} must be a fraction from {lowest} to {high:g}; got {value!r}. For 88 % write 0.88."
    return ""


def _grids(c: SweepConfig) -> str:
    if c.point_grids is None:
        layer = c.crop_n_layers if isinstance(c.crop_n_layers, int) else 0
        side, factor = c.points_per_side, c.crop_n_points_downscale_factor
        if isinstance(side, int) and isinstance(factor, int) and factor >= 1 and int(side / factor**layer) < 1:
            return (
                f"points_per_side / crop_n_points_downscale_factor^crop_n_layers must leave at least one click; got "
                f"{side} / {factor}^{layer}. Lower the factor or the layers."
            )
        return ""
    if any(not grid or not all(0 <= v <= 1 for point in grid for v in point) for grid in c.point_grids):
        return "point_grids must hold x, y in [0, 1], at least one per layer; got others. Divide pixels by the size."
    layers = c.crop_n_layers if isinstance(c.crop_n_layers, int) else 0
    if len(c.point_grids) < layers + 1:
        return (
            f"point_grids needs a grid per layer, {layers + 1}; got {len(c.point_grids)}. Add grids or lower "
            "crop_n_layers."
        )
    return ""


PRESETS: dict[str, SweepConfig] = {
    "reference": SweepConfig(),
    "sa1b": SweepConfig(
        crop_n_layers=2,
        crop_n_points_downscale_factor=2,
        min_mask_region_area=100,
        drop_small_masks=True,
        max_area_share=0.95,
    ),
}
"""`reference`: the released generator's defaults. `sa1b`: the generator that made the paper's data set."""


def recommended_knobs(metadata: Mapping[str, str]) -> dict[str, Any]:
    """Knobs that a model's weights ask for: a JSON object under `automatic` in their metadata, for example thresholds
    that suit a small model. The released weights ask for none.

    Raises:
        OptionError: the metadata holds something else there.
    """
    text = metadata.get("automatic", "{}")
    try:
        knobs = json.loads(text)
    except ValueError:
        knobs = None
    if not isinstance(knobs, dict):
        raise OptionError(f"`automatic` in a model's metadata must be a JSON object of knobs; got {text[:80]!r}.")
    return knobs
