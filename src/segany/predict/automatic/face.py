"""`SamAutomaticMaskGenerator`: the reference's face, same arguments in the same order, dictionaries out."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from segany.core.errors import OptionError
from segany.modeling.sam import Sam
from segany.predict.automatic.generator import AutomaticMaskGenerator
from segany.predict.predictor import Predictor
from segany.records.record import REFERENCE_KEYS, OutputMode

OUTPUT_MODES: tuple[OutputMode, ...] = ("binary_mask", "uncompressed_rle", "coco_rle")


class SamAutomaticMaskGenerator:
    """Automatic masks as the reference's callers expect them; see `SweepConfig` for every knob.

    Args:
        model: a `Sam` model, or a `Predictor`.
        point_grids: per layer (K, 2) positions in [0, 1], instead of `points_per_side`.
        output_mode: what `segmentation` holds: "binary_mask" (H, W) bool, "uncompressed_rle" or "coco_rle".
        exact: not the reference's: measure every candidate at full size; see `SweepConfig`.

    Raises:
        OptionError: an impossible knob.
    """

    def __init__(
        self,
        model: Sam | Predictor,
        points_per_side: int | None = 32,
        points_per_batch: int = 64,
        pred_iou_thresh: float = 0.88,
        stability_score_thresh: float = 0.95,
        stability_score_offset: float = 1.0,
        box_nms_thresh: float = 0.7,
        crop_n_layers: int = 0,
        crop_nms_thresh: float = 0.7,
        crop_overlap_ratio: float = 512 / 1500,
        crop_n_points_downscale_factor: int = 1,
        point_grids: list[NDArray[np.float64]] | None = None,
        min_mask_region_area: int = 0,
        output_mode: OutputMode = "binary_mask",
        *,
        exact: bool = False,
    ) -> None:
        if output_mode not in OUTPUT_MODES:
            raise OptionError(f"output_mode must be one of {', '.join(OUTPUT_MODES)}; got {output_mode!r}.")
        predictor = Predictor(model, device=str(model.device), dtype="float32") if isinstance(model, Sam) else model
        self.output_mode: OutputMode = output_mode
        self.generator = AutomaticMaskGenerator(
            predictor,
            points_per_side=points_per_side,
            points_per_batch=points_per_batch,
            pred_iou_thresh=pred_iou_thresh,
            stability_score_thresh=stability_score_thresh,
            stability_score_offset=stability_score_offset,
            box_nms_thresh=box_nms_thresh,
            crop_n_layers=crop_n_layers,
            crop_nms_thresh=crop_nms_thresh,
            crop_overlap_ratio=crop_overlap_ratio,
            crop_n_points_downscale_factor=crop_n_points_downscale_factor,
            point_grids=point_grids,
            min_mask_region_area=min_mask_region_area,
            exact=exact,
        )
        self.predictor = predictor

    def generate(self, image: NDArray[np.uint8]) -> list[dict[str, Any]]:
        """(H, W, 3) uint8 RGB → dictionaries with exactly the reference's keys."""
        records = (record.to_dict(mode=self.output_mode) for record in self.generator.generate(image))
        return [{key: record[key] for key in REFERENCE_KEYS} for record in records]
