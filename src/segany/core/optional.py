"""Optional libraries: found when used, or answered by their install line."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from segany.core.errors import MissingDependencyError


def require(module: str, extra: str) -> ModuleType:
    """Import an optional library.

    Args:
        module: dotted name, for example `onnx`.
        extra: the extra of this package that brings it.

    Raises:
        MissingDependencyError: it is not installed; the message holds the install line.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise
        raise MissingDependencyError(
            f"this needs {module}, which is not installed. Install it with: pip install 'segany[{extra}]'"
        ) from error
