"""Even grids of click positions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def point_grid(per_side: int) -> NDArray[np.float64]:
    """(n², 2) x, y in [0, 1], x running fastest, half a step away from every edge."""
    line = (np.arange(per_side) + 0.5) / per_side
    x, y = np.meshgrid(line, line)
    return np.stack([x.ravel(), y.ravel()], axis=1)


def layered_grids(per_side: int, layers: int, downscale_factor: int) -> list[NDArray[np.float64]]:
    """Grid of the whole image and of each crop layer, layer i with int(n / factor^i) points a side."""
    return [point_grid(int(per_side / downscale_factor**layer)) for layer in range(layers + 1)]
