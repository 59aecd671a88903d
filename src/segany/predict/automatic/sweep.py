"""One crop: click everywhere, keep what is sure and stable, of overlapping ones the surest.

P clicks · M masks per click · h, w low-res grid
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segany.core.budget import USUAL_WORK
from segany.core.progress import CancelCheck
from segany.predict.automatic.candidates import Box, Candidates
from segany.predict.automatic.config import SweepConfig
from segany.predict.automatic.measure import Ruler
from segany.predict.automatic.merge import merge_within_crop
from segany.predict.automatic.pool import Candidate, Pool
from segany.predict.automatic.screen import Screen
from segany.predict.automatic.tally import CANDIDATES, CUT, PREDICTED_IOU, STABILITY
from segany.predict.decoding import prompts_per_pass
from segany.predict.embedding import ImageEmbedding
from segany.predict.predictor import Predictor
from segany.predict.upscale import Upscaler

DECODE_SHARE, POOL_SHARE = 2, 8
"""One part in so many of the working memory is for decoding, and for low-res logits of candidates that wait."""


def clicks_at_once(predictor: Predictor, config: SweepConfig, work: int) -> int:
    """Clicks to decode together within so many bytes of working memory."""
    return min(
        config.points_per_batch, prompts_per_pass(predictor.config, work // DECODE_SHARE, predictor.decoding_dtype)
    )


class CropSweep:
    """Decodes and filters the clicks of one crop.

    Args:
        predictor: the model.
        config: thresholds.
        embedding: of the crop.
        crop: XYXY in the photo.
        size_hw: the photo.
        upscaler: of the embedding's frame, on the CPU.
        work: bytes for decoding and for candidates that wait.
        cancelled: asked while masks are measured.
        tally: gains what each filter dropped.
    """

    def __init__(
        self,
        predictor: Predictor,
        config: SweepConfig,
        embedding: ImageEmbedding,
        crop: Box,
        size_hw: tuple[int, int],
        upscaler: Upscaler,
        *,
        work: int = USUAL_WORK,
        cancelled: CancelCheck | None = None,
        tally: Counter[str] | None = None,
    ) -> None:
        self.predictor, self.config, self.embedding, self.crop = predictor, config, embedding, crop
        self._features = embedding.features.unsqueeze(0).to(predictor.device)
        threshold, offset = predictor.config.mask_threshold, config.stability_score_offset
        near_model = upscaler if predictor.device.type == "cpu" else Upscaler(embedding.frame, predictor.device)
        self._screen = Screen(near_model, threshold, offset, config.stability_score_thresh)
        self._ruler = Ruler(upscaler, threshold, offset, crop, size_hw)
        self._tally = Counter() if tally is None else tally
        self._pool = Pool(self._ruler, config, work // POOL_SHARE, cancelled, tally=self._tally)
        self._decode_bytes = work // DECODE_SHARE
        self._exact = config.exact or not self._screen.applies
        self._found = Candidates()

    def batch(self, points: NDArray[np.float64]) -> None:
        """Try P clicks.

        Args:
            points: (P, 2) in pixels of the crop.
        """
        on_canvas = self.embedding.frame.to_canvas(points).astype(np.float32)
        low_res, iou = self.predictor.decode_canvas(
            self._features,
            points=torch.from_numpy(on_canvas).unsqueeze(1).to(self._features.device),
            labels=torch.ones(len(points), 1, dtype=torch.long, device=self._features.device),
            memory=self._decode_bytes,
        )
        quality = iou[:, 1:].cpu().numpy()
        sure = quality > self.config.pred_iou_thresh if self.config.pred_iou_thresh > 0 else np.ones_like(quality, bool)
        clicks, outputs = np.nonzero(sure)
        self._tally[CANDIDATES] += sure.size
        self._tally[PREDICTED_IOU] += sure.size - len(clicks)
        if not len(clicks):
            return
        chosen = low_res[torch.from_numpy(clicks).to(low_res.device), torch.from_numpy(outputs + 1).to(low_res.device)]
        points = points[clicks] + self.crop[:2]
        if self._exact:
            self._measure_all(chosen.cpu(), quality[clicks, outputs], points, outputs + 1)
        else:
            self._pool_hints(chosen, quality[clicks, outputs], points, outputs + 1)

    def finish(self) -> Candidates:
        """What is left of the crop after suppression, by descending predicted IoU."""
        return merge_within_crop(self._found, self.config) if self._exact else self._pool.settle()

    def _pool_hints(
        self, low_res: Tensor, quality: NDArray[np.float32], points: NDArray[np.float64], tokens: NDArray[np.int64]
    ) -> None:
        hints = self._screen.hints(low_res)
        outer, inner = (np.array([getattr(hint, side) for hint in hints]).reshape(-1, 4) for side in ("outer", "inner"))
        cut = self._ruler.surely_cut(outer, inner)
        self._tally[STABILITY] += len(low_res) - len(hints)
        self._tally[CUT] += int(np.count_nonzero(cut))
        self._pool.add(
            [
                Candidate.of(hint, float(quality[hint.index]), _xy(points[hint.index]), int(tokens[hint.index]))
                for hint, away in zip(hints, cut, strict=True)
                if not away
            ]
        )

    def _measure_all(
        self, low_res: Tensor, quality: NDArray[np.float32], points: NDArray[np.float64], tokens: NDArray[np.int64]
    ) -> None:
        lowest, found = self.config.stability_score_thresh, self._found
        left, top = self.crop[:2]
        for index, logits in enumerate(low_res):
            measured = self._ruler.measure(logits)
            if (reason := self._ruler.refuses(measured, lowest)) is not None:
                self._tally[reason] += 1
                continue
            x0, y0, x1, y1 = measured.box
            found.rles.append(measured.rle)
            found.boxes.append((x0 + left, y0 + top, x1 + left, y1 + top))
            found.iou.append(float(quality[index]))
            found.stability.append(measured.stability)
            found.points.append(_xy(points[index]))
            found.tokens.append(int(tokens[index]))
            found.crops.append(self.crop)


def _xy(point: NDArray[np.float64]) -> tuple[float, float]:
    return float(point[0]), float(point[1])
