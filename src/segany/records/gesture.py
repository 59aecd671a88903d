"""One thing a person, or a detector in their stead, said about a mask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, Self, TypeAlias, get_args

from segany.core.errors import DataError
from segany.records import _checks as check
from segany.records.record import Number

GestureKind: TypeAlias = Literal["point", "box", "brush", "erase", "everything", "detector"]

_FIELDS: dict[str, tuple[str, ...]] = {
    "point": ("x", "y", "label"),
    "box": ("xyxy",),
    "brush": ("radius", "path"),
    "erase": ("radius", "path"),
    "everything": (),
    "detector": ("score",),
}
_ALL = ("x", "y", "label", "xyxy", "radius", "path", "score")


@dataclass(frozen=True, kw_only=True)
class Gesture:
    """A click, a box, a stroke, or an automatic prompt. Building one checks it; what is wrong raises `DataError`."""

    kind: GestureKind
    at: str
    """ISO-8601 time in UTC."""
    x: Number | None = None
    """Of a point: pixels of the image."""
    y: Number | None = None
    """Of a point: pixels of the image."""
    label: int | None = None
    """Of a point: 1 belongs to the object, 0 does not."""
    xyxy: tuple[Number, Number, Number, Number] | None = None
    """Of a box: two corners in pixels of the image."""
    radius: float | None = None
    """Of a stroke: half its width in pixels of the image."""
    path: tuple[tuple[Number, Number], ...] | None = None
    """Of a stroke: where it went, x and y in pixels of the image."""
    score: float | None = None
    """Of a detector: how sure it was."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Keys a reader did not know; written back unchanged."""

    def __post_init__(self) -> None:
        if self.kind not in get_args(GestureKind):
            raise DataError(
                f"a prompt's kind must be one of {', '.join(get_args(GestureKind))}; got {check.shown(self.kind)}."
            )
        utc_time("at", self.at)
        wanted = _FIELDS[self.kind]
        for name in _ALL:
            if (getattr(self, name) is not None) != (name in wanted):
                told = ", ".join(wanted) or "nothing"
                raise DataError(f"a prompt of kind {self.kind} must have {told} and no more; look at {name}.")
        for name in wanted:
            object.__setattr__(self, name, _CHECKS[name](name, getattr(self, name)))
        object.__setattr__(self, "extra", not_known(self.extra, ("kind", "at", *wanted)))

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """The prompt of plain JSON values; keys its kind does not know are kept.

        Raises:
            DataError: an unknown kind, a key is missing or a value wrong.
        """
        given = check.mapping("a prompt", value)
        check.need("a prompt", given, ("kind", "at"))
        kind = given["kind"] if isinstance(given["kind"], str) else ""
        wanted = _FIELDS.get(kind, ())
        check.need(f"a prompt of kind {kind}", given, wanted)
        known = {key: given.pop(key) for key in ("kind", "at", *wanted)}
        return cls(**known, extra=given)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        wanted = {name: _plain(getattr(self, name)) for name in _FIELDS[self.kind]}
        return {"kind": self.kind, **wanted, "at": self.at, **self.extra}


def not_known(extra: Any, known: tuple[str, ...]) -> dict[str, Any]:
    """Unknown keys, copied.

    Raises:
        DataError: one of them is known.
    """
    kept = check.mapping("extra", extra)
    if wrong := sorted(set(kept) & set(known)):
        raise DataError(f"extra holds unknown keys only; got {wrong}. Pass them by their own name.")
    return kept


def utc_time(name: str, value: Any) -> str:
    """An ISO-8601 time in UTC, as it is spelled.

    Raises:
        DataError: not a time, or not in UTC.
    """
    spelled = check.text(name, value)
    try:
        moment = datetime.fromisoformat(spelled)
    except ValueError:
        moment = None
    if moment is None or moment.utcoffset() != timedelta(0):
        raise DataError(
            f"{name} must be a time in UTC by ISO 8601; got {check.shown(spelled)}. Write 2026-01-31T12:00:00Z."
        )
    return spelled


def _label(name: str, value: Any) -> int:
    return check.integer(name, value, low=0, high=1)


def _box(name: str, value: Any) -> tuple[Number, ...]:
    x0, y0, x1, y1 = check.numbers(name, value, 4, "x0, y0, x1, y1 in pixels of the image")
    if x1 < x0 or y1 < y0:
        raise DataError(f"{name} must be x0, y0, x1, y1 with x0 <= x1 and y0 <= y1; got {[x0, y0, x1, y1]}.")
    return x0, y0, x1, y1


def _radius(name: str, value: Any) -> float:
    radius = float(check.number(name, value))
    if radius <= 0:
        raise DataError(f"{name} must be more than 0 pixels; got {radius}.")
    return radius


def _score(name: str, value: Any) -> float:
    return float(check.number(name, value))


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


_CHECKS: dict[str, Any] = {
    "x": check.number,
    "y": check.number,
    "label": _label,
    "xyxy": _box,
    "radius": _radius,
    "path": check.pairs,
    "score": _score,
}
