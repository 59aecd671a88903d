"""Prompts as they come over the wire, and masks as they go out."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from segany.core.errors import DataError, PromptError
from segany.masks import rle
from segany.predict.prediction import Prediction
from segany.prompts.prompt import Prompt
from segany.records.record import MaskRecord
from segany.service.schemas import PromptBody


def prompt_of(body: PromptBody, size_hw: tuple[int, int], low_res: int) -> Prompt:
    """The prompt that a request means.

    Args:
        body: as it came.
        size_hw: of the photo.
        low_res: side of the model's low-res logits.

    Raises:
        PromptError: it cannot be used.
    """
    if body.low_res is not None and body.mask is not None:
        raise PromptError("a prompt takes low_res or mask; got both. Leave one of them out.")
    mask: Any = None
    if body.low_res is not None:
        mask = logits_of(body.low_res, low_res)
    elif body.mask is not None:
        mask = mask_of(body.mask.model_dump(), size_hw)
    return Prompt(points=body.points, labels=body.labels, boxes=body.box, mask=mask, multimask=body.multimask)


def logits_of(text: str, side: int) -> NDArray[np.float32]:
    """(side, side) float32 of base64 text.

    Raises:
        PromptError: another size, or no base64.
    """
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != side * side * 4:
        raise PromptError(
            f"low_res must be base64 of {side} x {side} little-endian float32 numbers; got {len(raw)} bytes. Send back "
            "what an answer with return_low_res held for one mask."
        )
    return np.frombuffer(raw, np.dtype("<f4")).reshape(side, side).astype(np.float32)


def mask_of(value: dict[str, Any], size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """(H, W) bool; the size is checked before anything is unpacked.

    Raises:
        PromptError: another size, or damaged.
    """
    if tuple(value["size"]) != tuple(size_hw):
        raise PromptError(
            f"mask must have the photo's size [height, width] = {list(size_hw)}; got {value['size']}. Send the mask of "
            "this photo."
        )
    try:
        return rle.decode(value)
    except DataError as error:
        raise PromptError(str(error)) from error


def answer_text(
    model: str, fingerprint: str, predictions: Sequence[Prediction], want: Literal["none", "best", "all"]
) -> str:
    """The JSON text of a `MasksAnswer`."""
    results = [result_of(prediction, want) for prediction in predictions]
    return json.dumps({"model": model, "fingerprint": fingerprint, "results": results}, separators=(",", ":"))


def result_of(prediction: Prediction, want: Literal["none", "best", "all"]) -> dict[str, Any]:
    """JSON values of a `Result`."""
    best = int(prediction.best)
    masks = []
    for index, encoded in enumerate(rle.encode_many(prediction.masks)):
        record = MaskRecord.from_mask(encoded)
        masks.append(
            {
                "segmentation": encoded,
                "area": record.area,
                "bbox": list(record.bbox),
                "predicted_iou": round(float(prediction.predicted_iou[index]), 6),
                "output_index": prediction.output_index[index],
            }
        )
    result: dict[str, Any] = {"masks": masks, "best": best}
    if want != "none":
        logits = prediction.low_res_logits if want == "all" else prediction.low_res_logits[best : best + 1]
        result["low_res"] = base64.b64encode(logits.astype(np.dtype("<f4")).tobytes()).decode("ascii")
    return result
