"""Who made this: fingerprints of models and settings, and the identity of a run."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def fingerprint(config: Mapping[str, Any], tensors: Mapping[str, Any] | None = None) -> str:
    """SHA-256 over a config and tensors.

    Args:
        config: JSON-ready values, also sets and numpy ones; neither key order nor set order matters.
        tensors: by name; dtype, shape and raw bytes count, order does not.

    Returns:
        64 hexadecimal digits.

    Raises:
        TypeError: a config value without a stable spelling.
    """
    spelled = json.dumps(config, sort_keys=True, separators=(",", ":"), default=_json_ready)
    digest = hashlib.sha256(spelled.encode())
    for name, tensor in sorted((tensors or {}).items()):
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        digest.update(_raw_bytes(tensor))
    return digest.hexdigest()


def _json_ready(value: Any) -> Any:
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"a fingerprint needs plain values (numbers, text, lists, mappings); got {type(value).__name__}.")


def _raw_bytes(tensor: Any) -> bytes | memoryview:
    import torch

    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return memoryview(flat.view(torch.uint8).numpy()) if flat.numel() else b""


def git_revision() -> str | None:
    """Revision of the source checkout this package runs from, with `+changes` when dirty; None outside one."""
    root = Path(__file__).resolve().parents[3]
    if not (root / ".git").exists():
        return None
    try:
        head = _git(root, "rev-parse", "HEAD")
        return head + ("+changes" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()


def run_identity() -> dict[str, Any]:
    """What a result should say about where it comes from: versions, platform, revision."""
    from segany import __version__

    torch = sys.modules.get("torch")
    return {
        "segany": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "torch": None if torch is None else str(torch.__version__),
        "revision": git_revision(),
    }
