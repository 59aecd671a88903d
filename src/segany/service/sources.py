"""What makes the masks of a job, and which wishes it may have."""

from __future__ import annotations

from typing import Any

from segany.core.errors import OptionError
from segany.predict.automatic.config import PRESETS, SweepConfig
from segany.predict.automatic.generator import AutomaticMaskGenerator
from segany.service.errors import ApiError, shown
from segany.service.models import ModelShelf
from segany.service.runner import MaskSource, SourceOf
from segany.service.settings import Settings


def generator_source(shelf: ModelShelf) -> SourceOf:
    """Jobs by the automatic mask generator."""

    def source(model: str, knobs: dict[str, Any]) -> MaskSource:
        predictor = shelf.get(model)
        if "preset" in knobs:
            return AutomaticMaskGenerator(predictor, _config(knobs))
        return AutomaticMaskGenerator(predictor, **knobs)

    return source


def check_knobs(knobs: dict[str, Any], settings: Settings) -> None:
    """Refuse settings that are impossible, or too much for this service.

    Raises:
        OptionError: unknown or impossible ones.
        ApiError: 422, too many clicks.
    """
    config = _config(knobs)
    clicks = clicks_of(config)
    if clicks > settings.max_job_clicks or config.points_per_batch > settings.max_job_batch:
        raise ApiError(
            422,
            "too_many",
            f"expected a job of at most {settings.max_job_clicks} clicks, {settings.max_job_batch} at once; got "
            f"{clicks}, {config.points_per_batch} at once. Lower points_per_side, crop_n_layers or points_per_batch.",
        )


def clicks_of(config: SweepConfig) -> int:
    """Clicks of the whole sweep: layer i has 4^i crops."""
    clicks = 0
    for layer in range(config.crop_n_layers + 1):
        if config.point_grids is not None:
            own = len(config.point_grids[layer])
        else:
            own = int((config.points_per_side or 0) / config.crop_n_points_downscale_factor**layer) ** 2
        clicks += 4**layer * own
    return clicks


def _config(knobs: dict[str, Any]) -> SweepConfig:
    preset = knobs.get("preset", "reference")
    if not isinstance(preset, str) or preset not in PRESETS:
        raise OptionError(f"preset must be one of {', '.join(PRESETS)}; got {shown(preset)}. Or leave it out.")
    own = {name: value for name, value in knobs.items() if name != "preset"}
    return SweepConfig.of(**{**PRESETS[preset].to_dict(), **own})
