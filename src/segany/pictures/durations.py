"""Pictures of time: how long things take beside each other, and where the time of one thing goes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from segany.core.files import atomic_path
from segany.pictures.colors import distinct_color

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH_INCHES, BAR_INCHES = 8.0, 0.3


def duration_plot(path: str | Path, rows: Mapping[str, Mapping[str, float]], *, title: str = "") -> Path:
    """Write bars of seconds on a logarithmic axis, one group per thing and one bar in it per side; returns its path.

    Args:
        path: the picture to write; the ending chooses the format.
        rows: thing → side → seconds; a side may be missing.
    """
    sides = list(dict.fromkeys(side for values in rows.values() for side in values))
    bars = sum(len(values) for values in rows.values())
    figure, axes = _sheet(title, bars + 0.6 * len(rows))
    place, ticks = 0.0, []
    for values in rows.values():
        ticks.append(place + (len(values) - 1) / 2)
        for side, seconds in values.items():
            axes.barh(place, seconds, 0.86, color=_color(sides.index(side)))
            axes.annotate(
                f" {_spoken(seconds)}",
                (seconds, place),
                va="center",
                fontsize=8,
                textcoords="offset points",
                xytext=(1, 0),
            )
            place += 1
        place += 0.6
    seconds_of_all = [seconds for values in rows.values() for seconds in values.values() if seconds > 0]
    axes.set_xscale("log")
    if seconds_of_all:
        axes.set_xlim(min(seconds_of_all) / 3, max(seconds_of_all) * 4)
    axes.set_yticks(ticks, list(rows))
    for index, side in enumerate(sides):
        axes.barh(0, 0, color=_color(index), label=side)
    return _finish(figure, axes, path, columns=min(4, len(sides)))


def stage_plot(path: str | Path, rows: Mapping[str, Mapping[str, float]], *, title: str = "") -> Path:
    """Write one bar per side, made of its stages end to end, in seconds; returns its path.

    Args:
        path: the picture to write; the ending chooses the format.
        rows: side → stage → seconds.
    """
    stages = list(dict.fromkeys(stage for values in rows.values() for stage in values))
    longest = max((sum(values.values()) for values in rows.values()), default=1.0) or 1.0
    figure, axes = _sheet(title, 2.2 * len(rows))
    for place, values in enumerate(rows.values()):
        left = 0.0
        for stage, seconds in values.items():
            color = _color(stages.index(stage))
            axes.barh(place, seconds, 0.62, left=left, color=color, edgecolor="white", linewidth=0.6)
            if seconds > 0.09 * longest:
                axes.text(
                    left + seconds / 2, place, _spoken(seconds), ha="center", va="center", fontsize=8, color="#202020"
                )
            left += seconds
        axes.text(left + 0.008 * longest, place, _spoken(left), va="center", fontsize=9, fontweight="bold")
    axes.set_xlim(0, 1.14 * longest)
    axes.set_yticks(range(len(rows)), list(rows))
    for index, stage in enumerate(stages):
        axes.barh(0, 0, color=_color(index), label=stage)
    return _finish(figure, axes, path, columns=min(5, len(stages)))


def _sheet(title: str, bars: float) -> tuple[Figure, Axes]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH_INCHES, 1.5 + BAR_INCHES * bars), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_xlabel("seconds")
    axes.invert_yaxis()
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    return figure, axes


def _finish(figure: Figure, axes: Axes, path: str | Path, columns: int) -> Path:
    figure.legend(
        *axes.get_legend_handles_labels(), loc="outside lower center", ncols=max(1, columns), frameon=False, fontsize=9
    )
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=Path(path).suffix.lstrip(".") or "png")
    return Path(path)


def _spoken(seconds: float) -> str:
    if seconds < 0.1:
        return f"{seconds * 1000:.2g} ms" if seconds < 0.01 else f"{seconds * 1000:.0f} ms"
    return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.0f} s"


def _color(index: int) -> str:
    return "#{:02x}{:02x}{:02x}".format(*distinct_color(index))
