"""Scores of many masks as tables for people, JSON for programs and plots for both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segany.core.errors import DataError
from segany.evaluation.metrics import Estimate, bootstrap_mean
from segany.evaluation.sampling import MaskRow

if TYPE_CHECKING:
    from rich.table import Table

TITLES = {
    "oracle_1": "1 click, oracle",
    "clicks_1": "1 click",
    "box": "box",
    "filled_box": "filled box",
    "grabcut": "GrabCut",
    "felzenszwalb": "Felzenszwalb, 1 click",
    "felzenszwalb_oracle": "Felzenszwalb, best of 3",
}
"""Headings of the scores that tables show; "clicks_N" besides."""

_UNLISTED = ("mean_1", "largest_1", "predicted_1", "box_oracle", "box_predicted")
_CLICKS = "clicks_"


@dataclass(frozen=True, kw_only=True)
class PackSummary:
    """The scores of one pack."""

    pack: str
    images: int
    """Images with at least one measured mask."""
    masks: int
    scores: dict[str, Estimate]
    """Mean over masks by score name, interval from drawing images."""

    @property
    def predicted_best_share(self) -> float | None:
        """What choosing by predicted IoU keeps of the oracle's mean after one click; None if not measured."""
        if not {"clicks_1", "oracle_1"} <= set(self.scores) or self.scores["oracle_1"].mean == 0:
            return None
        return self.scores["clicks_1"].mean / self.scores["oracle_1"].mean

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, rounded to 4 digits."""
        return {
            "pack": self.pack,
            "images": self.images,
            "masks": self.masks,
            "predicted_best_share": _rounded(self.predicted_best_share),
            "scores": {
                name: {part: _rounded(value) for part, value in asdict(estimate).items()}
                for name, estimate in self.scores.items()
            },
        }


def summarise(rows: Sequence[MaskRow], *, seed: int = 0) -> list[PackSummary]:
    """Means per pack with 95 % intervals, packs in the order of their first row.

    Args:
        rows: all measured masks; those of one pack carry the same scores.
        seed: of the bootstrap.

    Raises:
        DataError: there is nothing to summarise, or rows of one pack carry different scores.
    """
    if not rows:
        raise DataError("no mask was large enough to measure. Lower min_area_share, raise the limits or add packs.")
    by_pack: dict[str, list[MaskRow]] = {}
    for row in rows:
        by_pack.setdefault(row.pack, []).append(row)
    return [_summarise_pack(pack, members, seed) for pack, members in by_pack.items()]


def _summarise_pack(pack: str, rows: Sequence[MaskRow], seed: int) -> PackSummary:
    names = list(rows[0].scores)
    if any(set(row.scores) != set(names) for row in rows):
        raise DataError(f"the rows of {pack} carry different scores; they come from different runs. Start again.")
    images = [row.image for row in rows]
    scores = {name: bootstrap_mean([row.scores[name] for row in rows], images, seed=seed) for name in names}
    return PackSummary(pack=pack, images=len(set(images)), masks=len(rows), scores=scores)


def columns_of(summaries: Sequence[PackSummary]) -> dict[str, str]:
    """Score names to show with their headings: oracle, clicks by number, box, then everything else."""
    names = {name: None for summary in summaries for name in summary.scores if name not in _UNLISTED}
    ranked = sorted(names, key=_rank)
    return {name: _title(name) for name in ranked}


def _rank(name: str) -> tuple[int, int]:
    if name == "oracle_1":
        return 0, 0
    if name.startswith(_CLICKS):
        return 1, int(name.removeprefix(_CLICKS))
    order = list(TITLES)
    return 2, order.index(name) if name in order else len(order)


def _title(name: str) -> str:
    if name.startswith(_CLICKS) and name not in TITLES:
        return f"{name.removeprefix(_CLICKS)} clicks"
    return TITLES.get(name, name)


def mean_of_packs(summaries: Sequence[PackSummary], name: str) -> float | None:
    """Unweighted mean over packs of one score; None if a pack lacks it."""
    if any(name not in summary.scores for summary in summaries):
        return None
    return sum(summary.scores[name].mean for summary in summaries) / len(summaries)


def to_json(summaries: Sequence[PackSummary], about: Mapping[str, Any]) -> dict[str, Any]:
    """The whole report as plain values.

    Args:
        summaries: one per pack.
        about: what was run: model, config, counts.
    """
    means = {name: _rounded(mean_of_packs(summaries, name)) for name in summaries[0].scores}
    return {
        "protocol": "points",
        "about": dict(about),
        "packs": [summary.to_dict() for summary in summaries],
        "mean_of_packs": means,
    }


def to_markdown(summaries: Sequence[PackSummary], names: Sequence[str] | None = None, *, intervals: bool = True) -> str:
    """A Markdown table: one line per pack, one column per score.

    Args:
        summaries: one per pack.
        names: scores to show, in this order; None shows all that have a heading.
        intervals: add the 95 % interval behind each mean.
    """
    columns = columns_of(summaries)
    if names is not None:
        columns = {name: _title(name) for name in names}
    lines = [
        _line(["pack", "images", "masks", *columns.values()]),
        _line(["---", *["---:"] * (2 + len(columns))]),
    ]
    lines += [_line(_cells(summary, columns, intervals)) for summary in summaries]
    if len(summaries) > 1:
        means = [_number(mean_of_packs(summaries, name)) for name in columns]
        lines.append(_line(["mean of packs", "", "", *means]))
    return "\n".join(lines) + "\n"


def ranking_markdown(summaries: Sequence[PackSummary]) -> str:
    """How well the model chooses among its three masks after one click, as a Markdown table.

    Empty when the summaries do not hold the three-mask scores.
    """
    names = ("mean_1", "largest_1", "clicks_1", "oracle_1")
    if any(name not in summary.scores for summary in summaries for name in names):
        return ""
    head = ["pack", "any of the three", "the largest", "the predicted best", "oracle", "predicted / oracle"]
    lines = [_line(head), _line(["---", *["---:"] * 5])]
    for summary in summaries:
        values = [_number(summary.scores[name].mean) for name in names]
        lines.append(_line([summary.pack, *values, _number(summary.predicted_best_share)]))
    return "\n".join(lines) + "\n"


def rich_table(summaries: Sequence[PackSummary], title: str = "") -> Table:
    """The same table for a terminal, means only."""
    from rich.table import Table

    columns = columns_of(summaries)
    table = Table(title=title or None)
    for heading in ("pack", "images", "masks", *columns.values()):
        table.add_column(heading, justify="left" if heading == "pack" else "right")
    for summary in summaries:
        table.add_row(*_cells(summary, columns, intervals=False))
    return table


def plot_clicks(path: str | Path, summaries: Sequence[PackSummary], *, title: str = "") -> Path | None:
    """Mean IoU against the number of clicks, one line per pack; None when no clicks were measured.

    Args:
        path: the picture to write; the ending chooses the format.
        summaries: one per pack.
        title: above the plot.
    """
    from segany.pictures.plots import line_plot

    names = [name for name in columns_of(summaries) if name.startswith(_CLICKS)]
    if not names:
        return None
    clicks = [int(name.removeprefix(_CLICKS)) for name in names]
    series = {summary.pack: [summary.scores[name].mean for name in names] for summary in summaries}
    return line_plot(path, clicks, series, title=title, x_label="clicks", y_label="mean IoU", y_range=(0.0, 1.0))


def plot_bars(path: str | Path, summaries: Sequence[PackSummary], names: Sequence[str], *, title: str = "") -> Path:
    """Chosen scores side by side, one cluster of bars per pack."""
    from segany.pictures.plots import bar_plot

    series = {_title(name): [summary.scores[name].mean for summary in summaries] for name in names}
    packs = [summary.pack for summary in summaries]
    return bar_plot(path, packs, series, title=title, y_label="mean IoU", y_range=(0.0, 1.0))


def _cells(summary: PackSummary, columns: Mapping[str, str], intervals: bool) -> list[str]:
    cells = [summary.pack, f"{summary.images}", f"{summary.masks}"]
    for name in columns:
        estimate = summary.scores.get(name)
        if estimate is None:
            cells.append("–")
        elif intervals:
            cells.append(f"{_number(estimate.mean)} ({_number(estimate.low)}–{_number(estimate.high)})")
        else:
            cells.append(_number(estimate.mean))
    return cells


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def fill_marked(text: str, name: str, content: str) -> str:
    """Replace what stands between ``<!-- name:start -->`` and ``<!-- name:end -->``.

    Args:
        text: the whole page.
        name: of the two marker comments.
        content: what shall stand between them.

    Raises:
        DataError: the markers are missing, doubled or in the wrong order.
    """
    start, end = f"<!-- {name}:start -->", f"<!-- {name}:end -->"
    if text.count(start) != 1 or text.count(end) != 1 or text.index(start) > text.index(end):
        raise DataError(f"the page needs one line {start} and after it one line {end}; put them where {name} go.")
    before, rest = text.split(start)
    _, after = rest.split(end)
    return f"{before}{start}\n{content.strip()}\n{end}{after}"
