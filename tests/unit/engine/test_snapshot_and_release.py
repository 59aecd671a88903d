"""What is trained on and what goes out: immutable, hashed, cleared, valid."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Picture

sa = pytest.importorskip("sqlalchemy")

from segany.core.errors import Cancelled, DataError, OptionError  # noqa: E402
from segany.data.open import open_source  # noqa: E402
from segany.engine.chance import is_held_out  # noqa: E402
from segany.engine.export import folder_hash  # noqa: E402
from segany.engine.privacy.detectors import Detection  # noqa: E402
from segany.engine.privacy.look import look_for_people  # noqa: E402
from segany.engine.release import ReleaseOptions, make_release  # noqa: E402
from segany.engine.snapshot import make_snapshot, part_of  # noqa: E402
from segany.recipes.dataset import validate  # noqa: E402

from .conftest import HEIGHT, WIDTH, Desk, document  # noqa: E402

BOX, OTHER = (2, 2, 12, 12), (14, 4, 28, 20)
MakeDesk = Callable[..., Desk]
FREE = {"review_first": 0, "review_share": 0.0}


ONE_DATABASE = pytest.mark.parametrize("address", ["sqlite"], indirect=True)
"""Where no query is new: plots take their time."""


class OneFace:
    """Finds a face in the top left corner of everything."""

    name = "corner"

    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, rgb: Any) -> list[Detection]:
        self.seen += 1
        return [Detection(kind="face", outline=((0, 0), (10, 0), (10, 10), (0, 10)), score=0.5)]


def annotated(desk: MakeDesk, images: int = 6, **settings: Any) -> Desk:
    d = desk(images=images, **{**FREE, **settings})
    d.store.open_stage(d.project, "manual")
    for _ in range(images):
        d.done(d.ann, BOX, OTHER)
    return d


def test_a_snapshot_is_what_was_accepted_in_two_parts(desk: MakeDesk) -> None:
    d = annotated(desk, images=8, held_out_share=0.4)
    snapshot = make_snapshot(d.store, d.project)
    held = {one.image_id for one in d.images if one.held_out}
    assert 0 < len(held) < 8
    assert held == {one.image_id for one in d.images if is_held_out(one.sha256, share=0.4)}
    found = {}
    for part in ("train", "held_out"):
        folder = part_of(d.store, snapshot, part)  # type: ignore[arg-type]
        assert folder is not None
        source = open_source(folder)
        found[part] = {sample.image_id for sample in source}
        for sample in source:
            assert [mask.area for mask in sample.record.annotations] == [100, 224]
            assert sample.load_rgb().shape == (HEIGHT, WIDTH, 3)
    assert found == {"train": {one.image_id for one in d.images} - held, "held_out": held}
    assert (snapshot.images, snapshot.masks) == (8, 16)


def test_the_same_content_is_one_snapshot_and_new_work_another(desk: MakeDesk) -> None:
    d = annotated(desk, images=3, held_out_share=0.0)
    first = make_snapshot(d.store, d.project)
    before = folder_hash(d.store.artefact_path(first))
    assert make_snapshot(d.store, d.project) == first
    assert folder_hash(d.store.artefact_path(first)) == before
    assert part_of(d.store, first, "held_out") is None
    d.store.add_automatic(d.admin, d.images[0].id, document(d.images[0], BOX), key="automatic")
    second = make_snapshot(d.store, d.project, ("auto", "manual"))
    assert second.sha256 != first.sha256 and second.masks == first.masks - 1
    assert folder_hash(d.store.artefact_path(first)) == before
    assert [one.sha256 for one in d.store.artefacts(d.project, "snapshot")] == [first.sha256, second.sha256]


@ONE_DATABASE
def test_a_snapshot_of_nothing_and_one_that_is_stopped(desk: MakeDesk) -> None:
    d = desk(images=2, **FREE)
    with pytest.raises(DataError, match="accepted images"):
        make_snapshot(d.store, d.project)
    d.store.open_stage(d.project, "manual")
    d.done(d.ann), d.done(d.ann)
    with pytest.raises(Cancelled):
        make_snapshot(d.store, d.project, cancelled=lambda: True)
    assert list((d.store.folder / "snapshots").iterdir()) == []


def cleared(d: Desk, *, leave: int = 0) -> OneFace:
    detector = OneFace()
    look_for_people(d.store, d.project, detectors=[detector])
    for image in d.images[: len(d.images) - leave]:
        d.store.clear_image(d.rev, image.id)
    return detector


@pytest.mark.parametrize(("address", "form"), [("sqlite", "sa1b"), ("postgresql", "shards")], indirect=["address"])
def test_a_release_is_valid_and_says_what_it_is(desk: MakeDesk, tmp_path: Path, form: Any) -> None:
    d = annotated(desk, licence="CC-BY-4.0", purpose="Seeing gardens.")
    cleared(d, leave=2)
    out = tmp_path / "release"
    release = make_release(d.store, d.project, out, options=ReleaseOptions(form=form))
    assert (release.images, release.masks) == (4, 8)
    assert validate(out).report.good
    source = open_source(out)
    ids = {one.image_id for one in d.images[:4]}
    assert {sample.image_id for sample in source} == ids
    assert {int(line) for line in (out / "sa_images_ids.txt").read_text().splitlines()} == ids
    report = json.loads((out / "release.json").read_text(encoding="utf-8"))
    assert report["images_kept_back"] == {"found": 2} and report["blurred"] == {"face": 4}
    card = (out / "dataset_card.md").read_text(encoding="utf-8")
    assert "Seeing gardens." in card and "CC-BY-4.0" in card and "found 2" in card and "Not stated" in card
    for heading in ("Motivation", "Composition", "Collection", "Preprocessing", "Uses", "Distribution", "Maintenance"):
        assert f"\n## {heading}" in card
    people = (out / "annotation_card.md").read_text(encoding="utf-8")
    assert "1 people handed in" in people and "imulated" not in card + people
    assert '"people"' not in (out / "statistics.json").read_text(encoding="utf-8"), "nobody is named"
    assert {"centers.png", "concavity.png", "masks_per_image.png", "relative_size.png"} <= {
        path.name for path in out.iterdir()
    }


@ONE_DATABASE
def test_what_was_found_is_blurred_and_nothing_else_is_kept_of_the_file(desk: MakeDesk, tmp_path: Path) -> None:
    d = desk(images=0, **FREE)
    pixels = np.random.default_rng(3).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    exif = Picture.Exif()
    exif[0x010F] = "Secret Camera Company"
    file = io.BytesIO()
    Picture.fromarray(pixels).save(file, "PNG", exif=exif)
    image = d.store.add_image(d.project, "me at home.png", file.getvalue())
    d.images.append(image)
    d.store.open_stage(d.project, "manual")
    d.done(d.ann, BOX)
    cleared(d)
    drawn = d.store.add_region(d.rev, image.id, "other", [(20, 10), (32, 10), (32, 24), (20, 24)])
    with pytest.raises(DataError, match="none of them cleared"):
        make_release(d.store, d.project, tmp_path / "too early")
    assert not (tmp_path / "too early").exists()
    d.store.clear_image(d.rev, image.id)
    make_release(d.store, d.project, tmp_path / "out", options=ReleaseOptions(form="sa1b"))
    content = (tmp_path / "out" / f"sa_{image.image_id}.jpg").read_bytes()
    assert b"Secret Camera" in file.getvalue() and b"Secret Camera" not in content
    everything = b"".join(path.read_bytes() for path in (tmp_path / "out").iterdir())
    assert b"me at home" not in everything, "file names tell things too"
    shown = np.asarray(Picture.open(io.BytesIO(content)), float)
    face, brush, rest = shown[:10, :10], shown[10:24, 20:32], shown[12:24, :18]
    true = pixels.astype(float)
    assert np.abs(face - true[:10, :10]).mean() > 40 and np.abs(brush - true[10:24, 20:32]).mean() > 40
    assert np.abs(rest - true[12:24, :18]).mean() < 10
    told = json.loads((tmp_path / "out" / "deidentification.json").read_text(encoding="utf-8"))
    assert [one["source"] for one in told["images"][0]["regions"]] == ["corner", "person"]
    d.store.drop_region(d.rev, drawn.id)
    with pytest.raises(DataError, match="none of them cleared"):
        make_release(d.store, d.project, tmp_path / "out")
    assert (tmp_path / "out" / "release.json").is_file(), "the earlier release stays"


@ONE_DATABASE
def test_the_same_store_gives_the_same_release(desk: MakeDesk, tmp_path: Path) -> None:
    d = annotated(desk, images=3)
    detector = cleared(d)
    first = make_release(d.store, d.project, tmp_path / "a")
    assert look_for_people(d.store, d.project, detectors=[detector]).regions == 0
    assert detector.seen == 3, "a photo is looked at once"
    second = make_release(d.store, d.project, tmp_path / "b")
    make_release(d.store, d.project, tmp_path / "a")
    assert first.sha256 == second.sha256
    assert folder_hash(tmp_path / "a") == folder_hash(tmp_path / "b")
    d.store.clear_image(d.rev, d.images[0].id, verdict="withheld", reason="a child")
    third = make_release(d.store, d.project, tmp_path / "a")
    assert third.sha256 != first.sha256 and third.images == 2


@ONE_DATABASE
def test_simulated_work_says_so_everywhere(desk: MakeDesk, tmp_path: Path) -> None:
    d = desk(images=2, **FREE)
    robot = d.store.add_user("robot", "simulated pass", "reviewer", simulated=True).id
    d.store.open_stage(d.project, "manual")
    d.done(robot, BOX), d.done(d.ann, BOX)
    look_for_people(d.store, d.project, detectors=[OneFace()])
    for image in d.images:
        d.store.clear_image(robot, image.id)
    make_release(d.store, d.project, tmp_path / "out")
    for card in ("dataset_card.md", "annotation_card.md"):
        assert "**Simulated:** the masks of 1 images" in (tmp_path / "out" / card).read_text(encoding="utf-8")
    assert "2 of them by simulated reviewers" in (tmp_path / "out" / "dataset_card.md").read_text(encoding="utf-8")
    report = json.loads((tmp_path / "out" / "release.json").read_text(encoding="utf-8"))
    assert report["images_with_simulated_masks"] == 1 and report["images_cleared_by_simulated_reviewers"] == 2
    make_release(d.store, d.project, tmp_path / "real", options=ReleaseOptions(simulated=False))
    assert "**Simulated:**" not in (tmp_path / "real" / "dataset_card.md").read_text(encoding="utf-8")


@ONE_DATABASE
def test_a_release_overwrites_nothing_of_yours(desk: MakeDesk, tmp_path: Path) -> None:
    d = annotated(desk, images=1)
    cleared(d)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.md").write_text("years of work", encoding="utf-8")
    with pytest.raises(DataError, match="something else"):
        make_release(d.store, d.project, tmp_path / "mine")
    with pytest.raises(OptionError):
        ReleaseOptions(stages=())
    with pytest.raises(Cancelled):
        make_release(d.store, d.project, tmp_path / "stopped", cancelled=lambda: True)
    assert not (tmp_path / "stopped").exists()


@ONE_DATABASE
def test_shards_can_be_read_by_others(desk: MakeDesk, tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    from pycocotools import mask as coco

    d = annotated(desk, images=2)
    cleared(d)
    make_release(d.store, d.project, tmp_path / "out")
    shard = next((tmp_path / "out").glob("*.tar"))
    rows = list(webdataset.WebDataset(str(shard), shardshuffle=False).decode("rgb8").to_tuple("jpg", "json"))
    assert len(rows) == 2
    for rgb, content in rows:
        assert rgb.shape == (HEIGHT, WIDTH, 3)
        assert [int(coco.area(one["segmentation"])) for one in content["annotations"]] == [100, 224]
