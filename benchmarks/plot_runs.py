"""Draw what trainings saw on watched photos, run after run along one axis of steps or side by side.

    python benchmarks/plot_runs.py NAME=runs/a NAME=runs/b+runs/c ... -o docs/pictures/curves.png

Each argument is a line: folders of `segany train promptable`, joined by + when one went on from the other. A point is
the mean over the sets of photos that the run looked at.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np

PANELS = {"point_1": "one click", "point_3": "three clicks", "box_1": "box", "box_3": "box and two clicks"}
COLORS = ("#1f6fb4", "#d1582b", "#2c8c4a", "#8a4fb0", "#8a6d3b", "#555555")

Curve = list[tuple[int, float]]


def looks(folder: Path) -> list[tuple[int, dict[str, float]]]:
    """(step, mean over sets of each prompt) of every look of a run."""
    found = []
    for line in (folder / "evaluations.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        by_prompt = defaultdict(list)
        for name, value in row.items():
            if "/" in name:
                by_prompt[name.rpartition("/")[2]].append(value)
        found.append((int(row["step"]), {name: float(np.mean(values)) for name, values in by_prompt.items()}))
    return found


def curves(folders: list[Path]) -> dict[str, Curve]:
    """One curve per prompt through runs that went on from each other."""
    lines: dict[str, Curve] = {name: [] for name in PANELS}
    begin = 0
    for folder in folders:
        rows = looks(folder)
        for step, numbers in rows:
            for name in PANELS:
                lines[name].append((begin + step, numbers[name]))
        begin += rows[-1][0]
    return lines


def draw(path: Path, runs: dict[str, dict[str, Curve]], title: str) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6.4), dpi=130, layout="constrained")
    for axes, (name, label) in zip(figure.subplots(2, 2, sharex=True).flat, PANELS.items(), strict=True):
        for (run, lines), color in zip(runs.items(), COLORS, strict=False):
            steps, values = zip(*lines[name], strict=True)
            axes.plot(steps, values, color=color, marker="o", markersize=3.5, linewidth=1.6, label=run)
        axes.set_title(label, fontsize=10, loc="left")
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].legend(frameon=False, fontsize=9)
    figure.supxlabel("step", fontsize=10)
    figure.supylabel("mean IoU on watched photos", fontsize=10)
    figure.suptitle(title, fontsize=11)
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", help="NAME=FOLDER or NAME=FOLDER+FOLDER")
    parser.add_argument("--title", default="")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    lines = {}
    for text in options.runs:
        name, _, folders = text.partition("=")
        lines[name] = curves([Path(folder) for folder in folders.split("+")])
    draw(options.output, lines, options.title)
    print(f"wrote {options.output}")


if __name__ == "__main__":
    main()
