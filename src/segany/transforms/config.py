"""How far a training view may stray from the photo, as plain values."""

from __future__ import annotations

from dataclasses import dataclass

from segany.core.errors import OptionError


@dataclass(frozen=True, kw_only=True)
class ViewConfig:
    """One of three ways from a photo to the canvas, then mirror and colours.

    The whole photo (`whole` = 1, the paper's way for automatic masks), a random rectangle of it scaled up to the
    canvas, or large-scale jitter (`jitter` set, the paper's way for masks drawn by people).
    """

    whole: float = 0.4
    """Chance that the view is the whole photo, as in prediction. 0 to 1."""
    min_side: float = 0.35
    """Smallest side of a random rectangle, as a share of the photo's shorter side. Above 0, at most 1."""
    jitter: tuple[float, float] | None = None
    """Range of the photo's longest side after resizing, in canvas sides, then cut or padded; the paper: 0.1 to 2."""
    flip: float = 0.5
    """Chance of a mirror image. 0 to 1."""
    colour: float = 0.8
    """Chance of a change of brightness, contrast, saturation and hue. 0 to 1."""
    grey: float = 0.08
    """Chance that colour is taken away. 0 to 1."""

    def __post_init__(self) -> None:
        shares = {name: getattr(self, name) for name in ("whole", "flip", "colour", "grey")}
        wrong = [f"{name} must be 0 to 1; got {value}" for name, value in shares.items() if not 0 <= value <= 1]
        if not 0 < self.min_side <= 1:
            wrong.append(f"min_side must be above 0 and at most 1; got {self.min_side}")
        if self.jitter is not None and not 0 < self.jitter[0] <= self.jitter[1]:
            wrong.append(f"jitter must be two growing scales above 0; got {self.jitter}")
        if wrong:
            raise OptionError("training views: " + "; ".join(wrong) + ". Change these knobs.")


AS_IS = ViewConfig(whole=1.0, flip=0.0, colour=0.0, grey=0.0)
"""No augmentation at all: what the paper does with automatic masks."""
LARGE_SCALE_JITTER = ViewConfig(whole=0.0, jitter=(0.1, 2.0), flip=0.5, colour=0.0, grey=0.0)
"""What the paper does with masks drawn by people (the mirror image is customary with it)."""
