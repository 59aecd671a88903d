"""One seed for every source of randomness."""

from __future__ import annotations

import random


def seed_everything(seed: int) -> None:
    """Seed Python, numpy's global state and torch on every device."""
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 (libraries still draw from the global state)
    torch.manual_seed(seed)
