"""Plots of a project: its data set, its people, its rounds. What simulated people made says so in its title."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from segany.data.stats import COUNT_BINS, DatasetStats
from segany.engine.statistics import ProjectNumbers
from segany.engine.values import Round

SIMULATED = " (simulated annotators)"
ROUND_METRICS = {
    "one_click_miou": ("One click on images held out", "mean IoU"),
    "seconds_per_mask": ("Effort", "active seconds per mask"),
    "clicks_per_mask": ("Effort", "points and boxes per mask"),
    "masks_per_image": ("Masks per image", "masks"),
}
"""What a round reports: title and unit of its plot."""


def dataset_figures(stats: DatasetStats, folder: Path, *, simulated: bool) -> list[Path]:
    """Masks per image, relative size, concavity and centres, as in the SA-1B paper's analyses.

    Source: Segment Anything (arXiv 2304.02643), mask properties.
    """
    from segany.pictures.plots import bar_plot, heat_plot, step_plot

    mark, config = SIMULATED if simulated else "", stats.config
    return [
        bar_plot(
            folder / "masks_per_image.png",
            [name for name, _ in COUNT_BINS],
            {stats.name: list(stats.count_shares().values())},
            title="Masks per image" + mark,
            x_label="masks",
            y_label="share of images",
        ),
        step_plot(
            folder / "relative_size.png",
            np.linspace(0, 1, config.size_bins + 1).tolist(),
            {stats.name: stats.size_shares().tolist()},
            title="Relative mask size" + mark,
            x_label="√(mask area / image area)",
            y_label="share of masks",
        ),
        step_plot(
            folder / "concavity.png",
            np.linspace(0, 1, config.concavity_bins + 1).tolist(),
            {stats.name: stats.concavity_shares().tolist()},
            title="Concavity, sizes weighing alike" + mark,
            x_label="1 - area / hull area",
            y_label="share of masks",
        ),
        heat_plot(
            folder / "centers.png", {stats.name: stats.centers}, title="Mask centres, image size taken as 1" + mark
        ),
    ]


def round_figures(rounds: Sequence[Round], folder: Path, *, simulated: bool) -> list[Path]:
    """One plot per metric over the rounds that report it."""
    from segany.pictures.plots import from_zero, line_plot

    made = []
    for name, (title, unit) in ROUND_METRICS.items():
        known = [one for one in rounds if isinstance(one.metrics.get(name), int | float)]
        if known:
            values = [float(one.metrics[name]) for one in known]
            made.append(
                line_plot(
                    folder / f"{name}.png",
                    [one.number for one in known],
                    {unit: values},
                    title=title + (SIMULATED if simulated else ""),
                    x_label="round",
                    y_label=unit,
                    y_range=from_zero(values),
                )
            )
    return made


def people_figures(numbers: ProjectNumbers, folder: Path) -> list[Path]:
    """Submissions and verdicts per day, and seconds per mask of every annotator."""
    from segany.pictures.plots import bar_plot

    mark = SIMULATED if numbers.simulated else ""
    made = []
    if numbers.days:
        kinds = ("submit", "accept", "fix", "reject", "skip")
        made.append(
            bar_plot(
                folder / "throughput.png",
                list(numbers.days),
                {kind: [float(day.get(kind, 0)) for day in numbers.days.values()] for kind in kinds},
                title="Images per day" + mark,
                y_label="images",
            )
        )
    timed = [one for one in numbers.people if one.work.seconds_per_mask is not None]
    if timed:
        made.append(
            bar_plot(
                folder / "seconds_per_mask.png",
                [one.name + (" (simulated)" if one.simulated else "") for one in timed],
                {"seconds": [one.work.seconds_per_mask or 0.0 for one in timed]},
                title="Active seconds per mask" + mark,
                y_label="seconds",
            )
        )
    return made
