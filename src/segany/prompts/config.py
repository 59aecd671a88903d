"""How prompts are simulated in training, as plain values."""

from __future__ import annotations

from dataclasses import dataclass

from segany.core.errors import OptionError


@dataclass(frozen=True, kw_only=True)
class SimulationConfig:
    """One mask's interaction: a first prompt, clicks into the errors, decodes without a new click.

    Source: Segment Anything (arXiv 2304.02643), training algorithm: 1 + 8 + 1 + 1 = 11 decodes.
    """

    point_share: float = 0.5
    """Share of masks whose first prompt is a click; the others begin with a box. 0 to 1."""
    clicks: int = 8
    """Clicks into the error region after the first prompt. 0 or more; gains flatten after 8."""
    at_once: tuple[int, ...] = ()
    """How many clicks fall together before the second, third, ... decode, 1 or more each; 1 where it ends. Several
    clicks for the price of one decode; the paper lets them fall one by one."""
    refine_inside: int = 1
    """Decodes without a new click, each at a random place among the clicks, per mask. 0 or more."""
    refine_last: int = 1
    """Decodes without a new click at the very end. 0 or more."""
    box_noise: float = 0.1
    """Deviation of every box coordinate, as a share of the box's side along it. 0 or more."""
    box_noise_cap: float = 20.0
    """Largest shift of a box coordinate, canvas pixels. 0 or more."""
    interior: float = 0.0
    """Share of clicks that prefer the inside of their region to its rim; the paper draws all of them uniformly."""
    centre: float = 0.0
    """Share of first clicks that fall where an evaluation clicks, farthest from the rim. 0 to 1; in the paper 0."""

    def __post_init__(self) -> None:
        shares = {"point_share": self.point_share, "interior": self.interior, "centre": self.centre}
        wrong = [f"{name} must be 0 to 1; got {value}" for name, value in shares.items() if not 0 <= value <= 1]
        if any(count < 1 for count in self.at_once):
            wrong.append(f"at_once must be numbers of 1 or more; got {self.at_once}")
        least = ("clicks", "refine_inside", "refine_last", "box_noise", "box_noise_cap")
        wrong += [f"{name} must be 0 or more; got {getattr(self, name)}" for name in least if getattr(self, name) < 0]
        if wrong:
            raise OptionError("prompt simulation: " + "; ".join(wrong) + ". Change these knobs.")

    @property
    def rounds(self) -> int:
        """Decodes per mask."""
        return 1 + self.clicks + self.refine_inside + self.refine_last

    def falling(self, turn: int) -> int:
        """Clicks that fall together before a decode, if any do; `turn` counts from 0, the first prompt."""
        return self.at_once[turn - 1] if 0 < turn <= len(self.at_once) else 1
