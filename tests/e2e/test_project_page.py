"""A project in the browser: people log in, annotate, review, mend, clear, and see it on the dashboard."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from segany.engine.privacy.look import look_for_people
from segany.masks.rle import decode
from segany.records.annotation import Annotation, AnnotationDocument, Interaction
from segany.records.gesture import Gesture
from segany.records.record import MaskRecord

if TYPE_CHECKING:
    from segany.engine.values import Image

AT = "2026-01-31T12:00:00Z"
AHEAD = "performance.getEntriesByType('mark').some((mark) => mark.name.startsWith('segany:ahead'))"


def test_annotate_send_back_mend_accept(garden: Any, enter: Callable[..., Any]) -> None:
    store = garden.store
    store.open_stage(garden.project, "manual")
    ann = enter("ann")
    ann.working("wide.png")
    assert garden.guideline in ann.find("guideline").inner_text()
    assert ann.find("screen-review").count() == 0, "annotators do not see what they may not do"
    ann.click(310, 160)
    assert "s" in ann.find("timer").inner_text()
    ann.picture("41-annotate")
    ann.accept()
    ann.box(330, 30, 420, 110)
    ann.accept()
    ann.click(60, 350)
    ann.press("b")
    ann.drag([(300, 370), (420, 372)])
    ann.press("s")
    assert ann.find("submit").is_disabled(), "a mask is still being made"
    ann.accept()
    ann.page.reload()  # at once: what is shown as kept is kept
    ann.working("wide.png")
    ann.until(lambda: ann.page.evaluate(AHEAD))
    assert ann.find("submit").inner_text().strip() == "Hand in 3 masks", "a reload loses nothing"
    ann.press("Control+Enter")
    ann.page.locator("[data-testid=stage][aria-label^='wide.png']").wait_for(state="detached")
    following = ann.open_photo()
    assert following in ("square.jpg", "tall.png")
    ann.picture("42-next")
    (task,) = [one for one in store.tasks(garden.project) if one.state == "submitted"]
    handed = store.documents(task.id)[-1].document
    assert [len(one.interaction.prompts) for one in handed.annotations] == [1, 1, 2]
    assert handed.annotations[2].interaction.prompts[1].kind == "brush"
    assert decode(handed.annotations[2].mask.segmentation)[371, 360], "the stroke is in it"

    rosa = enter("rosa", "review")
    rosa.working("wide.png")
    rosa.picture("43-review")
    rosa.press("r")
    rosa.find("dialog-reason").wait_for()
    rosa.press("1")
    rosa.find("reason").press_sequentially(": the spoon")
    rosa.picture("44-reason")
    rosa.press("Enter")
    rosa.find("nothing").wait_for()
    assert store.task(task.id).state == "rejected"

    ann.press("q")
    ann.find("dialog-reason").wait_for()
    ann.press("1", "Enter")  # skips the second image: what came back is next
    ann.working("wide.png")
    assert "the spoon" in ann.find("sent-back").inner_text()
    ann.picture("45-sent-back")
    ann.click(395, 230)
    ann.accept()
    ann.find("submit").click()
    ann.page.locator("[data-testid=stage][aria-label^='wide.png']").wait_for(state="detached")

    rosa.page.get_by_role("button", name="Look again").click()
    rosa.working("wide.png")
    rosa.press("y")
    rosa.find("nothing").wait_for()
    assert store.task(task.id).state == "accepted"
    assert len(store.documents(task.id)[-1].document.annotations) == 4

    adam = enter("adam", "dashboard", viewport={"width": 1280, "height": 1000})
    adam.find("people-work").wait_for()
    assert "accepted 1" in adam.find("stage-manual").inner_text().replace("\n", " ")
    row = adam.page.get_by_role("row", name="ann annotator")
    assert row.get_by_role("cell").all_inner_texts()[:4] == ["2", "1", "0", "1"]
    adam.picture("46-dashboard")
    adam.press("t")
    adam.picture("47-dashboard-light")
    adam.find("screen-people").click()
    adam.page.get_by_role("row", name="ben").wait_for()
    adam.page.get_by_label("Name").fill("cleo")
    adam.page.get_by_label("Password").fill("another password")
    adam.press("Enter")
    adam.page.get_by_role("row", name="cleo").wait_for()
    adam.picture("48-people")
    assert "cleo" in [one.name for one in store.users()]
    adam.find("person").click()
    adam.find("logout").click()
    adam.find("login").wait_for()


def test_masks_of_the_model_look_different_and_can_be_removed(garden: Any, enter: Callable[..., Any]) -> None:
    store = garden.store
    image = garden.images["wide.png"]
    store.set_prefill(image.id, "semi", found_in(image, (170, 20, 400, 250), (430, 300, 590, 390)))
    ann = enter("ann")
    ann.working("wide.png")
    assert ann.find("found-by-model").inner_text().startswith("2 dashed masks")
    assert ann.page.get_by_text("found by the model", exact=True).count() == 2
    ann.press("j", "j")
    ann.picture("49-prefilled")
    ann.press("Delete")
    assert ann.find("found-by-model").inner_text().startswith("1 dashed mask")
    ann.click(60, 350)
    ann.accept()
    ann.find("submit").click()
    ann.find("nothing").wait_for()
    (task,) = store.tasks(garden.project)
    kept = store.documents(task.id)[-1].document
    assert [[p.kind for p in one.interaction.prompts] for one in kept.annotations] == [["detector"], ["point"]]


def test_a_lease_that_went_to_somebody_else_is_told_and_the_work_kept(garden: Any, enter: Callable[..., Any]) -> None:
    store = garden.store
    store.open_stage(garden.project, "manual", [garden.images["wide.png"].id])
    ann = enter("ann", viewport={"width": 820, "height": 1100}, has_touch=True, color_scheme="light")
    ann.working("wide.png")
    ann.click(310, 160)
    ann.accept()
    ann.picture("50-tablet")
    assert ann.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    ann.page.context.set_offline(True)
    ben = next(one for one in store.users() if one.name == "ben").id
    ann.until(lambda: store.claim(garden.project, ben) is not None)
    ann.page.context.set_offline(False)
    ann.find("lost").wait_for()
    ann.picture("51-lost")
    with ann.page.expect_download() as download:
        ann.page.get_by_role("button", name="Save as a file").click()
    kept = AnnotationDocument.from_json(json.loads(Path(str(download.value.path())).read_text()))
    assert len(kept.annotations) == 1 and kept.sha256 == garden.images["wide.png"].sha256


def test_clearing_with_a_brush(garden: Any, enter: Callable[..., Any]) -> None:
    store = garden.store
    look_for_people(store, garden.project)
    before = {one.file_name: len(store.regions(one.id)) for one in store.images(garden.project)}
    assert before["square.jpg"] >= 1, "the astronaut's face"
    rosa = enter("rosa", "clear")
    for _ in range(3):
        rosa.find("blur-stage").wait_for()
        name = rosa.find("blur-stage").get_attribute("aria-label").partition(".")[0]
        if name == "square":
            break
        rosa.press("y")
        rosa.page.locator(f"[data-testid=blur-stage][aria-label^='{name}']").wait_for(state="detached")
    image = garden.images["square.jpg"]
    known = before["square.jpg"]
    stage = rosa.find("blur-stage")
    views = [""]

    def settled() -> bool:
        """The photo lies still: it was fitted into its place after it was opened."""
        views.append(stage.get_attribute("data-view") or "")
        return len(views) > 3 and len(set(views[-3:])) == 1

    rosa.until(settled)
    zoom, left, top = (float(number) for number in views[-1].split())
    box = stage.bounding_box()
    mouse = rosa.page.mouse
    rosa.press("3")
    mouse.move(box["x"] + left + 300 * zoom, box["y"] + top + 330 * zoom)
    mouse.down()
    mouse.move(box["x"] + left + 360 * zoom, box["y"] + top + 335 * zoom, steps=5)
    mouse.up()
    listed = rosa.find("regions").get_by_role("listitem")
    rosa.until(lambda: listed.count() == known + 1)
    rosa.page.wait_for_timeout(400)
    rosa.picture("52-clearing")
    drawn = store.regions(image.id)[-1]
    assert drawn.source == "person" and drawn.kind == "other"
    xs = np.array(drawn.outline)[:, 0]
    assert xs.min() < 300 and xs.max() > 360
    rosa.press("j", "Delete")
    rosa.until(lambda: listed.count() == known)
    rosa.press("y")
    rosa.until(lambda: store.image(image.id).privacy == "cleared")


def found_in(image: Image, *boxes: tuple[int, int, int, int]) -> AnnotationDocument:
    """Ellipses in boxes, as a detector's masks."""
    rows, columns = np.mgrid[: image.height, : image.width]
    annotations = []
    for number, (x0, y0, x1, y1) in enumerate(boxes, 1):
        inside = ((columns - (x0 + x1) / 2) / (x1 - x0)) ** 2 + ((rows - (y0 + y1) / 2) / (y1 - y0)) ** 2 <= 0.25
        annotations.append(
            Annotation(
                mask=MaskRecord.from_mask(inside, id=number, source="automatic"),
                interaction=Interaction(
                    created=AT, modified=AT, prompts=(Gesture(kind="detector", score=0.8, at=AT),), active_seconds=0.0
                ),
            )
        )
    return AnnotationDocument(
        image_id=image.image_id,
        width=image.width,
        height=image.height,
        file_name=image.file_name,
        sha256=image.sha256,
        created=AT,
        modified=AT,
        active_seconds=0.0,
        annotations=tuple(annotations),
    )
