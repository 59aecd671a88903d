"""What the filters of automatic masks drop, by name. A candidate counts with the filter that was the first to drop it.

Without the knob `exact`, suppression acts before stability is measured: a mask that a surer one drops is never asked
whether it is stable, and counts with the overlap.
"""

from __future__ import annotations

from collections import Counter

CANDIDATES, MASKS = "candidates", "masks"
"""What the decoder made of all clicks, and what is left of it."""
PREDICTED_IOU, STABILITY, CUT = "predicted IoU", "stability", "cut by a crop's edge"
OVERLAP, OVERLAP_OF_CROPS = "overlap within a crop", "overlap between crops"
AREA, SMALL, SMALL_OVERLAP = "too large", "too small", "overlap after mending"
MASK_OVERLAP, INSIDE = "overlap of masks", "inside a better mask"
FILTERS = (
    PREDICTED_IOU,
    STABILITY,
    CUT,
    OVERLAP,
    OVERLAP_OF_CROPS,
    AREA,
    SMALL,
    SMALL_OVERLAP,
    MASK_OVERLAP,
    INSIDE,
)
"""In the order in which they act."""


def note_overlap(counts: Counter[str], left: int) -> None:
    """Whatever the crops lost and no other filter dropped, a surer mask of the same crop did.

    Args:
        counts: of one photo so far.
        left: candidates of all its crops together.
    """
    counts[OVERLAP] += counts[CANDIDATES] - sum(counts[name] for name in (PREDICTED_IOU, STABILITY, CUT)) - left
