"""A real browser, the built page, and who serves it: `segany serve`, or a server of plain files."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from segany.engine.store.store import Store
    from segany.engine.values import Image as Photo
    from segany.predict.predictor import Predictor

ROOT = Path(__file__).resolve().parents[2]
ARTEFACTS = Path(__file__).resolve().parent / "artefacts"
PATIENCE_MS = 90_000
PASSWORD = "correct horse battery"
GUIDELINE = "Mask everything a person would name: the most prominent thing first, then its parts, then what is behind."
TOKEN = "a-token-for-the-tests-alone"
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --force-color-profile=srgb"
)
READ_WORKS = """(name) => new Promise((resolve, reject) => {
  const opened = indexedDB.open(name);
  opened.onerror = () => reject(opened.error);
  opened.onsuccess = () => {
    const all = opened.result.transaction('works').objectStore('works').getAll();
    all.onsuccess = () => { opened.result.close(); resolve(all.result.map((work) => work.document)); };
    all.onerror = () => reject(all.error);
  };
})"""


def absent(reason: str) -> None:
    """Skip, and on CI fail: there everything is there."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def page_folder() -> Path:
    """The page, built from today's sources."""
    spec = importlib.util.spec_from_file_location("page_build", ROOT / "web" / "build.py")
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    try:
        script.build()
    except script.NoNode as problem:
        absent(f"the page is {problem}")
    return Path(script.PAGE)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    program = shutil.which("chromium")
    if program is None:
        absent("needs the browser `chromium` (a Debian package of that name)")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=program, args=FLAGS.split())
        yield launched
        launched.close()


@pytest.fixture(scope="session")
def tiny() -> Predictor:
    """The embedded model."""
    from segany.predict.predictor import Predictor

    return Predictor.from_pretrained("tiny", device="cpu", dtype="float32")


@pytest.fixture(scope="session")
def site(page_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of the page and the model's files on a server that only hands out files."""
    from segany.export.config import ExportConfig
    from segany.export.folder import export_onnx
    from segany.modeling.checkpoints.load import load_model

    folder = tmp_path_factory.mktemp("site") / "page"
    shutil.copytree(page_folder, folder)
    export_onnx(load_model("tiny"), folder / "models" / "tiny", ExportConfig(exact_click=True))
    with serving(folder) as address:
        yield address


class Files(SimpleHTTPRequestHandler):
    """Plain files, no headers of its own, silent."""

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


class serving:
    """A server of the files of a folder, while the context lasts."""

    def __init__(self, folder: Path) -> None:
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Files, directory=str(folder)))

    def __enter__(self) -> str:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self.server.server_address[1]}/"

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


@contextmanager
def running(data: Path, *words: str) -> Iterator[str]:
    """Address of a real `segany serve` with the embedded model, while the context lasts."""
    command = [sys.executable, "-m", "segany", "serve", "--port", "0", "--device", "cpu", "--data", str(data), *words]
    said = data / "said.txt"
    with said.open("w") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        assert process.stdout is not None
        try:
            address = process.stdout.readline().strip()
            assert address.startswith("http"), said.read_text()
            yield address.rstrip("/") + "/"
        finally:
            process.terminate()
            process.wait(30)


@pytest.fixture(scope="session")
def service() -> Callable[..., AbstractContextManager[str]]:
    """`running`, for tests that say what is served."""
    return running


@pytest.fixture(scope="session")
def service_url(page_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a service for everybody on this machine."""
    with running(tmp_path_factory.mktemp("service")) as address:
        yield address


@pytest.fixture
def guarded_url(page_folder: Path, tmp_path: Path) -> Iterator[str]:
    """Address of a service whose API demands `TOKEN`."""
    with running(tmp_path, "--token", TOKEN) as address:
        yield address


@dataclass
class Desk:
    """The page in a browser, driven as a person would: pointer, keys, files."""

    page: Page
    address: str
    problems: list[str]
    database: str = "segany"
    """Where the browser keeps the work."""

    def visit(self) -> Desk:
        """Open or reload the page and wait until the model runs."""
        self.page.goto(self.address)
        self.page.wait_for_selector("[data-ready=ready]", timeout=PATIENCE_MS)
        return self

    def find(self, name: str) -> Any:
        """An element by its test id."""
        return self.page.get_by_test_id(name)

    def open(self, *files: Path) -> None:
        """Choose files, and wait until a photo of theirs, not the one before, can be clicked on."""
        self.find("files").set_input_files([str(file) for file in files])
        theirs = [f'[data-testid=stage][aria-label^="{file.name}, "][data-prepared=true]' for file in files]
        self.page.wait_for_selector(", ".join(theirs), timeout=PATIENCE_MS)

    def prepared(self) -> None:
        """Wait until the open photo is encoded."""
        self.page.wait_for_selector("[data-testid=stage][data-prepared=true]", timeout=PATIENCE_MS)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where a pixel of the photo is in the window."""
        stage = self.find("stage")
        zoom, left, top = (float(number) for number in stage.get_attribute("data-view").split())
        box = stage.bounding_box()
        return box["x"] + left + x * zoom, box["y"] + top + y * zoom

    def hover(self, x: float, y: float) -> None:
        """Move the pointer over a pixel of the photo."""
        self.page.mouse.move(*self.at(x, y))

    def click(self, x: float, y: float, *, background: bool = False) -> None:
        """A click on a pixel of the photo, and its answer."""
        self.page.mouse.click(*self.at(x, y), button="right" if background else "left")
        self.answered()

    def drag(self, path: list[tuple[float, float]], *, steps: int = 4) -> None:
        """The pointer pressed from the first to the last of these pixels of the photo."""
        mouse = self.page.mouse
        mouse.move(*self.at(*path[0]))
        mouse.down()
        for point in path[1:]:
            mouse.move(*self.at(*point), steps=steps)
        mouse.up()

    def box(self, x0: float, y0: float, x1: float, y1: float) -> None:
        """A box by dragging, and its answer."""
        self.drag([(x0, y0), (x1, y1)])
        self.answered()

    def answered(self) -> None:
        """Wait until nothing is being asked."""
        self.page.wait_for_selector("[data-testid=making][data-asking=false]", timeout=PATIENCE_MS)

    def accept(self) -> None:
        """Enter, and wait until nothing is being made."""
        self.page.keyboard.press("Enter")
        self.find("making").wait_for(state="detached", timeout=PATIENCE_MS)

    def press(self, *keys: str) -> None:
        """Keys, one after the other."""
        for key in keys:
            self.page.keyboard.press(key)

    def documents(self, masks: int | None = None) -> list[dict[str, Any]]:
        """What the browser keeps, once it has come to rest; with `masks` as soon as so many are kept in all."""
        before: list[dict[str, Any]] | None = None
        for _ in range(100):
            documents: list[dict[str, Any]] = self.page.evaluate(READ_WORKS, self.database)
            count = sum(len(one["annotations"]) for one in documents)
            if documents == before and masks in (None, count):
                return documents
            before = documents
            self.page.wait_for_timeout(60)
        raise AssertionError(f"expected {masks} masks to be kept; got {count}")

    def annotations(self, masks: int) -> list[dict[str, Any]]:
        """The masks kept of the only photo."""
        (document,) = self.documents(masks)
        found: list[dict[str, Any]] = document["annotations"]
        return found

    def shown(self) -> dict[str, float]:
        """Durations of what the page measured of itself, milliseconds: the median of each kind."""
        entries = self.page.evaluate("performance.getEntriesByType('measure').map((m) => [m.name, m.duration])")
        kinds: dict[str, list[float]] = {}
        for name, duration in entries:
            kinds.setdefault(name, []).append(duration)
        return {name: float(np.median(values)) for name, values in kinds.items()}

    def working(self, file_name: str) -> None:
        """Wait until a photo of a project can be clicked on."""
        self.page.wait_for_selector(f"[data-testid=stage][aria-label^='{file_name}'][data-prepared=true]")

    def open_photo(self) -> str:
        """Name of the photo of a project that is open."""
        self.prepared()
        return str(self.find("stage").get_attribute("aria-label").partition(",")[0])

    def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds."""
        for _ in range(300):
            if holds():
                return
            self.page.wait_for_timeout(100)
        raise AssertionError("expected something to come true within 30 s; it did not")

    def save(self, name: str) -> Path:
        """A download begun by clicking on an element, as a file."""
        with self.page.expect_download(timeout=PATIENCE_MS) as download:
            self.find(name).click()
        path = Path(str(download.value.path()))
        return path.rename(path.with_name(download.value.suggested_filename))

    def picture(self, name: str) -> None:
        """A screenshot among the artefacts."""
        ARTEFACTS.mkdir(exist_ok=True)
        self.page.wait_for_timeout(250)
        self.page.screenshot(path=ARTEFACTS / f"{name}.png")


Desks = Callable[..., Desk]


@pytest.fixture
def desk(browser: Browser) -> Iterator[Desks]:
    """Makes pages with nothing kept in them; at the end no page may have had an error."""
    contexts = []
    desks: list[Desk] = []

    def make(address: str, **options: Any) -> Desk:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, "color_scheme": "dark", **options})
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        page = context.new_page()
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        desks.append(Desk(page, address, problems))
        return desks[-1]

    yield make
    for context in contexts:
        context.close()
    for one in desks:
        assert not one.problems, json.dumps(one.problems, indent=1)


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Real photos of different shapes: wide, square, tall, and larger than the model's canvas."""
    from skimage import data

    folder = tmp_path_factory.mktemp("photos")
    coffee, rocket = data.coffee(), data.rocket()
    pictures = {
        "wide.png": coffee,
        "square.jpg": data.astronaut(),
        "tall.png": np.ascontiguousarray(rocket[:, 200:420]),
        "large.jpg": np.asarray(Image.fromarray(data.chelsea()).resize((1500, 998), Image.Resampling.BICUBIC)),
    }
    for name, rgb in pictures.items():
        Image.fromarray(rgb).save(folder / name, quality=92)
    return {name: folder / name for name in pictures}


@dataclass(frozen=True)
class Garden:
    """A project with three photos, and the service in front of it."""

    store: Store
    project: int
    images: dict[str, Photo]
    address: str
    guideline: str = GUIDELINE


@pytest.fixture(scope="module")
def served(page_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, str]]:
    """A store with people of every role, and the address of its service."""
    from segany.engine.store import open_store

    folder = tmp_path_factory.mktemp("project")
    store = open_store(folder / "store", create=True)
    for name, role in (("ann", "annotator"), ("ben", "annotator"), ("rosa", "reviewer"), ("adam", "admin")):
        store.add_user(name, PASSWORD, role)
    with running(folder, "--project", str(folder / "store")) as address:
        yield store, address
    store.close()


@pytest.fixture
def garden(served: tuple[Store, str], photos: dict[str, Path]) -> Garden:
    from segany.engine.config import ProjectSettings

    store, address = served
    settings = ProjectSettings(guideline=GUIDELINE, lease_seconds=3.0, review_seconds=60.0)
    project = store.create_project(f"garden {len(store.projects()) + 1}", settings=settings).id
    for name in ("wide.png", "square.jpg", "tall.png"):
        store.add_image(project, name, photos[name].read_bytes() + bytes(project))  # no other garden's photo
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
