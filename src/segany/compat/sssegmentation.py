"""The spelling of the sssegmentation library: same calls, same arguments, our models behind them.

Change the import, keep the script. Two things differ on purpose: `device` is "auto" unless given, and weights come from
the model folder (`segany models download vit_h`), never from the network behind one's back.

B prompts of one image · N points per prompt · M masks per prompt · H, W original photo
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segany.core.errors import NotAvailableError, OptionError, PromptError
from segany.modeling.checkpoints.download import REGISTRY
from segany.modeling.sam import Sam
from segany.predict.automatic.face import SamAutomaticMaskGenerator
from segany.predict.predictor import Predictor
from segany.predict.sam_predictor import ResizeLongestSide as _ResizeLongestSide
from segany.predict.sam_predictor import SamPredictor
from segany.records.record import OutputMode

Array = NDArray[Any]
Source = Predictor | Sam | str | Path | Mapping[str, Any]
"""What `sam_cfg` may be: a predictor, a model, a checkpoint, or a mapping with the path of one under `ckptpath`."""


class ResizeLongestSide(_ResizeLongestSide):
    """Photos, points and boxes to the canvas scale; each method is its namesake without underscores."""

    getpreprocessshape = staticmethod(_ResizeLongestSide.get_preprocess_shape)
    applyimage = _ResizeLongestSide.apply_image
    applycoords = _ResizeLongestSide.apply_coords
    applyboxes = _ResizeLongestSide.apply_boxes
    applyimagetorch = _ResizeLongestSide.apply_image_torch
    applycoordstorch = _ResizeLongestSide.apply_coords_torch
    applyboxestorch = _ResizeLongestSide.apply_boxes_torch


class SAM:
    """The model behind a `SAMPredictor`: everything of `Sam`, and `inference` over several images.

    Args:
        predictor: whose model this is.
    """

    def __init__(self, predictor: Predictor) -> None:
        self.module = predictor.model

    def __getattr__(self, name: str) -> Any:
        if name == "module":
            raise AttributeError(name)
        return getattr(self.module, name)

    def inference(self, batched_input: list[dict[str, Any]], multimask_output: bool = False) -> list[dict[str, Tensor]]:
        """Masks of prompts on several images in one call, without gradients.

        Args:
            batched_input: per image `image` (3, h, w) RGB 0–255 with its longest side on the canvas, `original_size`
                (H, W), and optionally `point_coords` (B, N, 2) and `boxes` (B, 4) in canvas pixels, `point_labels`
                (B, N), `mask_inputs` (B, 1, h, w).
            multimask_output: three masks per prompt, or one.

        Returns:
            per image `masks` (B, M, H, W) bool, `iou_predictions` (B, M), `low_res_logits` (B, M, h, w).

        Raises:
            PromptError: an image without `image` or `original_size`, or points without labels.
        """
        for index, item in enumerate(batched_input):
            missing = {"image", "original_size"} - set(item)
            if missing or ("point_coords" in item) != ("point_labels" in item):
                raise PromptError(
                    "every image needs image and original_size, and point_coords together with point_labels; image "
                    f"{index} has {sorted(item)}. Add what is missing."
                )
        with torch.no_grad():
            outputs: list[dict[str, Tensor]] = self.module(batched_input, multimask_output)
        return outputs


class SAMPredictor(SamPredictor):
    """Set an image once, prompt it many times.

    Args:
        sam_cfg: a predictor, a model, a checkpoint path, or a mapping with `ckptpath`.
        use_default_sam_h: ViT-H from the model folder; `_l` and `_b` likewise.
        device: "auto", "cpu", "cuda", …; left alone when `sam_cfg` is a predictor.
        load_ckpt_strict: must stay True; weights that fit only partly are refused.

    Raises:
        OptionError: not exactly one model is named.
        CheckpointError: its weights are not there; the message says how to get them.
    """

    def __init__(
        self,
        sam_cfg: Source | None = None,
        use_default_sam_h: bool = False,
        use_default_sam_l: bool = False,
        use_default_sam_b: bool = False,
        device: str = "auto",
        load_ckpt_strict: bool = True,
    ) -> None:
        if not load_ckpt_strict:
            raise NotAvailableError("load_ckpt_strict=False is not available: weights must fit. Leave it out.")
        named = {"vit_h": use_default_sam_h, "vit_l": use_default_sam_l, "vit_b": use_default_sam_b}
        super().__init__(_predictor(sam_cfg, [name for name, wanted in named.items() if wanted], device))
        self.transform: ResizeLongestSide = ResizeLongestSide(self.predictor.config.canvas)
        self.model: Any = SAM(self.predictor)

    def inference(self, batched_input: list[dict[str, Any]], multimask_output: bool = False) -> list[dict[str, Tensor]]:
        """As `model.inference`."""
        outputs: list[dict[str, Tensor]] = self.model.inference(batched_input, multimask_output)
        return outputs

    setimage = SamPredictor.set_image
    settorchimage = SamPredictor.set_torch_image
    predicttorch = SamPredictor.predict_torch
    getimageembedding = SamPredictor.get_image_embedding
    resetimage = SamPredictor.reset_image


class SAMAutomaticMaskGenerator(SamAutomaticMaskGenerator):
    """Automatic masks as dictionaries; knobs in the order of that library, see `SweepConfig` for what they do."""

    def __init__(
        self,
        points_per_side: int | None = 32,
        points_per_batch: int = 64,
        pred_iou_thresh: float = 0.88,
        stability_score_thresh: float = 0.95,
        stability_score_offset: float = 1.0,
        device: str = "auto",
        box_nms_thresh: float = 0.7,
        crop_n_layers: int = 0,
        crop_nms_thresh: float = 0.7,
        crop_overlap_ratio: float = 512 / 1500,
        crop_n_points_downscale_factor: int = 1,
        point_grids: list[NDArray[np.float64]] | None = None,
        min_mask_region_area: int = 0,
        output_mode: OutputMode = "binary_mask",
        sam_cfg: Source | None = None,
        use_default_sam_h: bool = False,
        use_default_sam_l: bool = False,
        use_default_sam_b: bool = False,
        user_defined_sam_predictor: SamPredictor | None = None,
        load_ckpt_strict: bool = True,
    ) -> None:
        face = user_defined_sam_predictor or SAMPredictor(
            sam_cfg, use_default_sam_h, use_default_sam_l, use_default_sam_b, device, load_ckpt_strict
        )
        super().__init__(
            face.predictor,
            points_per_side,
            points_per_batch,
            pred_iou_thresh,
            stability_score_thresh,
            stability_score_offset,
            box_nms_thresh,
            crop_n_layers,
            crop_nms_thresh,
            crop_overlap_ratio,
            crop_n_points_downscale_factor,
            point_grids,
            min_mask_region_area,
            output_mode,
        )


def _predictor(sam_cfg: Source | None, names: list[str], device: str) -> Predictor:
    if len(names) + (sam_cfg is not None) != 1:
        given = [f"use_default_sam_{name[-1]}" for name in names] + ["sam_cfg"] * (sam_cfg is not None)
        raise OptionError(
            f"name exactly one model: use_default_sam_h, _l or _b, or sam_cfg; got {', '.join(given) or 'none'}. "
            "Write SAMPredictor(use_default_sam_h=True)."
        )
    if isinstance(sam_cfg, Predictor):
        return sam_cfg
    if isinstance(sam_cfg, Sam):
        return Predictor(sam_cfg, device=device)
    return Predictor.from_pretrained(names[0] if sam_cfg is None else _checkpoint(sam_cfg), device=device)


def _checkpoint(sam_cfg: str | Path | Mapping[str, Any]) -> str | Path:
    if not isinstance(sam_cfg, Mapping):
        return sam_cfg
    path = sam_cfg.get("ckptpath")
    if not isinstance(path, (str, Path)):
        raise OptionError(
            f"sam_cfg must say where the weights are, as {{'ckptpath': 'sam_vit_b.pth'}}; got keys {sorted(sam_cfg)}. "
            "Sizes are read from the weights, so nothing else is needed."
        )
    released = {remote.url: name for name, remote in REGISTRY.items()}
    return released.get(str(path), path)
