"""Segment Anything, whole and open.

The names below are resolved on first use, so that ``import segany`` stays instant.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from segany.core.errors import CheckpointError as CheckpointError
    from segany.core.errors import DataError as DataError
    from segany.core.errors import EmbeddingError as EmbeddingError
    from segany.core.errors import ImageError as ImageError
    from segany.core.errors import InputError as InputError
    from segany.core.errors import MissingDependencyError as MissingDependencyError
    from segany.core.errors import NotAvailableError as NotAvailableError
    from segany.core.errors import OptionError as OptionError
    from segany.core.errors import PromptError as PromptError
    from segany.core.errors import SeganyError as SeganyError
    from segany.modeling.registry import build_sam as build_sam
    from segany.modeling.registry import build_sam_vit_b as build_sam_vit_b
    from segany.modeling.registry import build_sam_vit_h as build_sam_vit_h
    from segany.modeling.registry import build_sam_vit_l as build_sam_vit_l
    from segany.modeling.registry import sam_model_registry as sam_model_registry
    from segany.predict.automatic.face import SamAutomaticMaskGenerator as SamAutomaticMaskGenerator
    from segany.predict.automatic.generator import AutomaticMaskGenerator as AutomaticMaskGenerator
    from segany.predict.embedding import ImageEmbedding as ImageEmbedding
    from segany.predict.prediction import Prediction as Prediction
    from segany.predict.predictor import Predictor as Predictor
    from segany.predict.sam_predictor import SamPredictor as SamPredictor
    from segany.prompts.prompt import Prompt as Prompt
    from segany.records.record import ImageRecord as ImageRecord
    from segany.records.record import MaskRecord as MaskRecord

_HOME = {
    "CheckpointError": "segany.core.errors",
    "DataError": "segany.core.errors",
    "EmbeddingError": "segany.core.errors",
    "ImageError": "segany.core.errors",
    "InputError": "segany.core.errors",
    "MissingDependencyError": "segany.core.errors",
    "NotAvailableError": "segany.core.errors",
    "OptionError": "segany.core.errors",
    "PromptError": "segany.core.errors",
    "SeganyError": "segany.core.errors",
    "build_sam": "segany.modeling.registry",
    "build_sam_vit_b": "segany.modeling.registry",
    "build_sam_vit_h": "segany.modeling.registry",
    "build_sam_vit_l": "segany.modeling.registry",
    "sam_model_registry": "segany.modeling.registry",
    "SamAutomaticMaskGenerator": "segany.predict.automatic.face",
    "AutomaticMaskGenerator": "segany.predict.automatic.generator",
    "ImageEmbedding": "segany.predict.embedding",
    "Prediction": "segany.predict.prediction",
    "Predictor": "segany.predict.predictor",
    "SamPredictor": "segany.predict.sam_predictor",
    "Prompt": "segany.prompts.prompt",
    "ImageRecord": "segany.records.record",
    "MaskRecord": "segany.records.record",
}

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'segany' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
