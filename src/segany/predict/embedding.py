"""An encoded photo as a value: made once, prompted often, kept on disk.

C channels · g grid side
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from segany.core.errors import EmbeddingError
from segany.core.files import atomic_path
from segany.geometry.frames import Frame

FORMAT = "segany-embedding-1"


def photo_hash(rgb: NDArray[np.uint8]) -> str:
    """SHA-256 over the size and the pixels of a decoded photo, (H, W, 3) uint8; as hexadecimal digits."""
    digest = hashlib.sha256(f"rgb {rgb.shape[0]} {rgb.shape[1]} ".encode())
    digest.update(np.ascontiguousarray(rgb).reshape(-1).data)
    return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class ImageEmbedding:
    """What a model saw in one photo.

    Attributes:
        features: (C, g, g) float32, never changed after it is made.
        frame: how the photo lies on the model's canvas.
        fingerprint: of the model that made it; another model refuses it.
        photo: `photo_hash` of the pixels it was made from, so that an embedding of another photo of the same size is
            noticed where the photo is at hand; None when they were never seen.
    """

    features: Tensor
    frame: Frame
    fingerprint: str
    photo: str | None = None

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width of the photo, pixels."""
        return self.frame.original_hw

    def is_of(self, rgb: NDArray[np.uint8]) -> bool:
        """Whether it was made from this decoded photo; an embedding that does not know its photo is taken at its word,
        when the size is right."""
        if (rgb.shape[0], rgb.shape[1]) != self.size_hw:
            return False
        return self.photo is None or self.photo == photo_hash(rgb)

    def save(self, path: str | Path) -> Path:
        """Write a safetensors file, whole or not at all."""
        frame = self.frame
        features = self.features.detach().cpu().contiguous()
        about = {
            "format": FORMAT,
            "fingerprint": self.fingerprint,
            "frame": json.dumps({"original_hw": frame.original_hw, "canvas": frame.canvas, "low_res": frame.low_res}),
            "sha256": _tensor_hash(features),
        }
        if self.photo is not None:
            about["photo"] = self.photo
        with atomic_path(path) as part:
            save_file({"features": features}, part, metadata=about)
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> ImageEmbedding:
        """Read what `save` wrote; a single changed bit of the features is noticed.

        Raises:
            EmbeddingError: missing, damaged, or another kind of file.
        """
        if not Path(path).is_file():
            raise EmbeddingError(f"expected a saved embedding at {path}; found nothing. Check the path.")
        try:
            with safe_open(path, framework="pt") as file:
                about = file.metadata() or {}
                features = file.get_tensor("features").clone()  # not a view of a file that others may replace
            if about.get("format") != FORMAT:
                raise KeyError(f"format {about.get('format')!r}")
            frame = json.loads(about["frame"])
            height, width = frame["original_hw"]
            made = Frame.of((int(height), int(width)), int(frame["canvas"]), int(frame["low_res"]))
            if features.ndim != 3 or features.shape[1] * 4 != made.low_res or not bool(torch.isfinite(features).all()):
                raise ValueError(f"features {tuple(features.shape)} for low-res side {made.low_res}")
            if about.get("sha256", _tensor_hash(features)) != _tensor_hash(features):
                raise ValueError("the features are not those that were saved")
            return cls(features.float(), made, about["fingerprint"], about.get("photo"))
        except (SafetensorError, KeyError, ValueError, TypeError, OSError, RuntimeError) as error:
            raise EmbeddingError(
                f"expected an embedding saved by ImageEmbedding.save; {path} is damaged or of another kind ({error}). "
                "Encode the photo again."
            ) from error


def _tensor_hash(features: Tensor) -> str:
    return hashlib.sha256(features.reshape(-1).view(torch.uint8).numpy().data).hexdigest()
