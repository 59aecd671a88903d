"""The same weights on another canvas."""

from __future__ import annotations

import dataclasses

from segany.core.errors import OptionError
from segany.modeling.config import ConvConfig
from segany.modeling.sam import Sam


def at_canvas(model: Sam, canvas: int) -> Sam:
    """Let a model work on a canvas of another size, in place; training uses it to begin small.

    Args:
        model: with an encoder that has no learned positions.
        canvas: side, pixels; a multiple of the encoder's stride.

    Returns:
        the model itself.

    Raises:
        OptionError: the encoder's positions are learned for one canvas.
    """
    if canvas == model.config.canvas:
        return model
    if not isinstance(model.config.encoder, ConvConfig):
        raise OptionError(
            f"only a convolutional encoder changes its canvas; {model.config.name} is made for "
            f"{model.config.canvas} pixels, got {canvas}. Train it on its own canvas."
        )
    model.config = dataclasses.replace(model.config, canvas=canvas)
    grid, low_res = model.config.grid, model.config.low_res
    prompts = model.prompt_encoder
    prompts.image_embedding_size, prompts.input_image_size = (grid, grid), (canvas, canvas)
    prompts.mask_input_size = (low_res, low_res)
    model.image_encoder.img_size = canvas  # type: ignore[assignment]
    return model
