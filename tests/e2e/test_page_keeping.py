"""Nothing is lost: reloads, several photos, documents out and in; and ways of working without a mouse."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from segany.masks.rle import decode, rle_iou
from segany.records.annotation import AnnotationDocument

PASTE = """async ([base64, kind, name]) => {
  const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name, { type: 'image/png' }));
  const options = { bubbles: true, cancelable: true };
  dispatchEvent(kind === 'paste'
    ? new ClipboardEvent('paste', { ...options, clipboardData: transfer })
    : new DragEvent('drop', { ...options, dataTransfer: transfer }));
}"""
NAMELESS = """() => [...document.querySelectorAll('button, input, [role=radio]')].filter((element) =>
  !(element.getAttribute('aria-label') || element.textContent.trim() || element.labels?.[0]?.textContent.trim() ||
    element.getAttribute('aria-hidden') === 'true')).map((element) => element.outerHTML)"""


@pytest.fixture
def page(desk: Callable[..., Any], service_url: str) -> Any:
    return desk(service_url).visit()


def test_a_reload_loses_nothing_not_even_what_is_being_made(page: Any, photos: dict[str, Path]) -> None:
    page.open(photos["wide.png"])
    page.click(310, 160)
    page.accept()
    page.click(60, 350)
    page.click(120, 380)
    page.press("b")
    page.drag([(500, 40), (560, 60)])
    before = page.page.evaluate("document.querySelector('[data-testid=making]').innerText")
    kept = page.annotations(1)
    page.page.reload()
    page.page.wait_for_selector("[data-ready=ready]")
    page.prepared()
    page.answered()
    assert page.annotations(1) == kept
    assert page.page.evaluate("document.querySelector('[data-testid=making]').innerText") == before
    page.picture("30-after-reload")
    page.accept()
    second = page.annotations(2)[1]
    assert [prompt["kind"] for prompt in second["interaction"]["prompts"]] == ["point", "point", "brush"]
    assert decode(second["segmentation"])[40, 505], "the stroke came back"


def test_the_mask_after_a_reload_is_the_mask_before(page: Any, photos: dict[str, Path]) -> None:
    page.open(photos["wide.png"])
    places = [(310, 160), (240, 120), (350, 60)]
    for place in places:
        page.click(*place)
    page.page.reload()
    page.page.wait_for_selector("[data-ready=ready]")
    page.prepared()
    page.answered()
    page.accept()
    for place in places:
        page.click(*place)
    page.accept()
    first, second = (one["segmentation"] for one in page.annotations(2))
    assert rle_iou([first], [second])[0, 0] > 0.999


def test_photos_in_a_strip_by_paste_and_drop(page: Any, photos: dict[str, Path]) -> None:
    for kind, name in (("paste", "tall.png"), ("drop", "wide.png")):
        text = base64.b64encode(photos[name].read_bytes()).decode()
        page.page.evaluate(PASTE, [text, kind, name])
        page.page.get_by_role("button", name=f"{name}, 0 masks").wait_for()
    page.prepared()
    page.page.wait_for_selector("[data-testid=stage][aria-label^='wide.png']")
    page.prepared()
    page.click(310, 160)
    page.accept()
    page.press(",")
    page.page.wait_for_selector("[data-testid=stage][aria-label^='tall.png']")
    page.prepared()
    page.click(100, 200)
    page.accept()
    counts = {one["image"]["file_name"]: len(one["annotations"]) for one in page.documents(2)}
    assert counts == {"tall.png": 1, "wide.png": 1}
    page.picture("31-film-strip")
    page.page.get_by_role("button", name="Remove tall.png").focus()
    page.page.on("dialog", lambda dialog: dialog.accept())
    page.press("Enter")
    assert [one["image"]["file_name"] for one in page.documents(1)] == ["wide.png"]


def test_a_document_goes_out_and_comes_in(
    page: Any, photos: dict[str, Path], desk: Callable[..., Any], service_url: str
) -> None:
    page.open(photos["wide.png"])
    page.click(310, 160)
    page.accept()
    page.press("Control+e")
    file = page.save("export-annotations")
    other = desk(service_url).visit()
    other.find("files").set_input_files([str(file)])  # before its photo: it waits
    other.page.get_by_text("open the photo to see them").wait_for()
    other.open(photos["wide.png"])
    assert other.annotations(1) == page.annotations(1)
    value = json.loads(file.read_text())
    value["annotations"][0]["segmentation"]["counts"] = "0"
    broken = file.with_name("broken.json")
    broken.write_text(json.dumps(value))
    other.find("files").set_input_files([str(broken)])
    other.page.get_by_role("alert").get_by_text("run lengths must be").wait_for()
    assert AnnotationDocument.from_json(other.documents(1)[0])


def test_all_by_keyboard(page: Any, photos: dict[str, Path]) -> None:
    page.open(photos["square.jpg"])
    page.find("stage").focus()
    page.press("ArrowUp", *["ArrowLeft"] * 4, "f")
    page.answered()
    page.press(*["ArrowUp"] * 3, "d")
    page.answered()
    page.picture("32-keyboard")
    page.press("Enter")
    (mask,) = page.annotations(1)
    assert [prompt["label"] for prompt in mask["interaction"]["prompts"]] == [1, 0]
    page.press(*["ArrowUp"] * 8, "x", *["ArrowDown"] * 20, *["ArrowRight"] * 12, "x")
    page.answered()
    page.accept()
    assert page.annotations(2)[1]["interaction"]["prompts"][0]["kind"] == "box"
    page.press("?")
    page.find("dialog-help").wait_for()
    page.picture("33-help")
    page.press("Escape")
    page.find("dialog-help").wait_for(state="detached")
    assert page.find("spoken").inner_text()
    assert page.page.evaluate(NAMELESS) == [], "every control has a name for screen readers"


def test_on_a_tablet_with_fingers(desk: Callable[..., Any], service_url: str) -> None:
    page = desk(service_url, viewport={"width": 820, "height": 1100}, has_touch=True, color_scheme="light").visit()
    page.find("sample-cat.jpg").tap()
    page.prepared()
    page.page.touchscreen.tap(*page.at(220, 140))
    page.answered()
    page.picture("34-tablet")
    page.page.get_by_role("button", name="Taps mark the background").or_(
        page.page.get_by_role("button", name="Taps mark the object")
    ).tap()
    page.page.touchscreen.tap(*page.at(40, 40))
    page.answered()
    page.find("accept").tap()
    (mask,) = page.annotations(1)
    assert [prompt["label"] for prompt in mask["interaction"]["prompts"]] == [1, 0]
    page.page.get_by_role("button", name="Masks, 1").tap()
    page.picture("35-tablet-list")
    assert page.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_service_decodes_where_the_runtime_fails(
    desk: Callable[..., Any], service_url: str, photos: dict[str, Path]
) -> None:
    page = desk(service_url)
    page.page.route("**/ort/*", lambda route: route.abort())
    page.visit()
    page.find("model").click()
    assert "by the service" in page.find("engine-facts").inner_text()
    page.press("Escape")
    page.open(photos["wide.png"])
    page.click(310, 160)
    page.click(60, 350, background=True)
    page.accept()
    other = desk(service_url).visit()
    other.open(photos["wide.png"])
    other.click(310, 160)
    other.click(60, 350, background=True)
    other.accept()
    (theirs,), (ours,) = page.annotations(1), other.annotations(1)
    assert rle_iou([theirs["segmentation"]], [ours["segmentation"]])[0, 0] > 0.98


def test_threads_start_in_the_built_page(desk: Callable[..., Any], service_url: str, photos: dict[str, Path]) -> None:
    """Bundled carelessly the runtime's threads hang for ever; see web/vite.config.ts."""
    page = desk(service_url)
    page.page.add_init_script("Object.defineProperty(navigator, 'hardwareConcurrency', { get: () => 2 })")
    page.visit()
    page.find("model").click()
    assert "WebAssembly, 2 threads" in page.find("engine-facts").inner_text()
    page.press("Escape")
    page.open(photos["wide.png"])
    page.click(310, 160)
    page.accept()
    assert len(page.annotations(1)) == 1


def test_a_service_with_a_password_is_asked_once(desk: Callable[..., Any], guarded_url: str) -> None:
    page = desk(guarded_url)
    page.page.goto(guarded_url)
    sheet = page.find("dialog-token")
    sheet.get_by_label("Token").fill("a-wrong-token-of-the-right-length")
    page.press("Enter")
    page.page.wait_for_timeout(300)
    sheet.get_by_label("Token").fill("a-token-for-the-tests-alone")
    page.picture("36-token")
    page.press("Enter")
    page.page.wait_for_selector("[data-ready=ready]")
    page.page.reload()
    page.page.wait_for_selector("[data-ready=ready]")
    page.find("sample-cat.jpg").click()
    page.prepared()
    page.find("model").click()
    page.page.get_by_label("Large things").check()
    page.press("Escape", "a")
    page.find("found").wait_for()
