"""What reviewers and admins do in the browser beside judging: mend, withhold, add photos, change roles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from segany.engine.privacy.look import look_for_people
from segany.masks.rle import decode


def test_a_reviewer_mends_a_mask_and_accepts(garden: Any, enter: Callable[..., Any]) -> None:
    store = garden.store
    store.open_stage(garden.project, "manual", [garden.images["wide.png"].id])
    ann = enter("ann")
    ann.working("wide.png")
    ann.click(310, 160)
    ann.accept()
    ann.press("Control+Enter")
    ann.find("nothing").wait_for()
    (task,) = store.tasks(garden.project)
    (before,) = store.documents(task.id)
    assert not decode(before.document.annotations[0].mask.segmentation)[371, 560], "far from the cup"

    rosa = enter("rosa", "review")
    rosa.working("wide.png")
    assert rosa.find("approve").inner_text().strip() == "Accept"
    rosa.press("j", "b")
    rosa.drag([(540, 370), (580, 372)])
    rosa.accept()
    assert rosa.find("approve").inner_text().strip() == "Accept with my corrections"
    rosa.picture("62-mended")
    rosa.press("y")
    rosa.find("nothing").wait_for()
    assert store.task(task.id).state == "accepted"
    submitted, mended = store.documents(task.id)
    assert (submitted.sha256, mended.kind) == (before.sha256, "fix"), "what was handed in stays as it was"
    assert mended.author == next(one.id for one in store.users() if one.name == "rosa")
    (mask,) = mended.document.annotations
    assert decode(mask.mask.segmentation)[371, 560], "the stroke is in it"
    assert [one.kind for one in mask.interaction.prompts] == ["point", "brush"]


def test_a_photo_is_withheld_with_a_reason(garden: Any, enter: Callable[..., Any]) -> None:
    store = garden.store
    look_for_people(store, garden.project)
    rosa = enter("rosa", "clear")
    rosa.find("blur-stage").wait_for()
    name = rosa.find("blur-stage").get_attribute("aria-label").partition(".")[0]
    image = next(one for one in garden.images.values() if one.file_name.startswith(name))
    rosa.press("w")
    rosa.find("dialog-reason").wait_for()
    rosa.press("Escape")
    rosa.find("dialog-reason").wait_for(state="detached")
    assert store.image(image.id).privacy == "found", "asking is not yet doing"
    rosa.find("withhold").click()
    rosa.find("dialog-reason").wait_for()
    rosa.press("2")
    rosa.picture("63-withhold")
    rosa.press("Enter")
    rosa.page.locator(f"[data-testid=blur-stage][aria-label^='{name}']").wait_for(state="detached")
    rosa.until(lambda: store.image(image.id).privacy == "withheld")
    told = [one.reason for one in store.events(garden.project) if one.image == image.id and one.reason]
    assert told == ["Somebody did not agree to be shown"]


def test_an_admin_adds_a_photo_and_changes_a_role(
    garden: Any, enter: Callable[..., Any], photos: dict[str, Path]
) -> None:
    store = garden.store
    adam = enter("adam", "dashboard")
    adam.find("dashboard").get_by_text("More photos").wait_for()
    adam.find("add-photos").set_input_files([str(photos["large.jpg"])])
    adam.page.get_by_text("1 of 1 photos were added.").wait_for()
    (added,) = [one for one in store.images(garden.project) if one.file_name == "large.jpg"]
    assert store.image_bytes(added) == photos["large.jpg"].read_bytes()
    assert [one.image for one in store.tasks(garden.project)] == [added.id], "it joins the queue at once"
    adam.find("add-photos").set_input_files([{"name": "notes.png", "mimeType": "image/png", "buffer": b"no photo"}])
    adam.page.get_by_text("0 of 1 photos were added.").wait_for()
    assert len(store.images(garden.project)) == 4

    ben = enter("ben")
    ben.working("large.jpg")
    assert ben.find("screen-review").count() == 0
    ben.page.get_by_role("button", name="Skip").wait_for()
    adam.find("screen-people").click()
    adam.page.get_by_label("Role of ben").select_option("reviewer")
    adam.page.get_by_text("ben is reviewer now.").wait_for()
    adam.picture("64-role")
    assert adam.page.get_by_label("Role of adam").is_disabled(), "nobody demotes themselves"
    ben.page.reload()
    ben.find("screen-review").click()
    ben.find("nothing").wait_for()
    adam.page.get_by_label("Role of ben").select_option("annotator")
    adam.page.get_by_text("ben is annotator now.").wait_for()
    ben.page.get_by_role("button", name="Look again").click()
    ben.page.get_by_text("expected the role reviewer").first.wait_for()
    ben.page.reload()
    ben.find("person").wait_for()
    assert ben.find("screen-review").count() == 0, "the change holds at once"
