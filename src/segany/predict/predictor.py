"""The predictor: photos and prompts in, masks out, as plain values. It keeps no state between calls.

B images · P prompts · M masks per prompt · C channels · g grid side · H, W original photo
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segany.core.device import resolve_device
from segany.core.errors import EmbeddingError, NotAvailableError, OptionError, PromptError
from segany.core.identity import fingerprint as fingerprint_of
from segany.geometry.frames import Frame
from segany.modeling.checkpoints.load import load_model
from segany.modeling.sam import Sam
from segany.predict.backends.encoder import INT8, PredictionEncoder, choose_decoding_dtype, choose_dtype
from segany.predict.decoding import MEMORY, Decoding, prompts_per_pass
from segany.predict.embedding import ImageEmbedding, photo_hash
from segany.predict.prediction import Prediction
from segany.predict.rows import PromptRow, rows_of, stack
from segany.predict.upscale import Upscaler
from segany.prompts.prompt import Multimask, Prompt
from segany.transforms.image import read_image
from segany.transforms.resize import ImageTransform


class Predictor:
    """Prompts to masks with one model; serves any number of threads.

    Args:
        model: a model with real weights; it is moved to `device` and set to evaluation.
        fingerprint: identity of config and weights; computed when not given.
        metadata: what the weights say of themselves.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        dtype: "auto", "float32", "bfloat16" or "float16"; "auto" is bfloat16 where this machine is fast at it, and what
            SEGANY_DTYPE says where that is set; prompts of a small model it decodes in float32 on a CPU. "int8" is
            "auto" with most of a ViT encoder's products in 8 bits, on a CPU: sooner, less exact.
        threads: CPU threads of the process, for all of torch; None leaves them alone.
        memory: bytes that decoding may take at once beside weights and results; changes no result.

    Raises:
        OptionError: a device, precision, thread count or memory that cannot be.
    """

    def __init__(
        self,
        model: Sam,
        *,
        fingerprint: str | None = None,
        metadata: dict[str, str] | None = None,
        device: str = "auto",
        dtype: str = "auto",
        threads: int | None = None,
        memory: int = MEMORY,
    ) -> None:
        if memory < 1:
            raise OptionError(f"memory must be a positive number of bytes; got {memory}. Leave it out for {MEMORY}.")
        if threads is not None:
            if threads < 1:
                raise OptionError(f"threads must be at least 1; got {threads}. Leave it out to use torch's choice.")
            torch.set_num_threads(threads)
        self.device = resolve_device(device)
        self.model = model.to(self.device).eval()
        self.dtype = choose_dtype(dtype, self.model)
        self.config = model.config
        self.memory = memory
        self.backend = INT8 if dtype == INT8 else None
        """What makes embeddings where that is not torch in `dtype`; they are kept apart from others in a cache."""
        self._encoder = PredictionEncoder(self.model, self.dtype, int8=dtype == INT8)
        self.decoding_dtype = choose_decoding_dtype(dtype, self.model, self.dtype)
        """Precision in which prompts are decoded."""
        self._decoding = Decoding(self.model, self.decoding_dtype)
        self.metadata = dict(metadata or {})
        self.fingerprint = fingerprint or fingerprint_of(model.config.to_dict(), model.state_dict())
        self._transform = ImageTransform(
            self.config.canvas, self.config.low_res, self.config.pixel_mean, self.config.pixel_std
        )

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        *,
        device: str = "auto",
        dtype: str = "auto",
        threads: int | None = None,
    ) -> Predictor:
        """A predictor with real weights, never random ones.

        Args:
            name_or_path: "tiny" (ships with the package), "vit_b", "vit_l", "vit_h", "vit_t" (from the cache folder),
                a `.pth` or `.safetensors` file, a Hugging Face SAM folder, or the folder of a training run.
            device, dtype, threads: as for the class.

        Raises:
            CheckpointError: nothing there, or not a usable checkpoint; the message says what to do.
        """
        loaded = load_model(name_or_path)
        return cls(
            loaded.model,
            fingerprint=loaded.fingerprint,
            metadata=loaded.metadata,
            device=device,
            dtype=dtype,
            threads=threads,
        )

    def encode(self, image: Any) -> ImageEmbedding:
        """Encode one photo.

        Args:
            image: a path, PIL image, array or tensor; see `segany.transforms.image.read_image`.

        Raises:
            ImageError: it is no usable image.
        """
        return self.encode_many([image])[0]

    def encode_many(self, images: Iterable[Any], *, batch_size: int = 4) -> list[ImageEmbedding]:
        """Encode photos of any sizes, `batch_size` at a time."""
        if batch_size < 1:
            raise OptionError(f"batch_size must be at least 1; got {batch_size}. Use 1 for the least memory.")
        embeddings: list[ImageEmbedding] = []
        waiting = iter(images)
        while batch := list(islice(waiting, batch_size)):
            prepared = [self._prepared(read_image(image)) for image in batch]
            features = self.encode_pixels(torch.stack([pixels for pixels, _, _ in prepared]))
            embeddings += [
                ImageEmbedding(row.clone(), frame, self.fingerprint, photo)
                for row, (_, frame, photo) in zip(features, prepared, strict=True)
            ]
        return embeddings

    def _prepared(self, rgb: NDArray[np.uint8]) -> tuple[Tensor, Frame, str]:
        """The canvas of a photo, its frame, and its hash; the photo itself may go."""
        return (*self._transform(rgb), photo_hash(rgb))

    def encode_pixels(self, pixels: Tensor) -> Tensor:
        """(B, 3, S, S) normalised and padded canvas → (B, C, g, g) float32 on the predictor's device."""
        return self._encoder(pixels)

    def decode(
        self,
        image: ImageEmbedding,
        *,
        points: Any = None,
        labels: Any = None,
        boxes: Any = None,
        mask: Any = None,
        text: str | None = None,
        multimask: Multimask = "auto",
    ) -> Prediction:
        """Masks of one prompt, or of P prompts of the same make, on one photo.

        Args:
            image: from `encode`.
            points: (K, 2) or (P, K, 2) x, y in pixels of the original photo.
            labels: likewise without the last axis; 1 foreground, 0 background.
            boxes: (4,) or (P, 4) XYXY in pixels of the original photo.
            mask: boolean or integer, a binary mask of the original size; floating, low-res logits of a prediction. A
                binary mask without points or boxes gets its own exact box added.
            text: not available yet.
            multimask: "auto" gives three candidates for exactly one click or one box without a mask, and the single
                mask otherwise; True and False force it.

        Raises:
            PromptError: the prompt does not fit the photo or the model.
            EmbeddingError: the embedding was made by another model.
        """
        if text is not None:
            raise NotAvailableError("text prompts are not available yet; use points, boxes or a mask.")
        prompt = Prompt(points=points, labels=labels, boxes=boxes, mask=mask, multimask=multimask)
        return self.decode_many([(image, prompt)])[0]

    def decode_many(self, pairs: Sequence[tuple[ImageEmbedding, Prompt | dict[str, Any]]]) -> list[Prediction]:
        """Masks of many prompts on many photos; each result is what `decode` gives for it alone.

        Args:
            pairs: embedding and prompt (or its keyword arguments as a dict), in any mix of sizes and kinds.

        Returns:
            one prediction per pair, in order.
        """
        images, prompts = [], []
        for image, prompt in pairs:
            self.check(image)
            images.append(image)
            prompts.append(prompt if isinstance(prompt, Prompt) else _prompt_of(prompt))
        rows = [rows_of(prompt, image.frame) for image, prompt in zip(images, prompts, strict=True)]
        flat = [(image, row) for image, own in zip(images, rows, strict=True) for row in own]
        low_res, iou = self._decode_rows(flat)
        results, start = [], 0
        for image, prompt, own in zip(images, prompts, rows, strict=True):
            part = slice(start, start + len(own))
            results.append(self._prediction(image, prompt, low_res[part], iou[part]))
            start += len(own)
        return results

    def decode_canvas(
        self,
        features: Tensor,
        *,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
        image_index: Tensor | None = None,
        token_mask: Tensor | None = None,
        memory: int | None = None,
    ) -> tuple[Tensor, Tensor]:
        """All mask tokens of P prompts already in the canvas frame: (P, 4, h, w) logits, (P, 4) predicted IoU, float32.

        Arguments are those of `Sam.decode`; `features` is (B, C, g, g), best on the predictor's device. `memory` takes
        the place of the predictor's for this call. `prompts_per_pass` says how many prompts fit a budget together with
        their results.
        """
        return self._decoding.decode(
            list(features),
            points=points,
            labels=labels,
            boxes=boxes,
            masks=masks,
            image_index=image_index,
            token_mask=token_mask,
            memory=memory or self.memory,
        )

    def check(self, image: ImageEmbedding) -> None:
        """Refuse an embedding that another model made.

        Raises:
            PromptError: it is no embedding.
            EmbeddingError: its model or its canvas is another.
        """
        if not isinstance(image, ImageEmbedding):
            raise PromptError(
                f"decode needs an ImageEmbedding; got {type(image).__name__}. Encode the photo first: "
                "predictor.encode(rgb)."
            )
        if image.fingerprint != self.fingerprint:
            raise EmbeddingError(
                f"the embedding must come from this model ({self.fingerprint[:12]}…); it comes from "
                f"{image.fingerprint[:12]}…. Encode the photo again with this predictor."
            )
        canvas, low_res = self.config.canvas, self.config.low_res
        if (image.frame.canvas, image.frame.low_res) != (canvas, low_res):
            raise EmbeddingError(
                f"the embedding must lie on this model's canvas of {canvas} with low-res side {low_res}; got "
                f"{image.frame.canvas} and {image.frame.low_res}. Encode the photo again with this predictor."
            )

    def _decode_rows(self, rows: list[tuple[ImageEmbedding, PromptRow]]) -> tuple[Tensor, Tensor]:
        groups: dict[tuple[int, bool, bool], list[int]] = defaultdict(list)
        for index, (_, row) in enumerate(rows):
            groups[row.make].append(index)
        side, outputs = self.config.low_res, self.model.mask_decoder.num_mask_tokens
        low_res, iou = torch.empty(len(rows), outputs, side, side), torch.empty(len(rows), outputs)
        step = prompts_per_pass(self.config, self.memory, self.decoding_dtype)
        for members in groups.values():
            for start in range(0, len(members), step):
                part = members[start : start + step]
                distinct = list({id(rows[i][0]): rows[i][0] for i in part}.values())
                place = {id(image): number for number, image in enumerate(distinct)}
                decoded, quality = self._decoding.decode(
                    [image.features.to(self.device) for image in distinct],
                    image_index=torch.tensor([place[id(rows[i][0])] for i in part]),
                    **stack([rows[i][1] for i in part], self.device),
                    memory=self.memory,
                )
                low_res[part], iou[part] = decoded.cpu(), quality.cpu()
        return low_res, iou

    def _prediction(self, image: ImageEmbedding, prompt: Prompt, low_res: Tensor, iou: Tensor) -> Prediction:
        chosen = tuple(range(1, low_res.shape[1])) if prompt.wants_candidates else (0,)
        low_res, iou = low_res[:, chosen], iou[:, chosen]
        upscaler = Upscaler(image.frame)
        masks = np.zeros((*low_res.shape[:2], *image.size_hw), np.bool_)
        for index in np.ndindex(*low_res.shape[:2]):
            upscaler.mask(low_res[index], self.config.mask_threshold, out=masks[index])
        quality, logits = iou.numpy(), low_res.numpy()
        best = quality.argmax(axis=1)
        if prompt.count is None:
            return Prediction(masks[0], quality[0], logits[0], int(best[0]), chosen)
        return Prediction(masks, quality, logits, best, chosen)


def _prompt_of(arguments: Any) -> Prompt:
    if not isinstance(arguments, dict):
        raise PromptError(
            f"decode_many takes pairs of an embedding and a Prompt or a dict of its arguments; got "
            f"{type(arguments).__name__}. Write Prompt(points=[(x, y)], labels=[1])."
        )
    if arguments.get("text") is not None:
        raise NotAvailableError("text prompts are not available yet; use points, boxes or a mask.")
    try:
        return Prompt(**{key: value for key, value in arguments.items() if key != "text"})
    except TypeError as error:
        raise PromptError(
            f"a prompt takes points, labels, boxes, mask, multimask; got {sorted(arguments)}. Rename the others."
        ) from error
