"""Does a written file compute what the model computes? Real photos, prompts of every kind, measured.

P prompts · N prompt tokens · M masks · C channels · g grid side · h low-res side
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from segany.export.decoder import BATCH_FILLER, PromptDecoder
from segany.geometry.frames import Frame
from segany.modeling.sam import Sam
from segany.transforms.resize import ImageTransform

PHOTOS = ("astronaut", "chelsea", "coffee")
"""Pictures of scikit-image's wheel: square, 3:2, and 3:2 at another size."""
KINDS = ((1, -1), (1, 0, -1), (2, 3), (1, 2, 3), (1, 1, 0, -1))
"""Labels of the prompts: a click, two, a box, a click in a box, three clicks; −1 is the padding point."""


@dataclass(frozen=True)
class Agreement:
    """How a file's answers compare with the model's.

    Attributes:
        cases: comparisons made.
        largest_difference: of any logit or embedding value, over the largest magnitude there.
        mean_mask_iou, lowest_mask_iou: of the thresholded low-res masks; None for files that give none.
    """

    cases: int
    largest_difference: float
    mean_mask_iou: float | None = None
    lowest_mask_iou: float | None = None

    def to_dict(self) -> dict[str, float | int]:
        """For the manifest, rounded."""
        values: dict[str, float | int | None] = {
            "cases": self.cases,
            "largest_difference": float(f"{self.largest_difference:.3g}"),
            "mean_mask_iou": self.mean_mask_iou,
            "lowest_mask_iou": self.lowest_mask_iou,
        }
        return {key: round(value, 9) for key, value in values.items() if value is not None}


@dataclass(frozen=True)
class Photo:
    """A photo on the model's canvas and what the model sees in it."""

    pixels: Tensor
    embedding: Tensor
    frame: Frame


@dataclass(frozen=True)
class Case:
    """One prompt in the canvas frame, with the answer to compare to."""

    photo: Photo
    coords: Tensor
    labels: Tensor
    mask_input: Tensor
    has_mask: Tensor
    masks: Tensor
    iou: Tensor


def look_at_photos(model: Sam, names: Sequence[str] = PHOTOS) -> list[Photo]:
    """Encode the photos with the model itself."""
    import skimage.data

    config = model.config
    transform = ImageTransform(config.canvas, config.low_res, config.pixel_mean, config.pixel_std)
    photos = []
    for name in names:
        loaded = getattr(skimage.data, name)()
        pixels, frame = transform(loaded[0] if isinstance(loaded, tuple) else loaded)
        with torch.no_grad():
            photos.append(Photo(pixels.unsqueeze(0), model.encode(pixels.unsqueeze(0)).float(), frame))
    return photos


def prompt_cases(model: Sam, photos: Sequence[Photo], rounds: int = 2) -> list[Case]:
    """Seeded prompts of every kind on every photo, without and with a mask hint, answered by the model."""
    decode = PromptDecoder(model)
    draw = torch.Generator().manual_seed(0)
    cases = []
    for photo in photos:
        height, width = photo.frame.resized_hw
        hint = torch.zeros(1, 1, model.config.low_res, model.config.low_res)
        for number in range(rounds * len(KINDS)):
            labels = torch.tensor([KINDS[number % len(KINDS)]], dtype=torch.float32)
            coords = torch.rand(1, labels.shape[1], 2, generator=draw) * torch.tensor([width - 1.0, height - 1.0])
            coords = _sorted_corners(coords, labels)
            has = torch.tensor([float(number >= len(KINDS))])
            given = hint if number >= len(KINDS) else torch.zeros_like(hint)
            with torch.no_grad():
                masks, iou = decode(photo.embedding, coords, labels, given, has)
            cases.append(Case(photo, coords, labels, given, has, masks, iou))
            hint = masks[:, :1]
    return cases


def _sorted_corners(coords: Tensor, labels: Tensor) -> Tensor:
    """Box corners in order, the padding point at the origin."""
    out = torch.where(labels.unsqueeze(-1) == -1, 0.0, coords)
    corners = (labels[0] >= 2).nonzero().flatten()
    if len(corners):
        out[0, corners] = out[0, corners].sort(dim=0).values
    return out


def mask_iou(a: Tensor, b: Tensor, threshold: float) -> Tensor:
    """(…, h, w) logits → (…) IoU of the masks; two empty ones agree."""
    first, second = (a > threshold).flatten(-2), (b > threshold).flatten(-2)
    union = (first | second).sum(dim=-1)
    return torch.where(union == 0, 1.0, (first & second).sum(dim=-1) / union.clamp(min=1))


def compare_embeddings(photos: Sequence[Photo], encode: Callable[[Tensor], Tensor]) -> Agreement:
    """Largest relative difference of the embeddings."""
    worst = max(_difference(encode(photo.pixels), photo.embedding) for photo in photos)
    return Agreement(len(photos), worst)


Answer = tuple[Tensor, Tensor]
"""(P, M, h, h) low-res logits and (P, M) scores."""


def compare_masks(pairs: Iterable[tuple[Answer, Answer]], threshold: float) -> Agreement:
    """Differences of the numbers and IoU of the masks, over pairs of a found and an expected answer."""
    differences, overlaps, cases = [0.0], [], 0
    for (masks, scores), (expected_masks, expected_scores) in pairs:
        differences += [_difference(masks, expected_masks), _difference(scores, expected_scores)]
        overlaps.append(mask_iou(masks, expected_masks, threshold).flatten())
        cases += len(masks)
    every = torch.cat(overlaps)
    return Agreement(cases, max(differences), float(every.mean()), float(every.min()))


def _difference(found: Tensor, expected: Tensor) -> float:
    if found.shape != expected.shape or not bool(torch.isfinite(found).all()):
        return float("inf")
    return float((found - expected).abs().max() / expected.abs().max().clamp(min=1e-9))


def as_batch(cases: Sequence[Case]) -> tuple[Tensor, ...]:
    """Cases of one photo as one ragged batch: the inputs of `decoder_batch.onnx` but the first and the last."""
    longest = max(case.labels.shape[1] for case in cases)
    room = [longest - case.labels.shape[1] for case in cases]
    return (
        torch.cat([functional.pad(case.coords, (0, 0, 0, more)) for case, more in zip(cases, room, strict=True)]),
        torch.cat(
            [functional.pad(case.labels, (0, more), value=BATCH_FILLER) for case, more in zip(cases, room, strict=True)]
        ),
        torch.cat([case.mask_input for case in cases]),
        torch.cat([case.has_mask for case in cases]),
    )
