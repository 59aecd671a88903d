"""Pre-filled and automatic documents, several annotators, known answers, audits, numbers; on both databases."""

from __future__ import annotations

from collections.abc import Callable

import pytest

sa = pytest.importorskip("sqlalchemy")

from segany.core.errors import AccessError, DataError, NotFoundError, TransitionError  # noqa: E402

from .conftest import Desk, document, photo  # noqa: E402

BOX, OTHER, THIRD = (2, 2, 12, 12), (14, 4, 28, 20), (3, 14, 9, 22)
MakeDesk = Callable[..., Desk]


def test_a_filled_task_is_shown_and_added_to(desk: MakeDesk) -> None:
    d = desk(images=1, review_first=0, review_share=0.0)
    image = d.images[0]
    d.store.set_prefill(image.id, "semi", document(image, BOX, clicked=False, seconds=0))
    filled = d.store.set_prefill(image.id, "semi", document(image, BOX, clicked=False, seconds=5))
    assert filled.version == 1, "the same masks again change nothing"
    work = d.store.claim(d.project, d.ann, stage="semi")
    assert work and work.document and work.document.kind == "prefill" and work.document.people_masks == 0
    with pytest.raises(TransitionError, match="before anybody begins"):
        d.store.set_prefill(image.id, "semi", document(image, OTHER))
    shown = work.document.document.annotations
    added = document(image, OTHER, THIRD).annotations[1:]
    both = type(work.document.document)(**{**vars(document(image)), "annotations": (*shown, *added)})
    d.store.submit(d.ann, work.lease, both, key=d.key())
    (done,) = d.store.stats(d.project).stages
    assert (done.stage, done.done.masks, done.done.people_masks, done.done.clicks) == ("semi", 2, 1, 2)


def test_automatic_masks_are_there_once(desk: MakeDesk) -> None:
    d = desk(images=2)
    made = document(d.images[0], BOX, OTHER, clicked=False, seconds=0)
    first, known = d.store.add_automatic(d.admin, d.images[0].id, made, key="run 1, image 1")
    again, known_again = d.store.add_automatic(d.admin, d.images[0].id, made, key="run 1, image 1")
    assert (known, known_again, again.id) == (False, True, first.id)
    assert [one.image.id for one in d.store.accepted(d.project, ("auto",))] == [d.images[0].id]
    with pytest.raises(DataError):
        d.store.add_automatic(d.admin, d.images[1].id, made, key="run 1, image 2")


def test_the_first_stage_named_counts(desk: MakeDesk) -> None:
    d = desk(images=1, review_first=0, review_share=0.0)
    d.store.open_stage(d.project, "manual")
    d.done(d.ann, BOX)
    d.store.add_automatic(d.admin, d.images[0].id, document(d.images[0], OTHER, THIRD), key="automatic")
    assert [one.document.stage for one in d.store.accepted(d.project, ("manual", "auto"))] == ["manual"]
    assert [one.document.stage for one in d.store.accepted(d.project, ("auto", "manual"))] == ["auto"]


def test_moving_in_with_finished_masks(desk: MakeDesk) -> None:
    d = desk(images=1)
    made = document(d.images[0], BOX)
    _, known = d.store.add_accepted(d.admin, d.images[0].id, "manual", made, key="import-1")
    _, again = d.store.add_accepted(d.admin, d.images[0].id, "manual", made, key="import-1")
    assert (known, again) == (False, True)
    assert d.store.claim(d.project, d.ann) is None
    assert len(list(d.store.accepted(d.project))) == 1


def test_several_annotate_an_image_without_knowing(desk: MakeDesk) -> None:
    d = desk(images=1, overlap_share=1.0, review_first=0, review_share=0.0)
    assert d.store.open_stage(d.project, "manual") == 2
    d.done(d.ann, BOX, OTHER)
    assert d.store.claim(d.project, d.ann) is None, "not the same person again"
    theirs = d.store.claim(d.project, d.bob)
    assert theirs and theirs.document is None, "the other's masks are not shown"
    d.store.submit(d.bob, theirs.lease, document(theirs.image, (2, 2, 12, 11), THIRD), key=d.key())
    told = d.store.stats(d.project).agreement
    assert (told.pairs, told.masks) == (1, 1)
    assert told.mean_iou == pytest.approx(0.9) and told.f1 == pytest.approx(0.5)
    (one,) = d.store.accepted(d.project)
    assert one.document.author == d.ann, "the second annotation measures, it does not count"


def test_known_answers_come_in_their_turn_and_are_scored(desk: MakeDesk) -> None:
    d = desk(images=3, gold_every=2, gold_least=0.0, review_first=0, review_share=0.0)
    gold = d.store.add_image(d.project, "gold.png", photo(99))
    d.store.set_gold(d.admin, gold.id, document(gold, BOX, OTHER))
    d.store.open_stage(d.project, "manual", [one.id for one in d.images])
    d.done(d.ann)
    outcome = d.done(d.ann, (2, 2, 12, 7))
    assert (outcome.task.purpose, outcome.task.image, outcome.task.state) == ("gold", gold.id, "accepted")
    assert [d.done(d.ann).task.purpose for _ in range(2)] == ["work", "work"], "every answer is asked for once"
    (ann,) = d.store.stats(d.project).people[:1]
    assert ann.gold == pytest.approx((0.5 + 0) / 2)
    assert {one.image.id for one in d.store.accepted(d.project)} == {one.id for one in d.images}


def test_bad_scores_bring_the_reviewer_back(desk: MakeDesk) -> None:
    d = desk(images=2, gold_every=1, review_first=0, review_share=0.0)
    gold = d.store.add_image(d.project, "gold.png", photo(99))
    d.store.set_gold(d.admin, gold.id, document(gold, BOX))
    d.store.open_stage(d.project, "manual", [one.id for one in d.images])
    assert d.done(d.ann, THIRD).task.purpose == "gold"
    assert d.done(d.ann, BOX).task.state == "submitted"


def test_the_audit(desk: MakeDesk) -> None:
    d = desk(images=2)
    for number, image in enumerate(d.images):
        made = document(image, BOX, OTHER, clicked=False)
        d.store.add_automatic(d.admin, image.id, made, key=f"automatic {number}")
    assert d.store.open_audit(d.project, "auto") == 2
    assert d.store.open_audit(d.project, "auto") == 2
    work = d.store.claim(d.project, d.ann)
    assert work and work.task.purpose == "audit" and work.document and work.document.masks == 2
    better = document(work.image, (2, 2, 12, 10), OTHER)
    assert d.store.submit(d.ann, work.lease, better, key=d.key()).task.state == "accepted"
    report = d.store.audit(d.project, "auto")
    assert (report.images, report.masks, report.removed, report.added) == (1, 2, 0, 0)
    assert (report.mean_iou, report.share_above_90, report.share_above_75) == (0.9, 0.5, 1.0)
    counted = list(d.store.accepted(d.project, ("auto",)))
    assert all(one.document.kind == "automatic" for one in counted), "an audit changes nothing"


def test_the_dashboards_numbers(desk: MakeDesk) -> None:
    d = desk()
    d.store.open_stage(d.project, "manual")
    d.done(d.ann, BOX, OTHER, seconds=30.0)
    d.done(d.bob, BOX, seconds=10.0)
    d.judged("accept")
    d.judged("reject", reason="hole")
    numbers = d.store.stats(d.project)
    (stage,) = numbers.stages
    assert dict(stage.states) == {"queued": 1, "accepted": 1, "rejected": 1}
    assert stage.progress == pytest.approx(1 / 3)
    assert (stage.done.seconds_per_mask, stage.done.clicks_per_mask, stage.done.masks_per_image) == (15.0, 2.0, 2.0)
    ann, bob, rev = numbers.people
    assert (ann.name, ann.rejected, ann.actions["submit"], ann.work.active_seconds) == ("ann", 0, 1, 30.0)
    assert (bob.rejected, bob.work.seconds_per_mask) == (1, 10.0)
    assert dict(rev.actions) == {"accept": 1, "reject": 1}
    assert numbers.days == {"2026-01-31": {"claim": 2, "submit": 2, "accept": 1, "reject": 1}}
    assert numbers.images == 3 and dict(numbers.privacy) == {"unchecked": 3}
    assert numbers.to_json()["stages"][0]["done"]["seconds_per_mask"] == 15.0


def test_time_on_a_mended_task_is_counted_once(desk: MakeDesk) -> None:
    d = desk(images=1)
    d.store.open_stage(d.project, "manual")
    d.done(d.ann, BOX, seconds=30.0)
    d.judged("reject", reason="hole")
    d.done(d.ann, OTHER, seconds=42.0)
    assert [e.active_seconds for e in d.store.events(d.project, kinds=["submit"])] == [30.0, 12.0]
    assert d.store.stats(d.project).people[0].work.active_seconds == 42.0


def test_prefetching_takes_nothing(desk: MakeDesk) -> None:
    d = desk()
    d.store.open_stage(d.project, "manual")
    coming = d.store.peek(d.project, d.ann, count=2)
    assert len(coming) == 2
    work = d.store.claim(d.project, d.ann)
    assert work and work.image == coming[0]


def test_photos_are_kept_once_under_their_hash(desk: MakeDesk, tmp_path: object) -> None:
    d = desk(images=1)
    image = d.images[0]
    assert d.store.image_bytes(image) == photo(0)
    assert d.store.add_image(d.project, "again.png", photo(0)) == image
    d.store.image_path(image).write_bytes(b"damaged")
    with pytest.raises(DataError, match="gone or damaged"):
        d.store.image_bytes(image)


def test_adding_a_folder_refuses_what_is_no_image(desk: MakeDesk, tmp_path: object) -> None:
    from pathlib import Path

    d = desk(images=1)
    folder = Path(str(tmp_path)) / "photos"
    (folder / "more").mkdir(parents=True)
    (folder / "sa_7.png").write_bytes(photo(7))
    (folder / "more" / "sa_7.png").write_bytes(photo(8))
    (folder / "broken.jpg").write_bytes(b"not a picture")
    (folder / "photo0.png").write_bytes(photo(0))
    told = d.store.add_images(d.project, [folder])
    assert (len(told.added), told.there_already, len(told.refused)) == (2, 1, 1)
    assert "broken.jpg" in told.refused[0]
    numbers = {one.image_id for one in told.added}
    assert 7 in numbers and len(numbers) == 2, "of two photos called sa_7 one keeps the number"


def test_weights_rounds_and_going_back(desk: MakeDesk, tmp_path: object) -> None:
    from pathlib import Path

    d = desk()
    assert d.store.current_model(d.project) is None
    models = []
    for number in range(3):
        weights = Path(str(tmp_path)) / f"w{number}.safetensors"
        weights.write_bytes(bytes([number]))
        models.append(d.store.register_model(d.project, f"round {number}", weights, fingerprint=f"print{number}"))
    assert d.store.register_model(d.project, "again", weights, fingerprint="print2") == models[2]
    weights.unlink()
    assert d.store.model_path(models[2]).read_bytes() == b"\x02"
    for one in models:
        d.store.publish_model(one.id, user=d.admin)
    assert d.store.rollback(d.project) == models[1]
    assert d.store.rollback(d.project) == models[0]
    with pytest.raises(TransitionError, match="before these"):
        d.store.rollback(d.project)
    d.store.publish_model(models[2].id)
    assert d.store.rollback(d.project) == models[0] == d.store.current_model(d.project)
    opened = d.store.open_round(d.project, "manual", snapshot="a" * 64)
    assert d.store.open_round(d.project, "manual") == opened, "an interrupted round goes on"
    assert opened.model_before == models[0].id
    closed = d.store.close_round(opened.id, model=models[1].id, published=True, metrics={"one_click_miou": 0.5})
    assert d.store.close_round(opened.id, failed=True) == closed
    assert [one.number for one in d.store.rounds(d.project)] == [1]
    assert d.store.open_round(d.project, "semi").number == 2


def test_a_photo_is_cleared_by_a_person_after_the_detectors(desk: MakeDesk) -> None:
    d = desk(images=2)
    image = d.images[0].id
    with pytest.raises(TransitionError, match="run them"):
        d.store.clear_image(d.rev, image)
    square = [(1, 1), (9, 1), (9, 9), (1, 9)]
    for _ in range(2):
        assert len(d.store.note_detections(image, "faces", [("face", square, 0.5)])) == 1
    assert [one.id for one in d.store.next_to_clear(d.project, limit=9)] == [image]
    assert d.store.clear_image(d.rev, image).privacy == "cleared"
    drawn = d.store.add_region(d.rev, image, "other", square[:3])
    assert d.store.image(image).privacy == "found", "what changed must be looked at again"
    d.store.clear_image(d.rev, image)
    d.store.drop_region(d.rev, drawn.id)
    assert d.store.image(image).privacy == "found"
    assert [one.kind for one in d.store.regions(image)] == ["face"]
    assert len(d.store.regions(image, active=False)) == 2
    d.store.clear_image(d.rev, image)
    d.store.note_detections(image, "better faces", [("face", square, 0.9)])
    assert d.store.image(image).privacy == "found"
    with pytest.raises(AccessError, match="reviewer"):
        d.store.clear_image(d.ann, image)
    with pytest.raises(TransitionError, match="reason"):
        d.store.clear_image(d.rev, image, verdict="withheld")
    assert d.store.clear_image(d.rev, image, verdict="withheld", reason="a protest").privacy == "withheld"
    kinds = [event.kind for event in d.store.events(d.project)]
    assert kinds == ["cleared", "blur", "cleared", "unblur", "cleared", "withheld"]


def test_unknown_numbers(desk: MakeDesk) -> None:
    d = desk(images=1)
    for call in (d.store.image, d.store.task, d.store.document, d.store.model, d.store.project, d.store.user):
        with pytest.raises(NotFoundError, match="99"):
            call(99)
    with pytest.raises(AccessError):
        d.store.reopen(d.ann, 1)
