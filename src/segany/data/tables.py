"""What was measured and what was found, as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from segany.data.stats import COUNT_BINS, DatasetStats
from segany.data.validate import Validation


def stats_markdown(results: Sequence[DatasetStats], failed: Sequence[str], missing: Sequence[str]) -> str:
    """The numbers as Markdown tables."""
    header = ["", *[one.name for one in results]]
    rows: list[list[str]] = [
        ["images", *[f"{one.images:,}" for one in results]],
        ["masks", *[f"{one.masks:,}" for one in results]],
        ["masks per image", *[f"{one.mean_masks:.1f}" for one in results]],
    ]
    for name, _ in COUNT_BINS:
        rows.append([f"images with {name} masks", *[f"{one.count_shares()[name]:.1%}" for one in results]])
    for share, name in ((0.25, "first quartile"), (0.5, "median"), (0.75, "third quartile")):
        rows.append([f"relative size, {name}", *[f"{one.size_quantile(share):.3f}" for one in results]])
    rows += [
        ["concavity, mean (sizes alike)", *[f"{one.mean_concavity:.3f}" for one in results]],
        ["centres outside the middle half", *[f"{one.center_spread():.1%}" for one in results]],
        ["empty masks", *[f"{one.empty_masks:,}" for one in results]],
    ]
    text = "# Data set statistics\n\n" + _table(header, rows)
    text += (
        "\nRelative size is √(mask area / image area). Concavity is 1 - area / hull area, measured on equally many "
        "masks of every size. A mask's centre is its centre of mass.\n"
    )
    if failed:
        text += f"\n{len(failed)} images could not be read; first: {failed[0]}\n"
    if missing:
        text += f"\n{len(missing)} images or annotations have no other half; first: {missing[0]}\n"
    return text


def validation_markdown(report: Validation) -> str:
    """What was found as Markdown."""
    text = f"# Validation of {report.name}\n\n{report.images:,} images, {report.masks:,} masks: "
    if report.good:
        return text + "nothing wrong was found.\n"
    content: dict[str, Any] = report.to_json()["offences"]
    text += f"{sum(report.counts.values()):,} offences.\n\n"
    text += _table(
        ["offence", "count", "meaning"],
        [[kind, f"{row['count']:,}", row["meaning"]] for kind, row in content.items()],
    )
    for kind, row in content.items():
        text += f"\n## {kind}\n\n" + "".join(f"- {line}\n" for line in row["first"])
        if row["count"] > len(row["first"]):
            text += f"- and {row['count'] - len(row['first']):,} more\n"
    return text


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"

    return line(header) + line(["---"] * len(header)) + "".join(line(row) for row in rows)
