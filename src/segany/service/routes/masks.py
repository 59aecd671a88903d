"""Prompts in, masks out."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Response

from segany.service.errors import ApiError
from segany.service.parts import PartsOf
from segany.service.prompting import answer_text, prompt_of
from segany.service.routes.images import KeyInPath
from segany.service.schemas import MasksAnswer, MasksBody

router = APIRouter(prefix="/images", tags=["masks"])


@router.post("/{key}/masks", response_model=MasksAnswer)
async def make_masks(parts: PartsOf, key: KeyInPath, body: MasksBody) -> Response:
    """Masks for prompts. Prompts of all requests that wait are decoded together; none changes another's masks."""
    name = await parts.model_name(body.model, key)
    limits = parts.settings
    most = max(len(prompt.points or ()) for prompt in body.prompts)
    if len(body.prompts) > limits.max_prompts or most > limits.max_points:
        raise ApiError(
            422,
            "too_many",
            f"expected at most {limits.max_prompts} prompts of at most {limits.max_points} clicks; got "
            f"{len(body.prompts)} of up to {most}. Send them in several requests.",
        )
    predictor, embedding = await parts.embeddings.get(key, name)
    size_hw, low_res = embedding.size_hw, embedding.frame.low_res
    prompts = await parts.files.run(lambda: [prompt_of(prompt, size_hw, low_res) for prompt in body.prompts])
    answers = [asyncio.wrap_future(answer) for answer in parts.decoder.order(predictor, embedding, prompts)]
    predictions = await asyncio.gather(*answers)
    text = await parts.files.run(answer_text, name, predictor.fingerprint, predictions, body.return_low_res)
    return Response(text, media_type="application/json")
