"""Detectors of faces and number plates: anything that takes a photo and gives outlines.

The built-in ones run everywhere without a download, and are weak: made for upright, frontal, well-lit faces and for
plates seen from the front. They miss what is turned, small, dark or covered, and find things that are none. They
spare a person most of the work; they do not replace the person's look. Give `YuNetFaces` a model file, or any callable
of your own, for better ones.
"""

# H, W image height and width

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from segany.core.errors import DataError
from segany.core.files import sha256_file
from segany.engine.values import RegionKind

Rgb = NDArray[np.uint8]
Grey = NDArray[np.uint8]

LONG_SIDE = 1000
"""Photos are looked at no larger than this, pixels."""
FACE_CASCADE = "haarcascade_frontalface_default.xml"
PLATE_CASCADE = "haarcascade_russian_plate_number.xml"


@dataclass(frozen=True, kw_only=True)
class Detection:
    """Something that should not be seen."""

    kind: RegionKind
    outline: tuple[tuple[float, float], ...]
    """Corners x, y in pixels of the photo."""
    score: float | None = None
    """How sure the detector is; its own scale."""


class Detector(Protocol):
    """Finds what should not be seen."""

    @property
    def name(self) -> str:
        """Names the detector and its version; a photo is looked at once per name."""
        ...

    def __call__(self, rgb: Rgb) -> Sequence[Detection]:
        """Look at a photo.

        Args:
            rgb: (H, W, 3) uint8.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class BoxDetector:
    """A detector of boxes on a grey picture, made to look at large photos shrunk."""

    name: str
    kind: RegionKind
    find: Callable[[Grey], Sequence[tuple[float, float, float, float]]]
    """Boxes x, y, w, h in pixels of a grey (H, W) picture."""
    margin: float = 0.1
    """How much larger than found the outline is, a share of its width and height on every side."""

    def __call__(self, rgb: Rgb) -> list[Detection]:
        """Boxes as outlines, in pixels of the photo."""
        scale = min(1.0, LONG_SIDE / max(rgb.shape[:2]))
        size = (max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale)))
        grey = cv2.cvtColor(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
        found = self.find(np.asarray(grey, np.uint8))
        return [Detection(kind=self.kind, outline=self._outline(box, scale, rgb)) for box in found]

    def _outline(
        self, box: tuple[float, float, float, float], scale: float, rgb: Rgb
    ) -> tuple[tuple[float, float], ...]:
        (height, width), (x, y, w, h) = rgb.shape[:2], (side / scale for side in box)
        x0, x1 = (float(np.clip(at, 0, width)) for at in (x - self.margin * w, x + w + self.margin * w))
        y0, y1 = (float(np.clip(at, 0, height)) for at in (y - self.margin * h, y + h + self.margin * h))
        return (x0, y0), (x1, y0), (x1, y1), (x0, y1)


def default_detectors() -> list[Detector]:
    """One for faces and one for plates: OpenCV's cascades where its wheel still brings them (before OpenCV 5).

    Without them, faces are found by the frontal cascade of local binary patterns that scikit-image brings, and
    plates by their rows of upright strokes.
    """
    faces = _opencv_cascade(FACE_CASCADE, "face") or _lbp_faces()
    plates = _opencv_cascade(PLATE_CASCADE, "plate")
    return [faces, plates or BoxDetector(name="plates by strokes 1", kind="plate", find=stroke_plates)]


class YuNetFaces:
    """OpenCV's YuNet, from a model file that you bring (``face_detection_yunet_*.onnx`` of the OpenCV zoo).

    Args:
        model: the file.
        least: detections less sure than this are left out, in [0, 1].

    Raises:
        DataError: no such file, or not this model.
    """

    def __init__(self, model: str | Path, *, least: float = 0.6) -> None:
        path = Path(model)
        if not path.is_file():
            raise DataError(f"expected YuNet's model file at {path}; there is none. Get it from the OpenCV zoo.")
        self.name = f"yunet {sha256_file(path)[:12]} at {least:g}"
        self._path, self._least = path, least

    def __call__(self, rgb: Rgb) -> list[Detection]:
        """Faces with their scores."""
        height, width = rgb.shape[:2]
        create: Any = cv2.FaceDetectorYN.create
        try:
            detector = create(str(self._path), "", (width, height), self._least)
            _, found = detector.detect(cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
        except cv2.error as error:
            raise DataError(f"{self._path} must be YuNet's ONNX file; OpenCV says: {error}.") from error
        detections = []
        for x, y, w, h, *_, score in np.zeros((0, 15)) if found is None else found:
            corners = ((x, y), (x + w, y), (x + w, y + h), (x, y + h))
            outline = tuple((float(a), float(b)) for a, b in corners)
            detections.append(Detection(kind="face", outline=outline, score=float(score)))
        return detections


def stroke_plates(grey: Grey) -> list[tuple[float, float, float, float]]:
    """Boxes around what looks like one row of upright strokes on a plain ground, as number plates do.

    Args:
        grey: (H, W) uint8.

    Returns:
        x, y, w, h in pixels.
    """
    edges = cv2.convertScaleAbs(cv2.Sobel(cv2.GaussianBlur(grey, (3, 3), 0), cv2.CV_16S, 1, 0))
    _, strong = cv2.threshold(edges, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    found = []
    for reach in (9, 17, 33):
        closed = cv2.morphologyEx(strong, cv2.MORPH_CLOSE, np.ones((3, reach), np.uint8))
        opened = cv2.morphologyEx(closed, cv2.MORPH_OPEN, np.ones((max(5, reach // 2), reach), np.uint8))
        contours, _ = cv2.findContours(opened, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        boxes = (cv2.boundingRect(contour) for contour in contours)
        found += [(x, y, w, h) for x, y, w, h in boxes if _like_a_plate(grey[y : y + h, x : x + w])]
    return [(float(x), float(y), float(w), float(h)) for x, y, w, h in _outermost(found)]


def _like_a_plate(patch: Grey) -> bool:
    """Wide, and crossed by about as many strokes on every line through its middle."""
    height, width = patch.shape
    if height < 8 or not 2.0 <= width / height <= 7.5:
        return False
    _, ink = cv2.threshold(patch, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    middle = ink[int(0.35 * height) : max(int(0.65 * height), int(0.35 * height) + 1)]
    changes = np.abs(np.diff(middle.astype(np.int8), axis=1)).sum(axis=1)
    share = float(ink.mean())
    return 8 <= float(np.median(changes)) <= 40 and float(np.ptp(changes)) <= 12 and 0.2 <= share <= 0.85


def _outermost(boxes: list[tuple[int, int, int, int]]) -> list[tuple[int, int, int, int]]:
    """Boxes that lie in no larger one."""
    kept: list[tuple[int, int, int, int]] = []
    for x, y, w, h in sorted(set(boxes), key=lambda box: (-box[2] * box[3], box)):
        if not any(a <= x and b <= y and x + w <= a + c and y + h <= b + d for a, b, c, d in kept):
            kept.append((x, y, w, h))
    return kept


def _opencv_cascade(file: str, kind: RegionKind) -> BoxDetector | None:
    folder = getattr(getattr(cv2, "data", None), "haarcascades", "")
    path = Path(folder, file)
    make = getattr(cv2, "CascadeClassifier", None)
    if make is None or not path.is_file():
        return None
    cascade = make(str(path))

    def find(grey: Grey) -> list[tuple[float, float, float, float]]:
        boxes = cascade.detectMultiScale(cv2.equalizeHist(grey), 1.1, 4)
        return [(float(x), float(y), float(w), float(h)) for x, y, w, h in boxes]

    return BoxDetector(name=f"opencv {file.removesuffix('.xml')}", kind=kind, find=find)


def _lbp_faces() -> BoxDetector:
    def find(grey: Grey) -> list[tuple[float, float, float, float]]:
        from skimage import data
        from skimage.feature import Cascade

        model: Any = data.lbp_frontal_face_cascade_filename
        if min(grey.shape) < 24:
            return []
        longest = min(grey.shape)
        found = Cascade(model()).detect_multi_scale(
            img=grey, scale_factor=1.15, step_ratio=1, min_size=(24, 24), max_size=(longest, longest)
        )
        return [(float(one["c"]), float(one["r"]), float(one["width"]), float(one["height"])) for one in found]

    return BoxDetector(name="lbp frontal faces 1", kind="face", find=find, margin=0.2)
