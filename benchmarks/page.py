"""How quick the page is in a headless Chromium: first load, encoding, decoding; the full-size decoder, whole and split.

    python benchmarks/page.py [--clicks 30] [--full-size] [--chromium chromium] [-o DIR]

Part one serves the built page with `tiny` beside it, once as plain files (one thread) and once with the two headers
that allow threads, and reads what the page measured of itself: `ready` from navigation to a model that can be asked,
`encode` and `decode` (the model alone), and `click` (until three masks at the photo's size are there). Part two, with
`--full-size`, puts a decoder of the released size (64 × 64 × 256, random weights) into one page twice, as one graph and
split, and takes turns between them with one thread. The numbers say little while anything else runs on the machine.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from typing import Any, ClassVar

import numpy as np
from _common import RESULTS, write
from playwright.sync_api import Browser, Page, sync_playwright

from segany.export.config import ExportConfig
from segany.export.folder import export_onnx
from segany.export.graph import GraphSpec, write_graph
from segany.export.quantise import quantise
from segany.export.specs import decoder_spec
from segany.export.split import split_specs
from segany.modeling.build import build_model
from segany.modeling.checkpoints.load import load_model
from segany.modeling.presets import PRESETS

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "src" / "segany" / "service" / "page"
RUNTIME = ROOT / "web" / "node_modules" / "onnxruntime-web" / "dist"
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)
ISOLATED = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}
PATIENCE_MS = 300_000
MEASURES = "performance.getEntriesByType('measure').map((m) => [m.name, m.duration])"
SIDE_BY_SIDE = """async ([files, rounds]) => {
  const ort = await import('/runtime/ort.wasm.min.mjs');
  ort.env.wasm.wasmPaths = '/runtime/';
  ort.env.wasm.numThreads = 1;
  const sessions = {};
  for (const file of files) sessions[file] = await ort.InferenceSession.create(`/full/${file}.onnx`);
  const noise = (dims, scale) => new ort.Tensor('float32',
    Float32Array.from({ length: dims.reduce((a, b) => a * b) }, () => scale * (Math.random() - 0.5)), dims);
  const embedding = noise([1, 256, 64, 64], 2);
  const inputs = {
    image_embeddings: embedding,
    point_coords: new ort.Tensor('float32', Float32Array.of(512, 400, 0, 0), [1, 2, 2]),
    point_labels: new ort.Tensor('float32', Float32Array.of(1, -1), [1, 2]),
    mask_input: noise([1, 1, 256, 256], 0),
    has_mask_input: new ort.Tensor('float32', Float32Array.of(0), [1]),
    orig_im_size: new ort.Tensor('float32', Float32Array.of(1024, 1024), [2]),
  };
  const run = async (file, feeds) => {
    const session = sessions[file];
    const start = performance.now();
    const out = await session.run(Object.fromEntries(session.inputNames.map((name) => [name, feeds[name]])));
    return [performance.now() - start, out];
  };
  const times = Object.fromEntries(files.map((file) => [file, []]));
  let seen = {};
  for (let round = 0; round <= rounds; round++) {
    for (const file of files) {
      const [time, out] = await run(file, { ...inputs, ...seen });
      if (file === 'decoder_image') seen = out;
      if (round > 0) times[file].push(time);
    }
  }
  return times;
}"""


class Handler(SimpleHTTPRequestHandler):
    """Files with extra headers, silent."""

    extra: ClassVar[dict[str, str]] = {}

    def end_headers(self) -> None:
        for name, value in self.extra.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@contextmanager
def serving(folder: Path, headers: dict[str, str]) -> Iterator[str]:
    handler = type("Extra", (Handler,), {"extra": headers})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()


def summary(page: Page) -> dict[str, Any]:
    kinds: dict[str, list[float]] = {}
    for name, duration in page.evaluate(MEASURES):
        kinds.setdefault(name.removeprefix("segany:"), []).append(duration)
    return {
        f"{name}_ms": {
            "median": median(values),
            "first": values[0],
            "least": min(values),
            "most": max(values),
            "count": len(values),
        }
        for name, values in kinds.items()
    }


def work_in_page(browser: Browser, address: str, clicks: int) -> dict[str, Any]:
    """Load the page, open every sample, click about."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.goto(address)
    page.wait_for_selector("[data-ready=ready]")
    draw = np.random.default_rng(0)
    page.get_by_test_id("sample-cat.jpg").click()
    for name in ("coffee.jpg", "astronaut.jpg", None):
        page.wait_for_selector("[data-testid=stage][data-prepared=true]")
        box = page.get_by_test_id("stage").bounding_box()
        assert box is not None
        for _ in range(clicks):
            x, y = draw.uniform(0.4, 0.6), draw.uniform(0.2, 0.6)
            page.mouse.click(box["x"] + box["width"] * x, box["y"] + box["height"] * y)
            page.wait_for_selector("[data-testid=making][data-asking=false]")
            page.keyboard.press("Escape")
        if name is not None:
            files = [str(PAGE / "samples" / name)]
            before = page.get_by_test_id("stage").get_attribute("aria-label") or ""
            page.get_by_test_id("files").set_input_files(files)
            page.wait_for_selector(f"[data-testid=stage]:not([aria-label='{before}'])")
    result = {**summary(page), "isolated": page.evaluate("crossOriginIsolated")}
    page.get_by_test_id("model").click()
    result["engine"] = page.get_by_test_id("engine-facts").inner_text()
    context.close()
    return result


def full_size(browser: Browser, folder: Path, rounds: int) -> dict[str, Any]:
    """The released decoder's size with random weights, whole, split, and the click in 8 bits, in one page."""
    config = dataclasses.replace(PRESETS["vit_b"], name="full", encoder=PRESETS["tiny"].encoder)
    model = build_model(config).eval()
    specs: list[GraphSpec] = [decoder_spec(model, ExportConfig(), batch=False), *split_specs(model)]
    target = folder / "full"
    target.mkdir()
    for spec in specs:
        write_graph(spec, target, ExportConfig().opset)
    names = [spec.name for spec in specs]
    click = target / f"{names[-1]}.onnx"
    if quantise(click, target / f"{names[-1]}_int8.onnx"):
        names.append(f"{names[-1]}_int8")
    (folder / "runtime").symlink_to(RUNTIME)
    (folder / "index.html").write_text("<!doctype html><title>side by side</title>", encoding="utf-8")
    with serving(folder, ISOLATED) as address:
        page = browser.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.goto(address)
        times: dict[str, list[float]] = page.evaluate(SIDE_BY_SIDE, [names, rounds])
        page.close()
    medians = {name: median(values) for name, values in times.items()}
    whole = medians[names[0]]
    return {
        "median_ms": medians,
        "times_faster_per_click": {name: whole / medians[name] for name in names[2:]},
        "rounds": rounds,
        "threads": 1,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clicks", type=int, default=30, help="clicks per photo; there are three photos")
    parser.add_argument("--full-size", action="store_true", help="also the full-size decoder, whole and split")
    parser.add_argument("--chromium", default=shutil.which("chromium"), help="the browser")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS, help="folder for page.json")
    options = parser.parse_args()
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        site = Path(scratch) / "site"
        shutil.copytree(PAGE, site)
        export_onnx(load_model("tiny"), site / "models" / "tiny")
        browser = playwright.chromium.launch(executable_path=options.chromium, args=FLAGS.split())
        result["browser"] = browser.version
        for name, headers in (("plain files", {}), ("with isolation headers", ISOLATED)):
            with serving(site, headers) as address:
                result[name] = work_in_page(browser, address, options.clicks)
        if options.full_size:
            other = Path(scratch) / "side"
            other.mkdir()
            result["full_size_decoder"] = full_size(browser, other, max(5, options.clicks // 2))
        browser.close()
    write(options.output, "page", result)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
