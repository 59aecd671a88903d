"""A model of a person who annotates: where they click, what they take, how long it takes. Nothing is waited for.

All times are assumptions, stated here and in every report; what they show is how effort changes with the model, not how
fast any particular person is.
"""

# H, W photo

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from segany.core.errors import OptionError
from segany.masks.boxes import masks_to_boxes
from segany.masks.rle import decode, encode, rle_iou
from segany.prompts.clicks import depth_map, first_click_center, next_click
from segany.records.annotation import Annotation, Interaction
from segany.records.gesture import Gesture
from segany.records.record import MaskRecord

Mask = NDArray[np.bool_]
Ask = Callable[[Mapping[str, Any]], dict[str, Any]]
"""A prompt of the HTTP API → its result, with low-res logits of all masks."""


@dataclass(frozen=True, kw_only=True)
class HumanConfig:
    """How a simulated person works. Times are active seconds, means of a log-normal distribution."""

    click_noise: float = 0.25
    """Deviation of a click, as a share of how deep in its region it is aimed. 0 or more."""
    box_share: float = 0.15
    """Share of masks that begin with a box, in [0, 1]."""
    box_noise: float = 0.04
    """Deviation of a box's sides, as a share of its width or height. 0 or more."""
    most_clicks: int = 4
    """Clicks on one mask, the box counting as one; then they take the brush. 1 or more."""
    most_strokes: int = 6
    """Strokes of the brush or eraser on one mask, where clicks did not do. 0 or more."""
    enough_iou: float = 0.85
    """From this IoU with the truth they are content, in (0, 1]."""
    keep_iou: float = 0.7
    """A mask that was there is kept from this IoU with the truth, else taken away, in (0, 1]."""
    mend_iou: float = 0.3
    """A mask below this IoU with the truth is not worth mending: they brush it from nothing, in [0, 1]."""
    drop_iou: float = 0.5
    """A mask that stays below this IoU is given up, in [0, 1]."""
    least_share: float = 0.004
    """Smaller things are not marked: share of the photo, in [0, 1]."""
    most_masks: int = 12
    """Masks of one photo, the largest first. 1 or more."""
    mask_seconds: float = 30.0
    """Once a mask took longer, they hand in and go on to the next photo."""
    skip_share: float = 0.02
    """Share of photos that are skipped, in [0, 1]."""
    look_seconds: float = 4.0
    """To look at a new photo."""
    find_seconds: float = 2.0
    """To decide on the next object."""
    click_seconds: float = 1.5
    """To aim and click, and to look at what came of it."""
    box_seconds: float = 4.5
    """To draw a box."""
    stroke_seconds: float = 2.2
    """For a stroke of the brush."""
    check_seconds: float = 1.2
    """To accept a mask, or to check one that was there."""
    remove_seconds: float = 1.5
    """To take a mask away."""
    spread: float = 0.3
    """Deviation of the logarithm of every time. 0 or more."""

    def __post_init__(self) -> None:
        shares = ("box_share", "enough_iou", "keep_iou", "mend_iou", "drop_iou", "least_share", "skip_share")
        for name in shares:
            if not 0 <= getattr(self, name) <= 1:
                raise OptionError(f"{name} must be from 0 to 1; got {getattr(self, name)}. Change it.")
        for name, value in vars(self).items():
            if value < (1 if name in ("most_clicks", "most_masks") else 0):
                raise OptionError(f"{name} is too small: {value}. Raise it.")


@dataclass
class Hand:
    """One person at work on one photo: a clock of their own, their own randomness.

    Args:
        config: how they work.
        rng: randomness.
        began: when they took the photo.
    """

    config: HumanConfig
    rng: np.random.Generator
    began: datetime = field(default_factory=lambda: datetime.now(UTC))
    seconds: float = 0.0

    def spends(self, mean: float) -> None:
        """Active time passes."""
        spread = self.config.spread
        self.seconds += mean * float(np.exp(self.rng.normal(0, spread) - spread**2 / 2))

    @property
    def now(self) -> str:
        """ISO-8601 time in UTC on their clock."""
        return (self.began + timedelta(seconds=self.seconds)).isoformat().replace("+00:00", "Z")

    def near(self, xy: tuple[int, int], region: Mask) -> tuple[float, float]:
        """A click aimed at a pixel of a region: off by a share of its depth, but still inside."""
        depth = float(depth_map(region)[xy[1], xy[0]])
        for _ in range(4):
            x, y = np.round(np.array(xy) + self.rng.normal(0, self.config.click_noise * depth, 2)).astype(int).tolist()
            if 0 <= y < region.shape[0] and 0 <= x < region.shape[1] and region[y, x]:
                return float(x), float(y)
        return float(xy[0]), float(xy[1])

    def box(self, truth: Mask) -> list[float]:
        """A box around an object, as drawn by hand."""
        box = np.asarray(masks_to_boxes(truth[None])[0], np.float64)
        sides = np.array([box[2] - box[0], box[3] - box[1]] * 2)
        off = self.rng.normal(0, self.config.box_noise, 4) * sides
        height, width = truth.shape
        x0, y0, x1, y1 = np.clip(box + off, 0, [width - 1, height - 1] * 2).tolist()
        return [min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)]


@dataclass
class _Best:
    mask: Mask
    iou: float
    predicted: float
    token: int | None
    chosen: int | None
    low_res: str | None


def make_mask(hand: Hand, truth: Mask, ask: Ask, number: int, model: str | None) -> Annotation | None:
    """Mark one object.

    Args:
        hand: who does it.
        truth: (H, W) what they want to have.
        ask: the model.
        number: id of the mask.
        model: fingerprint of the weights asked.

    Returns:
        None when they gave it up.
    """
    config, created, started = hand.config, hand.now, hand.seconds
    hand.spends(config.find_seconds)
    gestures, best = _clicks(hand, truth, ask, started)
    made = best.mask if best.iou >= config.mend_iou else np.zeros_like(truth)
    if best.iou < config.enough_iou:
        made, strokes = _strokes(hand, made, truth)
        gestures += strokes
    hand.spends(config.check_seconds)
    if not made.any() or iou(made, truth) < config.drop_iou:
        return None
    first = next((g for g in gestures if g.kind == "point"), None)
    record = MaskRecord.from_mask(
        made,
        id=number,
        predicted_iou=best.predicted,
        point_coords=() if first is None else ((float(first.x or 0), float(first.y or 0)),),
        output_index=best.token,
        source="model",
    )
    interaction = Interaction(
        created=created,
        modified=hand.now,
        active_seconds=round(hand.seconds - started, 3),
        prompts=tuple(gestures),
        chosen=best.chosen,
        model=model,
    )
    return Annotation(mask=record, interaction=interaction)


def _clicks(hand: Hand, truth: Mask, ask: Ask, started: float) -> tuple[list[Gesture], _Best]:
    """Prompts until they are content, out of clicks or out of time; the best mask on the way is taken."""
    config, gestures = hand.config, list[Gesture]()
    points: list[list[float]] = []
    labels: list[int] = []
    box: list[float] | None = None
    best: _Best | None = None
    low_res: str | None = None
    seen = np.zeros_like(truth)
    while len(gestures) < config.most_clicks:
        if not gestures and hand.rng.random() < config.box_share:
            hand.spends(config.box_seconds)
            box = hand.box(truth)
            gestures.append(Gesture(kind="box", xyxy=(box[0], box[1], box[2], box[3]), at=hand.now))
        else:
            (x, y), label = (first_click_center(truth), 1) if not gestures else next_click(seen, truth)
            region = truth if not gestures else (truth & ~seen if label else seen & ~truth)
            aimed = hand.near((x, y), region if region.any() else truth)
            hand.spends(config.click_seconds)
            points.append(list(aimed))
            labels.append(label)
            gestures.append(Gesture(kind="point", x=aimed[0], y=aimed[1], label=label, at=hand.now))
        prompt: dict[str, Any] = {"points": points, "labels": labels} if points else {}
        prompt |= {} if box is None else {"box": box}
        if low_res is not None:
            prompt |= {"low_res": low_res, "multimask": False}
        got = _taken(ask(prompt), truth)
        if len(gestures) == 1 and got.chosen:
            hand.spends(config.check_seconds / 2)
        low_res, seen = got.low_res, got.mask
        best = got if best is None or got.iou > best.iou else best
        if best.iou >= config.enough_iou or hand.seconds - started > config.mask_seconds:
            break
    assert best is not None
    return gestures, best


def _taken(result: Mapping[str, Any], truth: Mask) -> _Best:
    """Of the candidates the one that looks best."""
    masks = [decode(one["segmentation"]) for one in result["masks"]]
    scores = [iou(mask, truth) for mask in masks]
    index = int(np.argmax(scores))
    given, text = result["masks"][index], result.get("low_res")
    size = None if text is None else len(text) // len(masks)
    logits = None if text is None or size is None else _part(text, index, len(masks))
    return _Best(
        masks[index],
        scores[index],
        given["predicted_iou"],
        given["output_index"],
        index if len(masks) > 1 else None,
        logits,
    )


def _part(text: str, index: int, count: int) -> str:
    """One mask's logits out of the base64 text of all."""
    import base64

    raw = base64.b64decode(text)
    size = len(raw) // count
    return base64.b64encode(raw[index * size : (index + 1) * size]).decode("ascii")


def _strokes(hand: Hand, mask: Mask, truth: Mask) -> tuple[Mask, list[Gesture]]:
    """Brush in what is missing, erase what is too much, the thickest place first, until it is good enough."""
    made, gestures = mask.copy(), list[Gesture]()
    while len(gestures) < hand.config.most_strokes and iou(made, truth) < hand.config.enough_iou:
        missing, extra = truth & ~made, made & ~truth
        region, kind = (missing, "brush") if missing.sum() >= extra.sum() else (extra, "erase")
        path, radius = _path(region)
        hand.spends(hand.config.stroke_seconds)
        stroke = np.zeros(mask.shape, np.uint8)
        for x, y in path:
            cv2.circle(stroke, (x, y), radius, 1, thickness=-1)
        made = (made | stroke.view(bool)) if kind == "brush" else (made & ~stroke.view(bool))
        given = tuple((float(x), float(y)) for x, y in path)
        gestures.append(Gesture(kind=kind, radius=float(max(radius, 0.5)), path=given, at=hand.now))  # type: ignore[arg-type]
    return made, gestures


def _path(region: Mask, most: int = 24) -> tuple[list[tuple[int, int]], int]:
    """A stroke through a region that stays in it, nearly: places at least half as deep as its deepest one."""
    depth = depth_map(region)
    radius = max(1, int(depth.max() * 0.6))
    rows, columns = np.nonzero(depth >= radius)
    if not len(rows):
        rows, columns = np.nonzero(region)
    order = np.lexsort((columns, rows // max(1, radius)))
    step = max(1, len(order) // most)
    return [(int(columns[i]), int(rows[i])) for i in order[::step][:most]], radius


def iou(first: Mask, second: Mask) -> float:
    """Of two masks; 0 when both are empty."""
    union = int(np.count_nonzero(first | second))
    return int(np.count_nonzero(first & second)) / union if union else 0.0


def sort_out(
    hand: Hand, there: Sequence[Annotation], truth: Sequence[Mapping[str, Any]]
) -> tuple[list[Annotation], set[int]]:
    """Go through masks that are there already: keep what is good, take away what is not.

    Args:
        hand: who does it.
        there: masks to start from.
        truth: RLEs of what they want to have.

    Returns:
        What is kept, and which of the true masks are there with it.
    """
    kept: list[Annotation] = []
    had: set[int] = set()
    overlap = rle_iou([one.mask.segmentation for one in there], truth) if there and truth else None
    for index, one in enumerate(there):
        hand.spends(hand.config.check_seconds)
        free = [] if overlap is None else [(overlap[index, m], m) for m in range(len(truth)) if m not in had]
        best = max(free, default=(0.0, -1))
        if best[0] >= hand.config.keep_iou:
            kept.append(one)
            had.add(best[1])
        else:
            hand.spends(hand.config.remove_seconds)
    return kept, had


def prominent(masks: Sequence[Mapping[str, Any]], config: HumanConfig) -> list[dict[str, Any]]:
    """The masks a person would mark, the largest first."""
    areas = [(int(np.count_nonzero(decode(one))), index) for index, one in enumerate(masks)]
    height, width = masks[0]["size"] if masks else (1, 1)
    least = config.least_share * height * width
    chosen = sorted((area, index) for area, index in areas if area >= least)[::-1]
    return [dict(masks[index]) for _, index in chosen[: config.most_masks]]


def truth_of(masks: Sequence[Mask]) -> list[dict[str, Any]]:
    """Masks as RLEs."""
    return [dict(encode(mask)) for mask in masks]
