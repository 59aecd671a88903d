"""Models small enough for tests: one with every weight alive, one whose masks are known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segany.modeling.build import build_encoder, build_model
from segany.modeling.checkpoints.load import EMBEDDED
from segany.modeling.config import ModelConfig
from segany.modeling.mask_decoder import MaskDecoder
from segany.modeling.presets import PRESETS
from segany.modeling.sam import Sam
from segany.predict.predictor import Predictor


def lively_model(config: ModelConfig = PRESETS["toy"], seed: int = 0) -> Sam:
    """Every weight from a seeded normal, large enough that clicks, boxes and hints change the masks."""
    model = build_model(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in sorted(model.state_dict().items()):
            if not tensor.is_floating_point():
                continue
            tensor.normal_(generator=generator)
            if "gaussian" in name:
                continue
            if tensor.ndim == 1:
                tensor.mul_(0.3).add_(1.0 if name.endswith("weight") else 0.0)
            elif "embed" not in name and "token" not in name.rsplit(".", 2)[-2]:
                tensor.mul_((4.0 if "hypernetworks" in name else 1.5) / math.sqrt(tensor[0].numel()))
    return model.eval()


def lively(seed: int = 0, name: str = "toy") -> Predictor:
    return Predictor(lively_model(PRESETS[name], seed), device="cpu")


class DiscSam(Sam):
    """The masks of a click are discs around it: radii 2, 6 and 12 low-res cells for the candidates, 4 for the single.

    Logits fall by `slope` per cell; the predicted IoU is the same for every click: .7 single, .9, .8, .6.
    """

    def __init__(self, radii: tuple[float, ...] = (4, 2, 6, 12), slope: float = 4.0) -> None:
        config = PRESETS["toy"]
        like = build_model(config)
        decoder = like.mask_decoder
        assert isinstance(decoder, MaskDecoder)
        super().__init__(config, build_encoder(config), like.prompt_encoder, decoder)
        self.radii, self.slope = radii, slope

    def decode(self, embeddings: Tensor, **prompts: Any) -> tuple[Tensor, Tensor]:
        points = prompts["points"]
        side = self.config.low_res
        cell = self.config.canvas / side
        y, x = torch.meshgrid(torch.arange(side) + 0.5, torch.arange(side) + 0.5, indexing="ij")
        centre = points[:, 0] / cell
        distance = torch.hypot(x - centre[:, 0, None, None], y - centre[:, 1, None, None])
        radii = torch.tensor(self.radii)[:, None, None]
        logits = (radii - distance[:, None]) * self.slope
        return logits, torch.tensor([0.7, 0.9, 0.8, 0.6]).expand(len(points), -1).clone()


def photo(height: int = 90, width: int = 130, seed: int = 0) -> NDArray[np.uint8]:
    """Coloured blocks with noise on them, (H, W, 3)."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 200, (-(-height // 16), -(-width // 16), 3))
    rgb = coarse.repeat(16, axis=0).repeat(16, axis=1)[:height, :width]
    return np.asarray(rgb + rng.integers(0, 56, (height, width, 3)), np.uint8)


def trained_or_random_tiny() -> Predictor:
    """The embedded model where it is there, else its architecture with lively weights."""
    return Predictor.from_pretrained("tiny", device="cpu") if EMBEDDED.is_file() else lively(name="tiny")
