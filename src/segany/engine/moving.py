"""Masks that the sweep, a detector or another data set made come in as documents; what is accepted goes out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Literal

from segany.core.errors import DataError, ImageError, TransitionError
from segany.core.progress import CancelCheck, check_cancelled
from segany.data.sample import Sample, SampleStream
from segany.engine.config import STAGES, Stage
from segany.engine.export import to_record
from segany.engine.values import Accepted, Image
from segany.records.annotation import Annotation, AnnotationDocument, Interaction, Source
from segany.records.gesture import Gesture
from segany.records.record import MaskRecord

if TYPE_CHECKING:
    from segany.engine.store.store import Store

Arrival = Literal["accepted", "prefill", "gold"]
"""What becomes of masks that come in: they count, people start from them, or annotators are tested with them."""


@dataclass(kw_only=True)
class Brought:
    """What came in."""

    images: int = 0
    masks: int = 0
    there_already: int = 0
    refused: list[str] = field(default_factory=list)
    """Why, a line each."""


def document_of(
    image: Image,
    masks: Iterable[MaskRecord],
    *,
    source: Source,
    at: datetime,
    model: str | None = None,
    detector_scores: Sequence[float] | None = None,
) -> AnnotationDocument:
    """A document of masks that no person of the project has touched; empty masks are left out.

    Args:
        image: of the store; every mask must be of its size.
        masks: numbered anew from 0.
        source: what made them: "automatic" the sweep, "model" a detector with the decoder, "imported" somebody else.
        at: when.
        model: fingerprint of the model.
        detector_scores: how sure a detector was of each mask.

    Raises:
        DataError: a mask of another size, or scores that do not belong to the masks.
    """
    given = list(masks)
    if detector_scores is not None and len(detector_scores) != len(given):
        raise DataError(f"every mask must have its score; got {len(given)} masks and {len(detector_scores)} scores.")
    time = at.astimezone(UTC).isoformat().replace("+00:00", "Z")
    annotations: list[Annotation] = []
    for index, mask in enumerate(given):
        if not mask.area:
            continue
        prompts: tuple[Gesture, ...] = ()
        if detector_scores is not None:
            prompts = (Gesture(kind="detector", score=float(detector_scores[index]), at=time),)
        elif source == "automatic":
            prompts = (Gesture(kind="everything", at=time),)
        interaction = Interaction(created=time, modified=time, prompts=prompts, model=model)
        annotations.append(Annotation(mask=replace(mask, id=len(annotations), source=source), interaction=interaction))
    return AnnotationDocument(
        image_id=image.image_id,
        width=image.width,
        height=image.height,
        file_name=image.file_name,
        sha256=image.sha256,
        created=time,
        modified=time,
        annotations=tuple(annotations),
    )


def bring_in(
    store: Store,
    project: int,
    user: int,
    source: SampleStream,
    *,
    stage: Stage = "manual",
    arrival: Arrival = "accepted",
    cancelled: CancelCheck | None = None,
) -> Brought:
    """Take a data set in, photos and masks, from any format that `segany.data.open` reads.

    The same call again does only what is not done yet. What cannot be read is refused, the rest goes on.

    Args:
        store: where it goes.
        project: whose it becomes.
        user: who brings it.
        source: for example ``open_source("annotations.xml")``.
        stage: which it counts for.
        arrival: what becomes of the masks.
        cancelled: asked before every image; what is in stays.

    Raises:
        NotFoundError: no such project or person.
        Cancelled: `cancelled` said so.
    """
    store.project(project), store.user(user)
    told = Brought()
    for sample in source:
        check_cancelled(cancelled)
        try:
            image = store.add_image(project, sample.file_name, sample.load_bytes())
            record = sample.record
            if record.size_hw != image.size_hw:
                raise DataError(f"{sample.name}: the masks are (H, W) = {record.size_hw}, the photo {image.size_hw}.")
            document = document_of(image, record.annotations, source="imported", at=datetime.now(UTC))
            fresh = _arrive(store, user, image, stage, document, arrival)
        except (DataError, ImageError, TransitionError) as error:
            told.refused.append(f"{sample.name}: {error}")
            continue
        told.images += fresh
        told.there_already += not fresh
        told.masks += len(document.annotations) if fresh else 0
    return told


def _arrive(
    store: Store, user: int, image: Image, stage: Stage, document: AnnotationDocument, arrival: Arrival
) -> bool:
    """Put a document where it belongs; whether it was not there yet."""
    if arrival == "accepted":
        key = f"import {stage} {image.project} {image.sha256}"
        return not store.add_accepted(user, image.id, stage, document, key=key)[1]
    if arrival == "prefill":
        store.set_prefill(image.id, stage, document)
    else:
        store.set_gold(user, image.id, document)
    return True


class AcceptedSamples:
    """What is accepted, as samples: for training, statistics and `segany.data.convert`.

    Args:
        store: where it lies.
        project: whose.
        stages: an image that is done in several counts with the first of these.
        simulated: True only simulated people's documents, False only others', None all.
    """

    def __init__(
        self, store: Store, project: int, *, stages: Sequence[Stage] = STAGES, simulated: bool | None = None
    ) -> None:
        self.name = store.project(project).name
        self.missing: tuple[str, ...] = ()
        self._store, self._found = store, list(store.accepted(project, stages, simulated=simulated))

    def __len__(self) -> int:
        return len(self._found)

    def __getitem__(self, index: int) -> Sample:
        one: Accepted = self._found[index]
        record = to_record(one)
        return Sample(
            source=self.name,
            key=f"sa_{one.image.image_id}",
            file_name=record.file_name,
            load_bytes=partial(self._store.image_bytes, one.image),
            load_record=lambda: record,
        )

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))
