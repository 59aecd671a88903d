"""Plots for reports: lines, grouped bars, distributions and heat-maps, clean and without a display."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from segany.core.files import atomic_path
from segany.pictures.colors import distinct_color

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LABEL_WIDTH = 18
"""Letters on a line of a bar's name."""


def from_zero(values: Sequence[float]) -> tuple[float, float]:
    """A range for the y axis of values of 0 or more that does not make small differences look large."""
    return 0.0, 1.15 * max(values, default=0.0) or 1.0


def line_plot(
    path: str | Path,
    x: Sequence[float],
    series: Mapping[str, Sequence[float]],
    *,
    title: str = "",
    x_label: str = "",
    y_label: str = "",
    y_range: tuple[float, float] | None = None,
) -> Path:
    """Write a line plot, one line with round marks per series; returns its path.

    Args:
        path: the picture to write; the ending chooses the format (.png, .svg, .pdf).
        x: positions, shown as ticks.
        series: name to values, each as long as `x`.
    """
    figure, axes = _sheet(title, x_label, y_label, y_range)
    for index, (name, values) in enumerate(series.items()):
        axes.plot(x, values, marker="o", markersize=5, linewidth=2, label=name, color=_color(index))
    axes.set_xticks(list(x), [f"{value:g}" for value in x])
    return _finish(figure, axes, len(series), Path(path))


def bar_plot(
    path: str | Path,
    groups: Sequence[str],
    series: Mapping[str, Sequence[float]],
    *,
    title: str = "",
    x_label: str = "",
    y_label: str = "",
    y_range: tuple[float, float] | None = None,
) -> Path:
    """Write a grouped bar plot: one cluster per group, one bar in it per series; returns its path.

    Args:
        path: the picture to write; the ending chooses the format (.png, .svg, .pdf).
        groups: names along the x axis.
        series: name to values, each as long as `groups`.
    """
    figure, axes = _sheet(title, x_label, y_label, y_range)
    width = 0.8 / max(1, len(series))
    counts = all(float(value).is_integer() for values in series.values() for value in values)
    for index, (name, values) in enumerate(series.items()):
        offset = (index - (len(series) - 1) / 2) * width
        bars = axes.bar(
            [position + offset for position in range(len(groups))],
            values,
            width * 0.92,
            label=name,
            color=_color(index),
        )
        axes.bar_label(bars, fmt="%.0f" if counts else "%.2f", fontsize=7, padding=1)
    axes.set_xticks(range(len(groups)), [fill(name, LABEL_WIDTH) for name in groups])
    return _finish(figure, axes, len(series), Path(path))


def step_plot(
    path: str | Path,
    edges: Sequence[float],
    series: Mapping[str, Sequence[float]],
    *,
    title: str = "",
    x_label: str = "",
    y_label: str = "",
) -> Path:
    """Write distributions as steps, one outline per series; returns its path.

    Args:
        path: the picture to write; the ending chooses the format (.png, .svg, .pdf).
        edges: of the bins, one more than there are bins.
        series: name to one value per bin.
    """
    figure, axes = _sheet(title, x_label, y_label, None)
    for index, (name, values) in enumerate(series.items()):
        axes.stairs(list(values), list(edges), label=name, color=_color(index), linewidth=2)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(bottom=0)
    return _finish(figure, axes, len(series), Path(path))


def heat_plot(path: str | Path, maps: Mapping[str, NDArray[Any]], *, title: str = "") -> Path:
    """Write heat-maps side by side, each on its own scale from 0; returns its path.

    Args:
        path: the picture to write; the ending chooses the format (.png, .svg, .pdf).
        maps: name to (Y, X) values of 0 or more, row 0 on top.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = max(1, min(4, len(maps)))
    rows = max(1, -(-len(maps) // columns))
    figure = Figure(figsize=(max(3.6, 2.6 * columns), 2.8 * rows + 0.3), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=11)
    for index, (name, values) in enumerate(maps.items()):
        axes = figure.add_subplot(rows, columns, index + 1)
        axes.imshow(values, cmap="magma", vmin=0, interpolation="nearest")
        axes.set_title(name, fontsize=9)
        axes.set_xticks([])
        axes.set_yticks([])
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=Path(path).suffix.lstrip(".") or "png")
    return Path(path)


def _sheet(title: str, x_label: str, y_label: str, y_range: tuple[float, float] | None) -> tuple[Figure, Axes]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.2), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    if y_range is not None:
        axes.set_ylim(*y_range)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.grid(axis="y", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    return figure, axes


def _finish(figure: Figure, axes: Axes, lines: int, path: Path) -> Path:
    if lines > 1:
        axes.legend(frameon=False, fontsize=9)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=path.suffix.lstrip(".") or "png")
    return path


def _color(index: int) -> str:
    return "#{:02x}{:02x}{:02x}".format(*distinct_color(index))
