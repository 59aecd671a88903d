"""Running detectors over a project's photos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from segany.core.progress import CancelCheck, Progress, check_cancelled
from segany.engine.privacy.detectors import Detector, default_detectors

if TYPE_CHECKING:
    from segany.engine.store.store import Store


@dataclass(frozen=True, kw_only=True)
class LookResult:
    """What was looked at and found."""

    images: int
    regions: int
    detectors: tuple[str, ...]


def look_for_people(
    store: Store,
    project: int,
    *,
    detectors: Sequence[Detector] | None = None,
    progress: Progress | None = None,
    cancelled: CancelCheck | None = None,
) -> LookResult:
    """Run detectors over every photo; one that has looked at a photo already does not do so again.

    Args:
        store: where photos and findings lie.
        project: whose photos.
        detectors: `default_detectors` when None.
        progress: told (photos done, photos in all).
        cancelled: asked before every photo; what is done stays.

    Raises:
        DataError: a photo is gone or damaged.
        Cancelled: `cancelled` said so.
    """
    from segany.transforms.encoded import decode_image

    chosen = list(detectors) if detectors is not None else default_detectors()
    images = store.images(project)
    regions = 0
    for done, image in enumerate(images, start=1):
        check_cancelled(cancelled)
        rgb = None
        for detector in chosen:
            if store.was_looked_at(image.id, detector.name):
                continue
            if rgb is None:
                rgb = decode_image(store.image_bytes(image), image.file_name)
            found = [(one.kind, one.outline, one.score) for one in detector(rgb)]
            store.note_detections(image.id, detector.name, found)
            regions += len(found)
        if progress is not None:
            progress(done, len(images))
    return LookResult(images=len(images), regions=regions, detectors=tuple(one.name for one in chosen))
