"""The masks a prompt gave.

P prompts · M masks per prompt · H, W original photo · h, w low-res grid
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Prediction:
    """Masks in the decoder's token order, never sorted by quality.

    Attributes:
        masks: (M, H, W) bool, or (P, M, H, W) when the prompt had a prompt axis.
        predicted_iou: (M,) or (P, M) float32; the model's own estimate, may exceed 1.
        low_res_logits: (M, h, w) or (P, M, h, w) float32; feed one back as `mask=` to refine.
        best: index of the highest predicted IoU, an int or (P,) integers.
        output_index: (M,) which output token each mask came from: 0 the single mask, 1 to 3 the candidates.
    """

    masks: NDArray[np.bool_]
    predicted_iou: NDArray[np.float32]
    low_res_logits: NDArray[np.float32]
    best: Any
    output_index: tuple[int, ...]

    @property
    def best_mask(self) -> NDArray[np.bool_]:
        """(H, W), or (P, H, W): the mask with the highest predicted IoU of each prompt."""
        if self.masks.ndim == 3:
            mask: NDArray[np.bool_] = self.masks[int(self.best)]
            return mask
        masks: NDArray[np.bool_] = self.masks[np.arange(len(self.masks)), np.asarray(self.best)]
        return masks
