"""Even grids of click positions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from segany.core.errors import OptionError


def point_grid(per_side: int) -> NDArray[np.float64]:
    """(n², 2) x, y in [0, 1], x running fastest, half a step away from every edge.

    Raises:
        OptionError: fewer than one point a side.
    """
    if per_side < 1:
        raise OptionError(f"points per side must be 1 or more; got {per_side}. The usual number is 32.")
    line = np.linspace(0.5 / per_side, 1 - 0.5 / per_side, per_side)
    x, y = np.meshgrid(line, line)
    return np.stack([x.ravel(), y.ravel()], axis=1)


def layered_grids(per_side: int, layers: int, downscale_factor: int) -> list[NDArray[np.float64]]:
    """Grid of the whole image and of each crop layer, layer i with int(n / factor^i) points a side.

    Raises:
        OptionError: a factor below 1, or a layer left without points.
    """
    if downscale_factor < 1:
        raise OptionError(
            f"the grid's downscale factor must be 1 or more; got {downscale_factor}. 1 keeps it as it is."
        )
    last = int(per_side / downscale_factor**layers)
    if last < 1:
        raise OptionError(
            f"every crop layer needs at least one point a side; {per_side} points with factor {downscale_factor} leave "
            f"{last} in layer {layers}. Use fewer layers, a smaller factor or more points."
        )
    return [point_grid(int(per_side / downscale_factor**layer)) for layer in range(layers + 1)]
