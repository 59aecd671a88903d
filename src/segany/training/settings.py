"""Configs to and from plain JSON values, and what differs between two."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from segany.core.errors import OptionError
from segany.modeling.config import ModelConfig

T = TypeVar("T")


def to_plain(config: Any) -> Any:
    """A config as JSON-ready value: dataclasses become dicts, tuples lists."""
    if isinstance(config, ModelConfig):
        return json.loads(json.dumps(config.to_dict()))
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        return {item.name: to_plain(getattr(config, item.name)) for item in dataclasses.fields(config)}
    if isinstance(config, Mapping):
        return {str(key): to_plain(value) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return [to_plain(value) for value in config]
    return config


def from_plain(kind: type[T], value: Any, *, base: T | None = None) -> T:
    """Read what `to_plain` wrote, or part of it.

    Args:
        kind: dataclass to build.
        value: mapping of some or all of its fields.
        base: config whose values hold where `value` says nothing; the defaults when left out.

    Raises:
        OptionError: unknown or ill-typed fields, all of them in one message.
    """
    problems: list[str] = []
    built = _build(kind, value, base, "", problems)
    if problems:
        raise OptionError("the config cannot be used: " + "; ".join(problems) + ". Correct these fields.")
    result: T = built
    return result


def _build(kind: Any, value: Any, base: Any, where: str, problems: list[str]) -> Any:
    if kind is ModelConfig:
        return ModelConfig.from_dict(value)
    if dataclasses.is_dataclass(kind):
        return _build_dataclass(kind, value, base, where, problems)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in arguments:
            return None
        rest = [a for a in arguments if a is not type(None)]
        return _build(rest[0], value, base, where, problems) if len(rest) == 1 else value
    if origin is tuple and isinstance(value, list | tuple):
        repeated = arguments[-1] is Ellipsis
        kinds = [arguments[0]] * len(value) if repeated else list(arguments)
        if len(kinds) == len(value):
            pairs = zip(kinds, value, strict=True)
            return tuple(_build(k, v, None, f"{where}[{i}]", problems) for i, (k, v) in enumerate(pairs))
    elif _fits(origin or kind, arguments, value):
        return float(value) if kind is float else value
    problems.append(f"{where or 'the config'} must be {_name(kind)}; got {value!r}")
    return base


def _build_dataclass(kind: Any, value: Any, base: Any, where: str, problems: list[str]) -> Any:
    if not isinstance(value, Mapping):
        problems.append(f"{where or 'the config'} must be a mapping of fields; got {value!r}")
        return base
    hints = typing.get_type_hints(kind)
    known = {item.name for item in dataclasses.fields(kind)}
    dot = f"{where}." if where else ""
    problems += [f"{dot}{name} is not a field (fields: {', '.join(sorted(known))})" for name in set(value) - known]
    given = {
        name: _build(hints[name], value[name], getattr(base, name, None), dot + name, problems)
        for name in known & set(value)
    }
    try:
        return kind(**given) if base is None else dataclasses.replace(base, **given)
    except TypeError as error:
        problems.append(f"{where or 'the config'}: {error}")
    except OptionError as error:
        problems.append(f"{where or 'the config'}: {error}")
    return base


def _fits(kind: Any, arguments: tuple[Any, ...], value: Any) -> bool:
    if kind is typing.Literal:
        return value in arguments
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if isinstance(kind, type):
        return isinstance(value, kind)
    return True


def _name(kind: Any) -> str:
    return getattr(kind, "__name__", None) or str(kind).replace("typing.", "")


def differences(old: Any, new: Any, where: str = "") -> list[str]:
    """Lines `field: old → new` for everything that differs between two plain values."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        lines: list[str] = []
        for key in sorted({*old, *new}):
            path = f"{where}.{key}" if where else str(key)
            lines += differences(old.get(key, "(absent)"), new.get(key, "(absent)"), path)
        return lines
    same_length = isinstance(old, list) and isinstance(new, list) and len(old) == len(new)
    if same_length:
        pairs = enumerate(zip(old, new, strict=True))
        return [line for i, (a, b) in pairs for line in differences(a, b, f"{where}[{i}]")]
    return [] if old == new else [f"{where}: {old!r} → {new!r}"]
