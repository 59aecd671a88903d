"""What people see of a benchmark: its table, its ratios, the numbers of its picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

OURS = "segany"


def ratios(report: Mapping[str, Any]) -> dict[str, float]:
    """What → how many times longer the other side takes."""
    medians: dict[tuple[str, str], float] = {(r["what"], r["side"]): r["seconds"]["median"] for r in report["results"]}
    return {
        what: seconds / medians[what, OURS]
        for (what, side), seconds in medians.items()
        if side != OURS and (what, OURS) in medians
    }


def rows(report: Mapping[str, Any]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Header and rows of the table that people see."""
    others = list(dict.fromkeys(row["side"] for row in report["results"] if row["side"] != OURS))
    header = ["what", "segany", "range", *[text for other in others for text in (other, "ratio")]]
    header += [f"x bound {dtype}" for dtype in report["rates"]]
    found = {(row["what"], row["side"]): row for row in report["results"]}
    by_ratio = ratios(report)
    lines = []
    for what in dict.fromkeys(row["what"] for row in report["results"]):
        seconds = found[what, OURS]["seconds"]
        line = [what, spoken(seconds["median"]), f"{spoken(seconds['min'])} to {spoken(seconds['max'])}"]
        for other in others:
            there = found.get((what, other))
            line += [spoken(there["seconds"]["median"]), f"{by_ratio[what]:.1f}x"] if there else ["", ""]
        bounds = found[what, OURS].get("times_bound", {})
        line += [f"{bounds[dtype]:.1f}" if dtype in bounds else "" for dtype in report["rates"]]
        lines.append(tuple(line))
    if memory := report.get("memory"):
        lines.append(("peak memory", f"{memory['peak'] / 1e9:.2f} GB", *[""] * (len(header) - 2)))
    return tuple(header), lines


def spoken(seconds: float) -> str:
    """Seconds as people write them."""
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def bars(report: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """What → side → seconds, for the picture; the bound of the precision in use stands beside."""
    dtype = report["model"]["dtype"]
    shown: dict[str, dict[str, float]] = {}
    for row in report["results"]:
        shown.setdefault(row["what"], {})[row["side"]] = row["seconds"]["median"]
    for row in report["results"]:
        if dtype in row.get("bound_seconds", {}):
            shown[row["what"]][f"bound of matrix products, {dtype}"] = row["bound_seconds"][dtype]
    return shown
