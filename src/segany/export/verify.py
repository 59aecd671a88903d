"""Does a written file compute what the model computes? Real photos, prompts of every kind, measured.

P prompts · N prompt tokens · M masks · C channels · g grid side · h low-res side
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from segany.export.decoder import BATCH_FILLER, PromptDecoder
from segany.export.graph import GraphSpec, open_session, run_session
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


class Bench:
    """Real photos and prompts, answered by the model once, to hold files against.

    Args:
        model: with real weights, in evaluation mode.
    """

    def __init__(self, model: Sam) -> None:
        self.threshold = model.mask_threshold
        self.decode = PromptDecoder(model)
        self.photos = look_at_photos(model)
        self.cases = prompt_cases(model, self.photos)
        self._image_part: Any = None

    def measure(self, spec: GraphSpec, path: Path, *, with_masks: bool = False) -> Agreement:
        """Run a written file and compare with what it was made from.

        Args:
            spec: what the file was made from; its name says how it is used.
            path: the file, or its 8-bit copy.
            with_masks: for an encoder, also compare the masks that its embeddings lead to.
        """
        session = open_session(path)
        if spec.name == "encoder":
            return self._measure_encoder(session, with_masks)
        if spec.name == "decoder_image":
            self._image_part = session
            return self._measure_image_part(spec, session)
        if spec.name == "decoder_click":
            return compare_masks(
                ((_first_two(self._click(session, case)), (case.masks, case.iou)) for case in self.cases),
                self.threshold,
            )
        groups = [[case] for case in self.cases]
        if spec.name == "decoder_batch":
            groups = [[case for case in self.cases if case.photo is photo] for photo in self.photos]
        return compare_masks(
            ((_answer(run_session(session, decoder_feed(group))), _one_by_one(spec, group)) for group in groups),
            self.threshold,
        )

    def _measure_encoder(self, session: Any, with_masks: bool) -> Agreement:
        found = [run_session(session, [photo.pixels])[0] for photo in self.photos]
        worst = max(_difference(mine, photo.embedding) for mine, photo in zip(found, self.photos, strict=True))
        if not with_masks:
            return Agreement(len(found), worst)
        own = {id(photo): mine for mine, photo in zip(found, self.photos, strict=True)}
        with torch.no_grad():
            masks = compare_masks(
                (
                    (
                        self.decode(own[id(case.photo)], case.coords, case.labels, case.mask_input, case.has_mask),
                        (case.masks, case.iou),
                    )
                    for case in self.cases
                ),
                self.threshold,
            )
        return dataclasses.replace(masks, largest_difference=worst)

    def _measure_image_part(self, spec: GraphSpec, session: Any) -> Agreement:
        worst = 0.0
        for case in self.cases[:: len(KINDS)]:
            given = (case.photo.embedding, case.mask_input, case.has_mask)
            with torch.no_grad():
                expected = spec.module(*given)
            pairs = zip(run_session(session, given), expected, strict=True)
            worst = max([worst, *(_difference(mine, theirs) for mine, theirs in pairs)])
        return Agreement(len(self.cases[:: len(KINDS)]), worst)

    def _click(self, session: Any, case: Case) -> list[Tensor]:
        prepared = run_session(self._image_part, (case.photo.embedding, case.mask_input, case.has_mask))
        return run_session(session, (case.coords, case.labels, *prepared))


def decoder_feed(group: Sequence[Case]) -> list[Tensor]:
    """Inputs of `decoder.onnx` or `decoder_batch.onnx` for cases of one photo."""
    photo = group[0].photo
    return [photo.embedding, *as_batch(group), torch.tensor(photo.frame.original_hw, dtype=torch.float32)]


def _answer(outputs: Sequence[Tensor]) -> Answer:
    return outputs[-1], outputs[1]


def _first_two(outputs: Sequence[Tensor]) -> Answer:
    return outputs[0], outputs[1]


def _one_by_one(spec: GraphSpec, group: Sequence[Case]) -> Answer:
    """What the traced module itself says of each case alone."""
    with torch.no_grad():
        answers = [_answer(spec.module(*decoder_feed([case]))) for case in group]
    return torch.cat([masks for masks, _ in answers]), torch.cat([scores for _, scores in answers])
