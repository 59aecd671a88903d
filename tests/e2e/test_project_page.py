"""A project in the browser: people log in, annotate, review, mend, clear, and see it on the dashboard."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from segany.engine.config import ProjectSettings
from segany.engine.privacy.look import look_for_people
from segany.engine.store import open_store
from segany.masks.rle import decode
from segany.records.annotation import Annotation, AnnotationDocument, Interaction
from segany.records.gesture import Gesture
from segany.records.record import MaskRecord

if TYPE_CHECKING:
    from segany.engine.store.store import Store
    from segany.engine.values import Image

Service = Callable[..., AbstractContextManager[str]]
PASSWORD = "correct horse battery"
GUIDELINE = "Mask everything a person would name: the most prominent thing first, then its parts, then what is behind."
AT = "2026-01-31T12:00:00Z"
AHEAD = "performance.getEntriesByType('mark').some((mark) => mark.name.startsWith('segany:ahead'))"


@dataclass(frozen=True)
class Garden:
    """A project with three photos, and the service in front of it."""

    store: Store
    project: int
    images: dict[str, Image]
    address: str


@pytest.fixture(scope="module")
def served(
    page_folder: Path, tmp_path_factory: pytest.TempPathFactory, service: Service
) -> Iterator[tuple[Store, str]]:
    """A store with people of every role, and the address of its service."""
    folder = tmp_path_factory.mktemp("project")
    store = open_store(folder / "store", create=True)
    for name, role in (("ann", "annotator"), ("ben", "annotator"), ("rosa", "reviewer"), ("adam", "admin")):
        store.add_user(name, PASSWORD, role)
    with service(folder, "--project", str(folder / "store")) as address:
        yield store, address
    store.close()


@pytest.fixture
def garden(served: tuple[Store, str], photos: dict[str, Path]) -> Garden:
    store, address = served
    settings = ProjectSettings(guideline=GUIDELINE, lease_seconds=3.0, review_seconds=60.0)
    project = store.create_project(f"garden {len(store.projects()) + 1}", settings=settings).id
    store.add_images(project, [photos["wide.png"], photos["square.jpg"], photos["tall.png"]])
    return Garden(store, project, {one.file_name: one for one in store.images(project)}, address)


@pytest.fixture
def enter(desk: Callable[..., Any], garden: Garden) -> Callable[..., Any]:
    """Somebody's page, logged in."""

    def log_in(name: str, screen: str = "", **options: Any) -> Any:
        page = desk(f"{garden.address}#/{screen}", **options)
        page.database = "segany-project"
        page.page.add_init_script(f"localStorage.setItem('segany.project', '{garden.project}')")
        page.page.goto(page.address)
        page.page.get_by_label("Name").fill(name)
        page.page.get_by_label("Password").fill(PASSWORD)
        if name == "ann":
            page.picture("40-login")
        page.press("Enter")
        page.find("person").wait_for()
        return page

    return log_in


def working(page: Any, file_name: str) -> None:
    """Wait until a photo can be clicked on."""
    page.page.wait_for_selector(f"[data-testid=stage][aria-label^='{file_name}'][data-prepared=true]")


def until(holds: Callable[[], bool], page: Any) -> None:
    """Wait until something holds."""
    for _ in range(300):
        if holds():
            return
        page.page.wait_for_timeout(100)
    raise AssertionError("expected something to come true within 30 s; it did not")


def shown(page: Any) -> str:
    """Name of the photo that is open."""
    page.prepared()
    return str(page.find("stage").get_attribute("aria-label").partition(",")[0])


def test_annotate_send_back_mend_accept(garden: Garden, enter: Callable[..., Any]) -> None:
    store = garden.store
    store.open_stage(garden.project, "manual")
    ann = enter("ann")
    working(ann, "wide.png")
    assert GUIDELINE in ann.find("guideline").inner_text()
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
    working(ann, "wide.png")
    until(lambda: ann.page.evaluate(AHEAD), ann)
    assert ann.find("submit").inner_text().strip() == "Hand in 3 masks", "a reload loses nothing"
    ann.press("Control+Enter")
    ann.page.locator("[data-testid=stage][aria-label^='wide.png']").wait_for(state="detached")
    following = shown(ann)
    assert following in ("square.jpg", "tall.png")
    ann.picture("42-next")
    (task,) = [one for one in store.tasks(garden.project) if one.state == "submitted"]
    handed = store.documents(task.id)[-1].document
    assert [len(one.interaction.prompts) for one in handed.annotations] == [1, 1, 2]
    assert handed.annotations[2].interaction.prompts[1].kind == "brush"
    assert decode(handed.annotations[2].mask.segmentation)[371, 360], "the stroke is in it"

    rosa = enter("rosa", "review")
    working(rosa, "wide.png")
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
    working(ann, "wide.png")
    assert "the spoon" in ann.find("sent-back").inner_text()
    ann.picture("45-sent-back")
    ann.click(395, 230)
    ann.accept()
    ann.find("submit").click()
    ann.page.locator("[data-testid=stage][aria-label^='wide.png']").wait_for(state="detached")

    rosa.page.get_by_role("button", name="Look again").click()
    working(rosa, "wide.png")
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


def test_masks_of_the_model_look_different_and_can_be_removed(garden: Garden, enter: Callable[..., Any]) -> None:
    store = garden.store
    image = garden.images["wide.png"]
    store.set_prefill(image.id, "semi", found_in(image, (170, 20, 400, 250), (430, 300, 590, 390)))
    ann = enter("ann")
    working(ann, "wide.png")
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


def test_a_lease_that_went_to_somebody_else_is_told_and_the_work_kept(
    garden: Garden, enter: Callable[..., Any]
) -> None:
    store = garden.store
    store.open_stage(garden.project, "manual", [garden.images["wide.png"].id])
    ann = enter("ann", viewport={"width": 820, "height": 1100}, has_touch=True, color_scheme="light")
    working(ann, "wide.png")
    ann.click(310, 160)
    ann.accept()
    ann.picture("50-tablet")
    assert ann.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    ann.page.context.set_offline(True)
    ben = next(one for one in store.users() if one.name == "ben").id
    until(lambda: store.claim(garden.project, ben) is not None, ann)
    ann.page.context.set_offline(False)
    ann.find("lost").wait_for()
    ann.picture("51-lost")
    with ann.page.expect_download() as download:
        ann.page.get_by_role("button", name="Save as a file").click()
    kept = AnnotationDocument.from_json(json.loads(Path(str(download.value.path())).read_text()))
    assert len(kept.annotations) == 1 and kept.sha256 == garden.images["wide.png"].sha256


def test_clearing_with_a_brush(garden: Garden, enter: Callable[..., Any]) -> None:
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
    zoom, left, top = (float(number) for number in stage.get_attribute("data-view").split())
    box = stage.bounding_box()
    mouse = rosa.page.mouse
    rosa.press("3")
    mouse.move(box["x"] + left + 300 * zoom, box["y"] + top + 330 * zoom)
    mouse.down()
    mouse.move(box["x"] + left + 360 * zoom, box["y"] + top + 335 * zoom, steps=5)
    mouse.up()
    listed = rosa.find("regions").get_by_role("listitem")
    until(lambda: listed.count() == known + 1, rosa)
    rosa.page.wait_for_timeout(400)
    rosa.picture("52-clearing")
    drawn = store.regions(image.id)[-1]
    assert drawn.source == "person" and drawn.kind == "other"
    xs = np.array(drawn.outline)[:, 0]
    assert xs.min() < 300 and xs.max() > 360
    rosa.press("j", "Delete")
    until(lambda: listed.count() == known, rosa)
    rosa.press("y")
    until(lambda: store.image(image.id).privacy == "cleared", rosa)


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
