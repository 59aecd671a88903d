"""Plots for reports: lines and grouped bars, clean and without a display."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from segany.core.files import atomic_path
from segany.pictures.colors import distinct_color

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


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
    for index, (name, values) in enumerate(series.items()):
        offset = (index - (len(series) - 1) / 2) * width
        bars = axes.bar(
            [position + offset for position in range(len(groups))],
            values,
            width * 0.92,
            label=name,
            color=_color(index),
        )
        axes.bar_label(bars, fmt="%.2f", fontsize=7, padding=1)
    axes.set_xticks(range(len(groups)), list(groups))
    return _finish(figure, axes, len(series), Path(path))


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
