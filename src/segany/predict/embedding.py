"""An encoded photo as a value: made once, prompted often, kept on disk.

C channels · g grid side
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from segany.core.errors import EmbeddingError
from segany.core.files import atomic_path
from segany.geometry.frames import Frame

FORMAT = "segany-embedding-1"


@dataclass(frozen=True, eq=False)
class ImageEmbedding:
    """What a model saw in one photo.

    Attributes:
        features: (C, g, g) float32, never changed after it is made.
        frame: how the photo lies on the model's canvas.
        fingerprint: of the model that made it; another model refuses it.
    """

    features: Tensor
    frame: Frame
    fingerprint: str

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width of the photo, pixels."""
        return self.frame.original_hw

    def save(self, path: str | Path) -> Path:
        """Write a safetensors file, whole or not at all."""
        frame = self.frame
        about = {
            "format": FORMAT,
            "fingerprint": self.fingerprint,
            "frame": json.dumps({"original_hw": frame.original_hw, "canvas": frame.canvas, "low_res": frame.low_res}),
        }
        with atomic_path(path) as part:
            save_file({"features": self.features.detach().cpu().contiguous()}, part, metadata=about)
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> ImageEmbedding:
        """Read what `save` wrote.

        Raises:
            EmbeddingError: missing, damaged, or another kind of file.
        """
        if not Path(path).is_file():
            raise EmbeddingError(f"expected a saved embedding at {path}; found nothing. Check the path.")
        try:
            with safe_open(path, framework="pt") as file:
                about = file.metadata() or {}
                features = file.get_tensor("features")
            if about.get("format") != FORMAT:
                raise KeyError(f"format {about.get('format')!r}")
            frame = json.loads(about["frame"])
            height, width = frame["original_hw"]
            made = Frame.of((int(height), int(width)), int(frame["canvas"]), int(frame["low_res"]))
            if features.ndim != 3 or features.shape[1] * 4 != made.low_res or not bool(torch.isfinite(features).all()):
                raise ValueError(f"features {tuple(features.shape)} for low-res side {made.low_res}")
            return cls(features.float(), made, about["fingerprint"])
        except (SafetensorError, KeyError, ValueError, TypeError, OSError) as error:
            raise EmbeddingError(
                f"expected an embedding saved by ImageEmbedding.save; {path} is damaged or of another kind ({error}). "
                "Encode the photo again."
            ) from error
