"""The masks found so far, as parallel columns without bitmaps.

N candidates · H, W the photo
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segany.geometry.boxes import xyxy_to_xywh
from segany.masks.rle import rle_area
from segany.records.record import MaskRecord

Box = tuple[int, int, int, int]


@dataclass
class Candidates:
    """Columns of equal length N.

    Attributes:
        rles: COCO RLE at the size of the photo.
        boxes: (N, 4) XYXY, inclusive maximum, pixels of the photo.
        iou: predicted IoU.
        stability: stability score.
        points: x, y of the click, pixels of the photo.
        tokens: output token the mask came from.
        crops: XYXY of the crop it was found in.
    """

    rles: list[dict[str, Any]] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)
    iou: list[float] = field(default_factory=list)
    stability: list[float] = field(default_factory=list)
    points: list[tuple[float, float]] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    crops: list[Box] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.rles)

    def take(self, indices: Sequence[int] | NDArray[np.int64]) -> Candidates:
        """The candidates at these places, in this order."""
        return Candidates(*([column[int(i)] for i in indices] for column in vars(self).values()))

    def extend(self, other: Candidates) -> None:
        """Append another's candidates."""
        for mine, theirs in zip(vars(self).values(), vars(other).values(), strict=True):
            mine.extend(theirs)

    def box_array(self) -> NDArray[np.float64]:
        """(N, 4) XYXY."""
        return np.array(self.boxes, np.float64).reshape(-1, 4)

    def records(self) -> list[MaskRecord]:
        """As records, in order."""
        return [
            MaskRecord(
                segmentation=self.rles[i],
                area=rle_area(self.rles[i]),
                bbox=_xywh(self.boxes[i]),
                predicted_iou=self.iou[i],
                point_coords=(self.points[i],),
                stability_score=self.stability[i],
                crop_box=_xywh(self.crops[i]),
                output_index=self.tokens[i],
            )
            for i in range(len(self))
        ]


def _xywh(box_xyxy: Box) -> Box:
    x, y, width, height = (int(value) for value in xyxy_to_xywh(box_xyxy))
    return x, y, width, height
