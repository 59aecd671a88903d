"""Small checks that turn what came from a file or a caller into plain Python values."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from segany.core.errors import DataError

SAFE_INTEGER = 2**53 - 1
"""The largest integer that JavaScript keeps exactly."""


def shown(value: Any) -> str:
    """The value for an error message, cut to a readable length."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def number(name: str, value: Any) -> int | float:
    """A finite number as a plain int or float."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.integer | np.floating):
        raise DataError(f"{name} must be a number; got {shown(value)}. Write it as a plain JSON number.")
    plain = value.item() if isinstance(value, np.generic) else value
    if not math.isfinite(plain):
        raise DataError(f"{name} must be finite; got {plain}. Drop the mask or compute the value again.")
    return plain


def integer(name: str, value: Any, *, low: int = 0, high: int = SAFE_INTEGER) -> int:
    """A whole number in [low, high]; 3.0 counts as 3."""
    plain = number(name, value)
    if plain != int(plain) or not low <= plain <= high:
        raise DataError(f"{name} must be a whole number from {low} to {high}; got {shown(value)}.")
    return int(plain)


def numbers(name: str, value: Any, count: int, meaning: str) -> tuple[int | float, ...]:
    """Exactly so many finite numbers."""
    items = _items(value)
    if items is None or len(items) != count:
        raise DataError(f"{name} must be {count} numbers, {meaning}; got {shown(value)}.")
    return tuple(number(name, item) for item in items)


def pairs(name: str, value: Any) -> tuple[tuple[int | float, int | float], ...]:
    """A list of x, y."""
    items = _items(value)
    if items is None:
        raise DataError(f"{name} must be a list of [x, y] in pixels; got {shown(value)}. None is [].")
    points = []
    for item in items:
        x, y = numbers(name, item, 2, "x and y in pixels, in a list of such pairs")
        points.append((x, y))
    return tuple(points)


def text(name: str, value: Any) -> str:
    """A piece of text."""
    if not isinstance(value, str):
        raise DataError(f"{name} must be text; got {shown(value)}.")
    return value


def mapping(name: str, value: Any) -> dict[str, Any]:
    """A JSON object, copied."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise DataError(f"{name} must be a JSON object with text keys; got {shown(value)}.")
    return dict(value)


def listing(name: str, value: Any) -> list[Any]:
    """A JSON list."""
    if not isinstance(value, list | tuple):
        raise DataError(f"{name} must be a list; got {shown(value)}.")
    return list(value)


def need(where: str, value: Mapping[str, Any], keys: tuple[str, ...]) -> None:
    """All these keys are there."""
    missing = [key for key in keys if key not in value]
    if missing:
        raise DataError(
            f"{where} must have the keys {', '.join(keys)}; missing: {', '.join(missing)}. "
            "Check that the file has the format it is read as."
        )


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        DataError: no such file, not JSON, or not an object; the message names the file.
    """
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"expected a JSON file at {path}; there is none. Check the path.") from None
    except OSError as error:
        raise DataError(f"expected a readable JSON file at {path}; got {error.strerror}. Check it.") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} must be JSON; got {error}. The file is damaged or of another kind.") from error
    return mapping(str(path), content)


def to_json(value: Any) -> str:
    """Compact JSON text.

    Raises:
        DataError: something inside is not JSON, as can happen in attributes and unknown keys.
    """
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise DataError(
            f"everything in a record must be plain JSON; got {error}. Look at attributes and extra keys."
        ) from error


def _items(value: Any) -> list[Any] | None:
    if isinstance(value, np.ndarray):
        return list(value) if value.ndim else None
    return list(value) if isinstance(value, list | tuple) else None
