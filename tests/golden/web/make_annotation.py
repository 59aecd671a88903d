"""Makes ``annotation.json``: an annotation document with one of everything, for the tests of Python and of the page.

Run ``python tests/golden/web/make_annotation.py`` to write it anew.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from segany.records.annotation import Annotation, AnnotationDocument, Interaction, View
from segany.records.gesture import Gesture
from segany.records.record import MaskRecord

HEIGHT, WIDTH = 48, 64
TARGET = Path(__file__).with_name("annotation.json")


def disc(x: float, y: float, radius: float) -> np.ndarray[Any, np.dtype[np.bool_]]:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return np.asarray((columns - x) ** 2 + (rows - y) ** 2 <= radius**2)


def at(second: int) -> str:
    return f"2026-01-31T12:00:{second:02d}.000Z"


def document() -> AnnotationDocument:
    ring = disc(40, 20, 14) & ~disc(40, 20, 6)
    stroke = np.zeros((HEIGHT, WIDTH), bool)
    stroke[40:43, 5:30] = True
    clicked = Annotation(
        mask=MaskRecord.from_mask(
            disc(15, 15, 9),
            id=0,
            predicted_iou=1.015625,
            stability_score=0.96875,
            point_coords=[(15.5, 14.25)],
            output_index=2,
            label="Apfel, größer",
            source="model",
            attributes={"ripe": True, "weight": 0.5},
        ),
        interaction=Interaction(
            prompts=(
                Gesture(kind="point", x=15.5, y=14.25, label=1, at=at(1)),
                Gesture(kind="point", x=30, y=14, label=0, at=at(3)),
                Gesture(kind="box", xyxy=(5, 5, 25, 25), at=at(4)),
            ),
            created=at(1),
            modified=at(4),
            active_seconds=3.5,
            chosen=1,
            model="f" * 64,
        ),
        view=View(colour="#e6194b"),
    )
    painted = Annotation(
        mask=MaskRecord.from_mask(stroke, id=1, source="manual"),
        interaction=Interaction(
            prompts=(
                Gesture(kind="brush", radius=1.5, path=((6.5, 41.5), (28.5, 41.5)), at=at(6)),
                Gesture(kind="erase", radius=1.0, path=((30, 41.5),), at=at(8)),
            ),
            created=at(6),
            modified=at(8),
            active_seconds=2.0,
        ),
        view=View(colour="#3cb44b", hidden=True),
    )
    found = Annotation(
        mask=MaskRecord.from_mask(ring, id=7, predicted_iou=0.875, stability_score=0.9375, source="automatic"),
        interaction=Interaction(
            prompts=(
                Gesture(kind="everything", at=at(9)),
                Gesture(kind="detector", score=0.75, at=at(9)),
            ),
            created=at(9),
            modified=at(9),
            model="f" * 64,
        ),
    )
    return AnnotationDocument(
        image_id=4503599627370496,
        width=WIDTH,
        height=HEIGHT,
        file_name="garden.jpg",
        sha256="0123456789abcdef" * 4,
        created=at(0),
        modified=at(9),
        active_seconds=5.5,
        annotations=(clicked, painted, found),
        image_extra={"camera": {"lens": 50}},
        extra={"note": ["kept", None]},
    )


def text() -> str:
    return json.dumps(document().to_json(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
