"""A person's work in the page behind a real service: point, choose, brush, undo, accept, everything, export."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from segany.masks.rle import decode, rle_area
from segany.records.annotation import AnnotationDocument
from segany.records.coco import from_coco
from segany.records.sa1b import from_sa1b

CUP = (310, 160)
WOOD = (60, 350)


@pytest.fixture
def page(desk: Callable[..., Any], service_url: str) -> Any:
    return desk(service_url).visit()


@pytest.fixture
def coffee(page: Any) -> Any:
    """The page with the sample photo of a cup open."""
    page.picture("01-welcome")
    page.find("sample-coffee.jpg").click()
    page.prepared()
    return page


def test_candidates_a_background_click_undo_and_accept(coffee: Any) -> None:
    page = coffee
    page.hover(*CUP)
    page.page.wait_for_timeout(600)
    page.picture("02-preview")
    page.click(*CUP)
    page.picture("03-candidates")
    cards = [page.find(f"candidate-{number}") for number in (1, 2, 3)]
    best = [card.get_attribute("aria-checked") for card in cards].index("true")
    assert "best" in cards[best].get_attribute("aria-label")
    page.press("c")
    assert cards[(best + 1) % 3].get_attribute("aria-checked") == "true"
    page.press("Shift+C", "Control+z", "Control+z")  # the third undo would take the click back
    assert cards[best].get_attribute("aria-checked") == "true"
    page.press(str(best + 1))
    page.click(*WOOD, background=True)
    page.picture("04-background-click")
    assert page.find("candidate-1").count() == 0, "two clicks give one mask"
    page.press("Control+z")
    page.find("candidate-1").wait_for()
    page.press("Control+Shift+z")
    page.find("candidate-1").wait_for(state="detached")
    page.accept()
    (mask,) = page.annotations(1)
    kinds = [(prompt["kind"], prompt["label"]) for prompt in mask["interaction"]["prompts"]]
    assert kinds == [("point", 1), ("point", 0)]
    assert mask["source"] == "model"
    assert mask["interaction"]["model"]
    assert mask["output_index"] == 0
    page.picture("05-accepted")


def test_a_chosen_candidate_is_what_is_accepted(coffee: Any) -> None:
    page = coffee
    page.click(*CUP)
    page.press("3")
    page.accept()
    (mask,) = page.annotations(1)
    assert mask["interaction"]["chosen"] == 2
    assert mask["output_index"] == 3


def test_box_brush_and_eraser(coffee: Any) -> None:
    page = coffee
    page.box(170, 15, 412, 312)
    page.picture("06-box")
    page.press("b")
    page.drag([(20, 380), (120, 380)])
    page.press("e", "]", "]")
    page.drag([(70, 360), (70, 398)])
    page.hover(200, 300)
    page.picture("07-brush-and-eraser")
    page.accept()
    (mask,) = page.annotations(1)
    kinds = [prompt["kind"] for prompt in mask["interaction"]["prompts"]]
    assert kinds == ["box", "brush", "erase"]
    pixels = decode(mask["segmentation"])
    assert pixels[380, 25] and pixels[380, 115], "painted"
    assert not pixels[380, 70], "erased"
    page.press("s")
    page.click(*CUP)
    page.press("Escape")
    assert len(page.annotations(1)) == 1


def test_fast_clicks_all_count(coffee: Any) -> None:
    page = coffee
    for place in (CUP, (240, 120), (350, 200)):
        page.page.mouse.click(*page.at(*place))
    page.accept()
    (mask,) = page.annotations(1)
    told = [(p["x"], p["y"]) for p in mask["interaction"]["prompts"]]
    assert np.allclose(told, [CUP, (240, 120), (350, 200)], atol=1)


def test_never_more_than_one_preview_is_decoded(coffee: Any) -> None:
    page = coffee
    for step in range(60):
        page.hover(100 + 6 * step, 100 + 3 * step)
    page.page.wait_for_timeout(800)
    spans = page.page.evaluate(
        "performance.getEntriesByName('segany:preview').map((m) => [m.startTime, m.startTime + m.duration])"
    )
    assert len(spans) >= 2
    assert all(later[0] >= sooner[1] for sooner, later in pairwise(spans))


def test_the_list_names_colours_hides_edits_and_deletes(coffee: Any) -> None:
    page = coffee
    for place in (CUP, WOOD):
        page.click(*place)
        page.accept()
    page.press("n")
    page.page.keyboard.type("table")
    page.press("Enter")
    page.press("k", "l", "o")  # the first mask: another colour, hidden
    first, second = page.annotations(2)
    assert second["label"] == "table"
    assert first["view"]["hidden"] and not second["view"]["hidden"]
    page.picture("08-list")
    page.press("o", "m", "b")
    page.drag([(500, 40), (560, 40)])
    page.accept()
    again = page.annotations(2)[0]
    assert [p["kind"] for p in again["interaction"]["prompts"]] == ["point", "brush"]
    assert again["area"] > first["area"]
    page.press("Delete")
    assert [mask["label"] for mask in page.annotations(1)] == ["table"]
    page.press("Control+z")
    assert len(page.annotations(2)) == 2


def test_everything_is_found_picked_and_kept(coffee: Any) -> None:
    page = coffee
    page.find("model").click()
    page.page.get_by_label("Large things").check()
    page.press("Escape")
    page.find("everything").click()
    page.find("found").wait_for(timeout=90_000)
    page.hover(*CUP)
    page.picture("09-everything")
    page.page.mouse.click(*page.at(*CUP))
    (mask,) = page.annotations(1)
    assert mask["source"] == "automatic"
    assert mask["interaction"]["prompts"][0]["kind"] == "everything"
    assert decode(mask["segmentation"])[CUP[1], CUP[0]]
    left = int(page.find("found").locator("b").inner_text())
    page.find("keep-all").click()
    assert len(page.annotations(left + 1)) == left + 1
    page.picture("10-everything-kept")
    page.press("Control+z", "Control+z")
    assert page.documents(0)


def test_everything_can_be_stopped(coffee: Any) -> None:
    page = coffee
    page.find("model").click()
    page.page.get_by_label("Small things too").check()
    page.press("Escape")
    page.find("everything").click()
    page.find("progress").wait_for()
    page.picture("11-progress")
    page.press("Escape")
    page.find("progress").wait_for(state="detached")
    page.click(*CUP)
    page.accept()
    assert len(page.annotations(1)) == 1


def test_exports_are_files_that_python_reads(coffee: Any) -> None:
    page = coffee
    page.click(*CUP)
    page.accept()
    page.press("n")
    page.page.keyboard.type("cup")
    page.press("Enter")
    page.box(170, 15, 412, 312)
    page.accept()
    kept = page.annotations(2)
    page.press("Control+e")
    page.picture("12-export")
    document = AnnotationDocument.from_json(json.loads(page.save("export-annotations").read_text()))
    assert [one.mask.segmentation for one in document.annotations] == [one["segmentation"] for one in kept]
    assert document.clicks == 2
    record = from_sa1b(json.loads(page.save("export-sa1b").read_text()))
    assert record.annotations == document.to_record().annotations
    (image,) = from_coco(json.loads(page.save("export-coco").read_text()))
    assert [mask.label for mask in image.annotations] == ["cup", "object"]
    assert [mask.segmentation for mask in image.annotations] == [one["segmentation"] for one in kept]
    with zipfile.ZipFile(page.save("export-masks")) as archive:
        for name, one in zip(sorted(archive.namelist()), kept, strict=True):
            white = np.asarray(Image.open(archive.open(name)).convert("L")) > 127
            assert (white == decode(one["segmentation"])).all()
    with zipfile.ZipFile(page.save("export-cutouts")) as archive:
        for name, one in zip(sorted(archive.namelist()), kept, strict=True):
            alpha = np.asarray(Image.open(archive.open(name)))[..., 3]
            assert np.count_nonzero(alpha) == rle_area(one["segmentation"])
    labels = page.save("export-yolo")
    assert labels.stat().st_size > 0
    assert [one.get("label") for one in ElementTree.parse(page.save("export-cvat")).iter("mask")] == ["cup", "object"]
    (task,) = json.loads(page.save("export-labelstudio").read_text())
    assert len(task["annotations"][0]["result"]) == 2


def test_a_photo_of_ones_own_and_what_is_no_photo(page: Any, photos: dict[str, Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8 not a photo")
    page.find("files").set_input_files([str(broken)])
    alert = page.page.get_by_role("alert")
    assert "broken.jpg must be a picture" in alert.inner_text()
    page.open(photos["tall.png"])
    page.click(100, 200)
    page.accept()
    (mask,) = page.annotations(1)
    assert mask["segmentation"]["size"] == [427, 220]
    page.picture("13-tall-photo")
