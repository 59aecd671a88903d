"""Knobs of an ONNX export, as plain values."""

from __future__ import annotations

from dataclasses import dataclass

from segany.core.errors import OptionError

LOWEST_OPSET, HIGHEST_OPSET = 17, 20


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """How the files are written; the defaults serve a browser and clients of the reference's decoder file."""

    opset: int = 17
    """ONNX operator set, 17 to 20; 17 is what the widest range of runtimes reads."""
    single_mask: bool = False
    """`decoder.onnx` and `decoder_batch.onnx` give one mask, chosen by the reference's rule, instead of all four."""
    tanh_gelu: bool = False
    """GELU by its tanh formula in the decoder, for runtimes that are slow at erf; masks change a little."""
    stability_score: bool = False
    """`iou_predictions` hold the stability score of the low-res masks instead of the predicted IoU."""
    stability_offset: float = 1.0
    """Shift of the cut for that score, in logits."""
    extra_metrics: bool = False
    """Two more outputs of `decoder.onnx`: stability scores and areas of the masks at the original size."""
    exact_click: bool = False
    """`decoder_click.onnx` uses GELU by erf: no approximation, about a tenth more time a click."""
    int8: bool = False
    """Also write 8-bit files, where their masks agree with the model's."""
    least_agreement: float = 0.98
    """Lowest mean mask IoU with the model, on real photos, at which an approximating file is kept; 0 to 1."""
    half_weights: bool = False
    """Store large weights as float16, widened on loading: half the download, the same speed, nearly the same masks."""

    def __post_init__(self) -> None:
        if not LOWEST_OPSET <= self.opset <= HIGHEST_OPSET:
            raise OptionError(
                f"the operator set must be {LOWEST_OPSET} to {HIGHEST_OPSET}; got {self.opset}. "
                f"Take {LOWEST_OPSET} unless a runtime asks for another."
            )
        if not 0 <= self.least_agreement <= 1:
            raise OptionError(f"least_agreement must lie in 0-1; got {self.least_agreement}. The default is 0.98.")
