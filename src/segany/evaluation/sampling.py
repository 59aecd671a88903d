"""Which masks are measured, and the loop over them: every scorer sees the same masks in the same run."""

# P masks · H, W image height and width

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from random import Random
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from segany.core.errors import DataError, OptionError
from segany.data.packs import LabelledImage

Image = TypeVar("Image", bound=LabelledImage)
Scorer = Callable[[NDArray[np.uint8], NDArray[np.bool_]], Mapping[str, NDArray[np.float64]]]
"""(H, W, 3) uint8 RGB and (P, H, W) true masks → named scores of shape (P,)."""


@dataclass(frozen=True, kw_only=True)
class SampleConfig:
    """Which images and masks of a pack are measured; equal configs choose equal masks."""

    min_area_share: float = 0.005
    """Masks below this share of the image are left out; in [0, 1]."""
    masks_per_image: int | None = None
    """At most so many masks of one image, drawn at random; None takes all."""
    images_per_pack: int | None = None
    """At most so many images of one pack, drawn at random; None takes all."""
    seed: int = 0
    """Of both draws."""

    def __post_init__(self) -> None:
        if not 0 <= self.min_area_share <= 1:
            raise OptionError(f"min_area_share must be in [0, 1]; got {self.min_area_share}. Half a percent is 0.005.")
        for name in ("masks_per_image", "images_per_pack"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise OptionError(f"{name} must be at least 1; got {value}. Leave it out to take all.")


@dataclass(frozen=True, kw_only=True)
class MaskRow:
    """All scores of one mask."""

    pack: str
    image: str
    """Key of the image inside its pack."""
    mask: int
    """Position among the image's masks that are large enough."""
    area_share: float
    """Share of the image the mask covers."""
    scores: dict[str, float]
    """By name, such as "clicks_3", "box" or "grabcut"."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "pack": self.pack,
            "image": self.image,
            "mask": self.mask,
            "area_share": self.area_share,
            "scores": self.scores,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> MaskRow:
        """The opposite of `to_dict`."""
        try:
            scores = {str(name): float(score) for name, score in values["scores"].items()}
            return cls(
                pack=values["pack"],
                image=values["image"],
                mask=int(values["mask"]),
                area_share=float(values["area_share"]),
                scores=scores,
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"this is not a row of mask scores: {error!r}. Remove the file to start again.") from error


def sample_images(images: Iterable[Image], config: SampleConfig) -> list[Image]:
    """The images to measure, in their own order."""
    every = list(images)
    chosen = _draw(len(every), config.images_per_pack, f"{config.seed}/images")
    return [every[index] for index in chosen]


def sample_masks(
    image: LabelledImage, size_hw: tuple[int, int], config: SampleConfig
) -> tuple[list[int], NDArray[np.bool_]]:
    """The masks of one image to measure.

    Args:
        image: where they come from; all annotators together.
        size_hw: size of the image as read.
        config: what is large enough and how many are wanted.

    Returns:
        positions: of the chosen masks among those large enough.
        masks: (P, H, W), P may be 0.

    Raises:
        DataError: a mask has another size than its image.
    """
    height, width = size_hw
    large = image.masks(max(1, ceil(config.min_area_share * height * width)))
    if any(mask.shape != (height, width) for mask in large):
        raise DataError(
            f"the masks of {image.path} must be {height}x{width} like the image; got "
            f"{sorted({mask.shape for mask in large})}. The label file belongs to another image."
        )
    chosen = _draw(len(large), config.masks_per_image, f"{config.seed}/{image.pack}/{image.key}")
    if not chosen:
        return [], np.zeros((0, height, width), dtype=bool)
    return chosen, np.stack([large[index] for index in chosen])


def score_image(image: LabelledImage, scorers: Sequence[Scorer], config: SampleConfig) -> list[MaskRow]:
    """Read one image, choose its masks and let every scorer measure them."""
    rgb = image.read()
    positions, targets = sample_masks(image, (rgb.shape[0], rgb.shape[1]), config)
    if not positions:
        return []
    scores: dict[str, NDArray[np.float64]] = {}
    for scorer in scorers:
        scores.update(scorer(rgb, targets))
    shares = targets.mean(axis=(1, 2))
    return [
        MaskRow(
            pack=image.pack,
            image=image.key,
            mask=position,
            area_share=float(shares[row]),
            scores={name: float(values[row]) for name, values in scores.items()},
        )
        for row, position in enumerate(positions)
    ]


def score_images(
    images: Iterable[LabelledImage], scorers: Sequence[Scorer], config: SampleConfig
) -> Iterator[list[MaskRow]]:
    """The rows of one image after the other; an image without large masks gives an empty list."""
    for image in images:
        yield score_image(image, scorers, config)


def _draw(count: int, limit: int | None, seed: str) -> list[int]:
    if limit is None or count <= limit:
        return list(range(count))
    digest = hashlib.sha256(seed.encode("utf-8")).digest()
    return sorted(Random(int.from_bytes(digest, "big")).sample(range(count), limit))
