"""Choices that everybody makes alike: by hash, so that neither order nor number of workers matters."""

from __future__ import annotations

import hashlib


def draw(seed: int, purpose: str, name: str) -> float:
    """A number in [0, 1) that depends on its arguments alone.

    Args:
        seed: the project's.
        purpose: what the choice is for, so that different choices are independent.
        name: what is chosen, for example an image's SHA-256.
    """
    digest = hashlib.sha256(f"{seed}/{purpose}/{name}".encode()).digest()
    return int.from_bytes(digest[:7]) / 2**56


def is_held_out(sha256: str, *, share: float, seed: int = 0) -> bool:
    """Whether an image never trains: a property of its bytes, the same in every round."""
    return draw(seed, "held out", sha256) < share


def is_overlap(sha256: str, *, share: float, seed: int = 0) -> bool:
    """Whether several people annotate an image."""
    return draw(seed, "overlap", sha256) < share


def is_reviewed(sha256: str, *, share: float, seed: int = 0) -> bool:
    """Whether an experienced annotator's work on an image is looked at."""
    return draw(seed, "review", sha256) < share
