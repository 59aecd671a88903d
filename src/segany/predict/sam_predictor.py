"""`SamPredictor`: the reference's face, same names, order and outputs, thin over `Predictor`.

B prompts of one image · N points per prompt · M masks per prompt · H, W original photo
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from segany.core.errors import ImageError, PromptError
from segany.geometry.frames import Frame, longest_side_size
from segany.modeling.sam import Sam
from segany.predict.embedding import ImageEmbedding
from segany.predict.predictor import Predictor
from segany.predict.upscale import Upscaler
from segany.transforms.image import read_image
from segany.transforms.resize import resize_longest_side

Array = NDArray[Any]


class ResizeLongestSide:
    """The reference's transform: photos, points and boxes to the canvas scale."""

    def __init__(self, target_length: int) -> None:
        self.target_length = target_length

    @staticmethod
    def get_preprocess_shape(oldh: int, oldw: int, long_side_length: int) -> tuple[int, int]:
        """(h, w) with the longest side scaled to `long_side_length`."""
        return longest_side_size((oldh, oldw), long_side_length)

    def _frame(self, original_size: tuple[int, int]) -> Frame:
        return Frame.of((original_size[0], original_size[1]), self.target_length, self.target_length)

    def apply_image(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 → resized (h, w, 3) uint8."""
        return np.array(resize_longest_side(image, self.target_length))

    def apply_coords(self, coords: Array, original_size: tuple[int, int]) -> Array:
        """(…, 2) original pixels → resized pixels."""
        return self._frame(original_size).to_canvas(np.asarray(coords, dtype=np.float64))

    def apply_boxes(self, boxes: Array, original_size: tuple[int, int]) -> Array:
        """(B, 4) original pixels → resized pixels."""
        return self._frame(original_size).boxes_to_canvas(np.asarray(boxes, dtype=np.float64).reshape(-1, 4))

    def apply_image_torch(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) floats → resized (B, 3, h, w), antialiased bilinear; close to `apply_image`, not equal."""
        size = self.get_preprocess_shape(image.shape[2], image.shape[3], self.target_length)
        return functional.interpolate(image, size, mode="bilinear", align_corners=False, antialias=True)

    def apply_coords_torch(self, coords: Tensor, original_size: tuple[int, int]) -> Tensor:
        """Tensors of `apply_coords`, float32."""
        return self._frame(original_size).to_canvas(coords.float())

    def apply_boxes_torch(self, boxes: Tensor, original_size: tuple[int, int]) -> Tensor:
        """Tensors of `apply_boxes`, float32."""
        return self._frame(original_size).boxes_to_canvas(boxes.float().reshape(-1, 4))


class SamPredictor:
    """Set an image once, prompt it many times. It remembers the image, so use one per thread.

    Args:
        sam_model: a `Sam` model, or a `Predictor` to stand on.
    """

    def __init__(self, sam_model: Sam | Predictor) -> None:
        if isinstance(sam_model, Sam):
            sam_model = Predictor(sam_model, device=str(sam_model.device), dtype="float32")
        self.predictor = sam_model
        self.model = sam_model.model
        self.transform = ResizeLongestSide(sam_model.config.canvas)
        self.reset_image()

    @property
    def device(self) -> torch.device:
        return self.predictor.device

    def reset_image(self) -> None:
        """Forget the image and its sizes."""
        self.embedding: ImageEmbedding | None = None

    @property
    def is_image_set(self) -> bool:
        return self.embedding is not None

    @property
    def features(self) -> Tensor | None:
        """(1, C, g, g), or None before an image is set."""
        return None if self.embedding is None else self.embedding.features.unsqueeze(0)

    @property
    def original_size(self) -> tuple[int, int]:
        """(H, W) of the image that is set."""
        return self._set().frame.original_hw

    @property
    def input_size(self) -> tuple[int, int]:
        """(h, w) of the image as it lies on the canvas."""
        return self._set().frame.resized_hw

    def _set(self) -> ImageEmbedding:
        if self.embedding is None:
            raise PromptError("an image must be set before prompts; none is. Call set_image(rgb) first.")
        return self.embedding

    def set_image(self, image: NDArray[np.uint8], image_format: str = "RGB") -> None:
        """Encode a photo.

        Args:
            image: (H, W, 3) uint8.
            image_format: "RGB" or "BGR".

        Raises:
            ImageError: not an image, or another format.
        """
        if image_format not in ("RGB", "BGR"):
            raise ImageError(f"image_format must be RGB or BGR; got {image_format!r}. Convert the image first.")
        rgb = read_image(image)
        self.embedding = self.predictor.encode(rgb if image_format == "RGB" else rgb[..., ::-1])

    def set_torch_image(self, transformed_image: Tensor, original_image_size: tuple[int, ...]) -> None:
        """Encode a photo that is resized already.

        Args:
            transformed_image: (1, 3, h, w) RGB 0–255 with longest side = canvas.
            original_image_size: (H, W) before resizing.

        Raises:
            ImageError: another shape.
        """
        canvas = self.predictor.config.canvas
        shape = tuple(transformed_image.shape)
        if len(shape) != 4 or shape[:2] != (1, 3) or max(shape[2:]) != canvas:
            raise ImageError(
                f"set_torch_image takes (1, 3, h, w) with longest side {canvas}; got {shape}. "
                "Use transform.apply_image_torch first."
            )
        pixels = self.model.preprocess(transformed_image.to(self.device).float())
        frame = Frame(
            (int(original_image_size[0]), int(original_image_size[1])),
            (int(shape[2]), int(shape[3])),
            canvas,
            self.predictor.config.low_res,
        )
        features = self.predictor.encode_pixels(pixels)[0]
        self.embedding = ImageEmbedding(features, frame, self.predictor.fingerprint)

    def predict(
        self,
        point_coords: Array | None = None,
        point_labels: Array | None = None,
        box: Array | None = None,
        mask_input: Array | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
    ) -> tuple[Array, NDArray[np.float32], NDArray[np.float32]]:
        """Masks of one prompt.

        Args:
            point_coords: (N, 2) x, y in pixels of the original photo.
            point_labels: (N,) 1 foreground, 0 background.
            box: (4,) XYXY in pixels of the original photo.
            mask_input: (1, h, w) low-res logits of an earlier call.
            multimask_output: three masks, or one.
            return_logits: unthresholded masks.

        Returns:
            masks (M, H, W) bool or float32, predicted IoU (M,), low-res logits (M, h, w).

        Raises:
            PromptError: no image is set, labels are missing, or a shape is not that of one prompt.
        """
        size = self.original_size
        _check_one_prompt(point_coords, point_labels, box, mask_input)
        points = labels = boxes = logits = None
        if point_coords is not None:
            points = self._tensor(self.transform.apply_coords(point_coords, size), torch.float32).unsqueeze(0)
            labels = self._tensor(point_labels, torch.int64).unsqueeze(0)
        if box is not None:
            boxes = self._tensor(self.transform.apply_boxes(box, size), torch.float32)
        if mask_input is not None:
            logits = self._tensor(mask_input, torch.float32).unsqueeze(0)
        masks, iou, low_res = self.predict_torch(points, labels, boxes, logits, multimask_output, return_logits)
        return masks[0].cpu().numpy(), iou[0].cpu().numpy(), low_res[0].cpu().numpy()

    def _tensor(self, value: Any, dtype: torch.dtype) -> Tensor:
        return torch.as_tensor(np.asarray(value), dtype=dtype, device=self.device)

    def predict_torch(
        self,
        point_coords: Tensor | None,
        point_labels: Tensor | None,
        boxes: Tensor | None = None,
        mask_input: Tensor | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Masks of B prompts whose coordinates are already transformed to the canvas.

        Args:
            point_coords: (B, N, 2) canvas pixels.
            point_labels: (B, N).
            boxes: (B, 4) canvas pixels.
            mask_input: (B, 1, h, w) low-res logits.
            multimask_output: three masks, or one.
            return_logits: unthresholded masks.

        Returns:
            masks (B, M, H, W), predicted IoU (B, M), low-res logits (B, M, h, w).
        """
        embedding = self._set()
        side = embedding.frame.low_res
        if mask_input is not None and (mask_input.ndim != 4 or mask_input.shape[1:] != (1, side, side)):
            raise PromptError(
                f"mask_input must be (B, 1, {side}, {side}) low-res logits of this model; got "
                f"{tuple(mask_input.shape)}. Pass low_res_logits of an earlier call, one per prompt."
            )
        low_res, iou = self.predictor.decode_canvas(
            embedding.features.unsqueeze(0).to(self.device),
            points=point_coords,
            labels=point_labels,
            boxes=None if boxes is None else boxes.reshape(-1, 4),
            masks=mask_input,
        )
        chosen = slice(1, None) if multimask_output else slice(0, 1)
        low_res, iou = low_res[:, chosen], iou[:, chosen]
        upscaler = Upscaler(embedding.frame, self.device)
        if return_logits:
            return upscaler.logits(low_res), iou, low_res
        masks = torch.empty(*low_res.shape[:2], *embedding.size_hw, dtype=torch.bool, device=self.device)
        for flat, one in zip(masks.flatten(0, 1), low_res.flatten(0, 1), strict=True):
            torch.gt(upscaler.logits(one), self.predictor.config.mask_threshold, out=flat)
        return masks, iou, low_res

    def get_image_embedding(self) -> Tensor:
        """(1, C, g, g) of the image that is set."""
        return self._set().features.unsqueeze(0)


def _check_one_prompt(point_coords: Any, point_labels: Any, box: Any, mask_input: Any) -> None:
    if (point_coords is None) != (point_labels is None):
        raise PromptError(
            "point_coords and point_labels (1 foreground, 0 background) go together; got one of them. Give one label "
            "per point."
        )
    points, labels, corners, logits = (np.shape(v) for v in (point_coords, point_labels, box, mask_input))
    wrong = [
        f"{name} {shape}"
        for name, shape, fits in (
            ("point_coords", points, len(points) == 2 and points[1] == 2 and labels == points[:1]),
            ("box", corners, corners in ((4,), (1, 4))),
            ("mask_input", logits, len(logits) == 3 and logits[0] == 1),
        )
        if shape and not fits
    ]
    if wrong:
        raise PromptError(
            "predict takes one prompt: point_coords (N, 2) with one label per point, box (4,), mask_input (1, h, w); "
            f"got {', '.join(wrong)}. For several prompts use predict_torch, or Predictor.decode."
        )
