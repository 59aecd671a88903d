"""Coming in from other data sets and tools, and going out to them."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sa = pytest.importorskip("sqlalchemy")

from segany.core.errors import DataError  # noqa: E402
from segany.data.convert import open_target  # noqa: E402
from segany.data.open import open_source  # noqa: E402
from segany.engine.moving import AcceptedSamples, bring_in, document_of  # noqa: E402
from segany.records.formats.cvat import write_cvat  # noqa: E402
from segany.records.record import ImageRecord, MaskRecord  # noqa: E402

from .conftest import HEIGHT, WIDTH, Desk, box_mask, photo  # noqa: E402

BOX, OTHER = (2, 2, 12, 12), (14, 4, 28, 20)
MakeDesk = Callable[..., Desk]
NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture
def cvat(tmp_path: Path) -> Path:
    """Two photos with their masks, and a third whose photo is of another size."""
    records = []
    for number in range(3):
        (tmp_path / "cvat").mkdir(exist_ok=True)
        (tmp_path / "cvat" / f"{number}.png").write_bytes(photo(number))
        size = (HEIGHT, WIDTH) if number < 2 else (5, 5)
        mask = np.zeros(size, bool)
        mask[1:3, 1:4] = True
        made = (MaskRecord.from_mask(mask, label="leaf"), MaskRecord.from_mask(mask * 0))
        records.append(
            ImageRecord(image_id=number, height=size[0], width=size[1], file_name=f"{number}.png", annotations=made)
        )
    return write_cvat(records, tmp_path / "cvat" / "annotations.xml")


def test_a_tools_project_becomes_ours_once(desk: MakeDesk, cvat: Path) -> None:
    d = desk(images=0)
    told = bring_in(d.store, d.project, d.admin, open_source(cvat))
    assert (told.images, told.masks, told.there_already, len(told.refused)) == (2, 2, 0, 1)
    assert "(5, 5)" in told.refused[0]
    again = bring_in(d.store, d.project, d.admin, open_source(cvat))
    assert (again.images, again.there_already) == (0, 2)
    found = list(d.store.accepted(d.project))
    assert [one.document.document.annotations[0].mask.label for one in found] == ["leaf", "leaf"]
    assert {one.document.document.annotations[0].mask.source for one in found} == {"imported"}


@pytest.mark.parametrize("address", ["sqlite"], indirect=True)
def test_masks_that_come_in_to_be_completed_or_to_test_with(desk: MakeDesk, cvat: Path) -> None:
    d = desk(images=0, gold_every=1)
    bring_in(d.store, d.project, d.admin, open_source(cvat), stage="semi", arrival="prefill")
    bring_in(d.store, d.project, d.admin, open_source(cvat), arrival="gold")
    work = d.store.claim(d.project, d.ann, stage="semi")
    assert work and work.task.purpose == "gold" and work.document is None, "an answer is not shown"
    d.store.skip(d.ann, work.lease, "enough of tests", key=d.key())
    states = {task.purpose: task.state for task in d.store.tasks(d.project)}
    assert states == {"work": "queued", "gold": "skipped"}


@pytest.mark.parametrize("address", ["sqlite"], indirect=True)
@pytest.mark.parametrize("format", ["cvat", "labelstudio", "labelme", "coco", "sa1b"])
def test_what_is_accepted_goes_out_in_every_format(desk: MakeDesk, tmp_path: Path, format: Any) -> None:
    d = desk(images=2, review_first=0, review_share=0.0)
    d.store.open_stage(d.project, "manual")
    d.done(d.ann, BOX, OTHER), d.done(d.bob, BOX)
    samples = AcceptedSamples(d.store, d.project)
    with open_target(format, tmp_path / "out") as target:
        assert all(target.write(sample) for sample in samples)
    found = {
        sample.load_bytes(): [mask.area for mask in sample.record.annotations]
        for sample in open_source(tmp_path / "out")
    }
    assert found == {photo(0): [100, 224], photo(1): [100]}


def test_documents_of_masks_say_what_made_them(desk: MakeDesk) -> None:
    d = desk(images=1)
    masks = [MaskRecord.from_mask(box_mask(*box)) for box in (BOX, OTHER)]
    empty = MaskRecord.from_mask(box_mask(0, 0, 0, 0))
    swept = document_of(d.images[0], [empty, *masks], source="automatic", at=NOW, model="f" * 64)
    assert [one.mask.id for one in swept.annotations] == [0, 1]
    assert [one.interaction.prompts[0].kind for one in swept.annotations] == ["everything"] * 2
    assert {one.interaction.model for one in swept.annotations} == {"f" * 64}
    kept, _ = d.store.add_automatic(d.admin, d.images[0].id, swept, key="a sweep's key")
    assert (kept.masks, kept.people_masks, kept.clicks) == (2, 0, 0)
    found = document_of(d.images[0], [empty, *masks], source="model", at=NOW, detector_scores=[0.1, 0.9, 0.8])
    assert [one.interaction.prompts[0].score for one in found.annotations] == [0.9, 0.8]
    assert json.loads(json.dumps(found.to_json()))["created"] == "2026-01-31T12:00:00Z"
    with pytest.raises(DataError, match="score"):
        document_of(d.images[0], masks, source="model", at=NOW, detector_scores=[0.5])
    with pytest.raises(DataError, match="size"):
        document_of(d.images[0], [MaskRecord.from_mask(np.ones((3, 3), bool))], source="imported", at=NOW)
