"""One crop: click everywhere, keep what is sure and stable. Bitmaps live one at a time, inside the mask's own window.

P clicks · M masks per click · h, w low-res grid
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segany.geometry.boxes import near_crop_edge
from segany.masks.rle import encode
from segany.predict.automatic.candidates import Box, Candidates
from segany.predict.automatic.config import SweepConfig
from segany.predict.embedding import ImageEmbedding
from segany.predict.predictor import Predictor
from segany.predict.upscale import Upscaler


@dataclass(frozen=True)
class CropSweep:
    """Decodes and filters the clicks of one crop.

    Attributes:
        predictor: the model.
        config: thresholds.
        embedding: of the crop.
        crop: XYXY in the photo.
        size_hw: the photo.
    """

    predictor: Predictor
    config: SweepConfig
    embedding: ImageEmbedding
    crop: Box
    size_hw: tuple[int, int]

    def batch(self, upscaler: Upscaler, points: NDArray[np.float64]) -> Candidates:
        """Survivors of P clicks.

        Args:
            upscaler: of the crop's frame.
            points: (P, 2) in pixels of the crop.
        """
        on_canvas = self.embedding.frame.to_canvas(points).astype(np.float32)
        features = self.embedding.features.unsqueeze(0).to(self.predictor.device)
        low_res, iou = self.predictor.decode_canvas(
            features,
            points=torch.from_numpy(on_canvas).unsqueeze(1).to(features.device),
            labels=torch.ones(len(points), 1, dtype=torch.long, device=features.device),
        )
        found = Candidates()
        quality = iou[:, 1:].cpu().numpy()
        keep = quality > self.config.pred_iou_thresh if self.config.pred_iou_thresh > 0 else np.ones_like(quality, bool)
        for click, output in np.argwhere(keep):
            self._judge(
                found, upscaler, low_res[click, output + 1], points[click], float(quality[click, output]), output
            )
        return found

    def _judge(
        self,
        found: Candidates,
        upscaler: Upscaler,
        low_res: Tensor,
        point: NDArray[np.float64],
        quality: float,
        output: int,
    ) -> None:
        config, threshold = self.config, self.predictor.config.mask_threshold
        offset = config.stability_score_offset
        window = upscaler.window(low_res, threshold - offset)
        y0, x0 = window[0], window[2]
        logits = upscaler.logits(low_res, window, by_column=True).cpu().numpy()
        outer = np.count_nonzero(logits > threshold - offset)
        stability = np.count_nonzero(logits > threshold + offset) / outer if outer else 0.0
        if config.stability_score_thresh > 0 and stability < config.stability_score_thresh:
            return
        mask = logits > threshold
        box = _inclusive_box(mask, y0, x0)
        if bool(near_crop_edge([box], self.crop, (0, 0, self.size_hw[1], self.size_hw[0]))[0]):
            return
        left, top = self.crop[:2]
        found.rles.append(_uncropped(mask, (top + y0, left + x0), self.size_hw))
        found.boxes.append((box[0] + left, box[1] + top, box[2] + left, box[3] + top))
        found.iou.append(quality)
        found.stability.append(stability)
        found.points.append((float(point[0] + left), float(point[1] + top)))
        found.tokens.append(int(output) + 1)
        found.crops.append(self.crop)


def _inclusive_box(mask: NDArray[np.bool_], top: int, left: int) -> Box:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return 0, 0, 0, 0
    return int(left + columns[0]), int(top + rows[0]), int(left + columns[-1]), int(top + rows[-1])


def _uncropped(mask: NDArray[np.bool_], corner_yx: tuple[int, int], size_hw: tuple[int, int]) -> dict[str, object]:
    whole = np.zeros(size_hw, np.bool_, order="F")
    y, x = corner_yx
    whole[y : y + mask.shape[0], x : x + mask.shape[1]] = mask
    return dict(encode(whole))
