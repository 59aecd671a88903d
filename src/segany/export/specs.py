"""Which files an export consists of, and the names and shapes of their tensors."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from segany.export.config import ExportConfig
from segany.export.decoder import DecoderGraph
from segany.export.graph import GraphSpec, TensorSpec
from segany.modeling.sam import Sam

POINTS, PROMPTS, HEIGHT, WIDTH = "num_points", "num_prompts", "height", "width"
EMBEDDING = "image_embeddings"


class EncoderGraph(nn.Module):
    """(1, 3, S, S) normalised, zero-padded canvas → (1, C, g, g)."""

    def __init__(self, model: Sam) -> None:
        super().__init__()
        self.encoder = model.image_encoder

    def forward(self, pixels: Tensor) -> Tensor:
        out: Tensor = self.encoder(pixels)
        return out


def encoder_spec(model: Sam) -> GraphSpec:
    """`encoder.onnx`: run once per photo."""
    config = model.config
    shape = (1, 3, config.canvas, config.canvas)
    return GraphSpec(
        "encoder",
        EncoderGraph(model),
        (TensorSpec("pixels", shape),),
        (TensorSpec(EMBEDDING, (1, config.channels, config.grid, config.grid)),),
        (torch.zeros(shape),),
        "RGB 0-255 resized to the canvas, normalised by pixel_mean and pixel_std, then padded with zeros right and "
        "below, as (1, 3, canvas, canvas); gives the image embedding. Once per photo.",
    )


def decoder_inputs(model: Sam, prompts: int | str) -> tuple[TensorSpec, ...]:
    """The reference's inputs; `prompts` is 1, or the name of the batch axis."""
    config = model.config
    return (
        TensorSpec(EMBEDDING, (1, config.channels, config.grid, config.grid)),
        TensorSpec("point_coords", (prompts, POINTS, 2)),
        TensorSpec("point_labels", (prompts, POINTS)),
        TensorSpec("mask_input", (prompts, 1, config.low_res, config.low_res)),
        TensorSpec("has_mask_input", (prompts,)),
        TensorSpec("orig_im_size", (2,)),
    )


def decoder_spec(model: Sam, config: ExportConfig, *, batch: bool) -> GraphSpec:
    """`decoder.onnx`, or with `batch` `decoder_batch.onnx`."""
    module = DecoderGraph(model, config, batch=batch)
    prompts: int | str = PROMPTS if batch else 1
    masks = 1 if config.single_mask else model.mask_decoder.num_mask_tokens
    side = model.config.low_res
    shapes: dict[str, tuple[int | str, ...]] = {
        "masks": (prompts, masks, HEIGHT, WIDTH),
        "iou_predictions": (prompts, masks),
        "stability_scores": (prompts, masks),
        "areas": (prompts, masks),
        "low_res_masks": (prompts, masks, side, side),
    }
    about = (
        "Any number of prompts of one photo at once; a point labelled -10 only fills the batch and changes nothing."
        if batch
        else "The reference's decoder file: same names, shapes and rules."
    )
    return GraphSpec(
        "decoder_batch" if batch else "decoder",
        module,
        decoder_inputs(model, prompts),
        tuple(TensorSpec(name, shapes[name]) for name in module.output_names),
        example_prompts(model, 2 if batch else 1),
        about,
    )


def example_prompts(model: Sam, prompts: int) -> tuple[Tensor, ...]:
    """Inputs to trace a decoder with."""
    config = model.config
    draw = torch.Generator().manual_seed(0)
    labels = torch.tensor([1.0, 0.0, 2.0, 3.0, -1.0])
    return (
        torch.randn(1, config.channels, config.grid, config.grid, generator=draw),
        torch.rand(prompts, len(labels), 2, generator=draw) * config.canvas,
        labels.expand(prompts, -1).contiguous(),
        torch.randn(prompts, 1, config.low_res, config.low_res, generator=draw),
        torch.ones(prompts),
        torch.tensor([config.canvas * 0.75, config.canvas + 3.0]).floor(),
    )
