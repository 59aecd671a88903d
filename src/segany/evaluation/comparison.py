"""One method against another on the same masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from segany.core.errors import DataError
from segany.evaluation.metrics import Estimate, bootstrap_mean
from segany.evaluation.sampling import MaskRow

AGAINST_BASELINES = (
    ("box", "filled_box"),
    ("box", "grabcut"),
    ("clicks_1", "felzenszwalb"),
    ("oracle_1", "felzenszwalb_oracle"),
)
"""Pairs worth comparing: the model's score and the classic method given the same prompt and the same help."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Mean difference of two scores of the same masks."""

    pack: str
    ours: str
    theirs: str
    difference: Estimate
    """Ours minus theirs; the interval comes from drawing images."""

    @property
    def verdict(self) -> str:
        """ "better" or "worse" when the whole interval says so, else "undecided"."""
        if self.difference.low > 0:
            return "better"
        return "worse" if self.difference.high < 0 else "undecided"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, rounded to 4 digits."""
        difference = {part: round(value, 4) for part, value in asdict(self.difference).items()}
        return {
            "pack": self.pack,
            "ours": self.ours,
            "theirs": self.theirs,
            "difference": difference,
            "verdict": self.verdict,
        }


def compare(
    rows: Sequence[MaskRow], pairs: Sequence[tuple[str, str]] = AGAINST_BASELINES, *, seed: int = 0
) -> list[Comparison]:
    """Paired differences per pack, for every pair of scores.

    Args:
        rows: masks with both scores of every pair.
        pairs: (ours, theirs) score names.
        seed: of the bootstrap.

    Raises:
        DataError: a row lacks one of the scores.
    """
    missing = {name for pair in pairs for name in pair for row in rows if name not in row.scores}
    if missing:
        raise DataError(f"these scores were not measured on every mask: {sorted(missing)}. Run both methods.")
    comparisons = []
    for pack in dict.fromkeys(row.pack for row in rows):
        members = [row for row in rows if row.pack == pack]
        images = [row.image for row in members]
        for ours, theirs in pairs:
            gaps = [row.scores[ours] - row.scores[theirs] for row in members]
            difference = bootstrap_mean(gaps, images, seed=seed)
            comparisons.append(Comparison(pack=pack, ours=ours, theirs=theirs, difference=difference))
    return comparisons


def comparison_markdown(comparisons: Sequence[Comparison], titles: dict[str, str]) -> str:
    """A Markdown table: one line per pair, one column per pack, differences with their intervals.

    Args:
        comparisons: as `compare` gives them.
        titles: headings of score names.
    """
    packs = list(dict.fromkeys(comparison.pack for comparison in comparisons))
    pairs = list(dict.fromkeys((comparison.ours, comparison.theirs) for comparison in comparisons))
    known = {(item.ours, item.theirs, item.pack): item for item in comparisons}
    lines = ["| difference in IoU | " + " | ".join(packs) + " |", "| --- |" + " ---: |" * len(packs)]
    for ours, theirs in pairs:
        cells = []
        for pack in packs:
            gap = known[ours, theirs, pack].difference
            cells.append(f"{gap.mean:+.3f} ({gap.low:+.3f} to {gap.high:+.3f})")
        lines.append(f"| {titles.get(ours, ours)} − {titles.get(theirs, theirs)} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
