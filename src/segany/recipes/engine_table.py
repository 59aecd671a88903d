"""A rehearsal's report as a table and as a page."""

from __future__ import annotations

from typing import Any

COLUMNS = ("stage", "one_click_miou", "clicks_per_mask", "seconds_per_mask", "masks_per_image", "published")


def table_of(report: dict[str, Any]) -> list[list[str]]:
    """Rows of the rounds' table, the starting weights first."""
    rows = [["start", f"{report['start']['one_click_miou']:.3f}", "–", "–", "–", "–"]]
    for one in report["rounds"]:
        cells = [one[name] for name in COLUMNS]
        shown = ["–" if c is None else f"{c:.2f}" if isinstance(c, float) else str(c) for c in cells]
        rows.append([shown[0], f"{one['one_click_miou']:.3f}", *shown[2:5], "yes" if one["published"] else "no"])
    return rows


def report_markdown(report: dict[str, Any]) -> str:
    """The report as a page."""
    head = "| " + " | ".join(name.replace("_", " ") for name in COLUMNS) + " |"
    lines = ["# Rehearsal of the data engine (simulated annotators)\n", head, "| --- " * len(COLUMNS) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in table_of(report)]
    lines += ["", "One-click mIoU is that of the weights in use after the round, against the data sets' own masks, on "]
    lines[-1] += f"{report['held_out_truth']['images']} photos of the project that never trained."
    lines += ["", "What the automatic stage's filters dropped:", "", "| filter | candidates |", "| --- | ---: |"]
    lines += [f"| {name} | {count} |" for name, count in report["auto"]["filters"].items()]
    return "\n".join(lines) + "\n"
