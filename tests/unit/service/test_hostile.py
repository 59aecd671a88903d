"""The written list of hostile inputs: each is turned away with a clear word, and the service keeps serving."""

from __future__ import annotations

import base64
import io
import json
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from segany.service import Settings, create_app

from .conftest import HERE, png

if TYPE_CHECKING:
    from segany.predict.predictor import Predictor

PIXELS = 1_000_000
UPLOAD = 1 << 20
IMAGES = "/api/v1/images"
EXPORT = "/api/v1/export"
JOBS = "/api/v1/jobs"
UNKNOWN = "0" * 64
Ask = Callable[[TestClient, str], Any]
"""(client, key of a photo of 48 x 80 pixels) -> the answer."""


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_of(width: int, height: int, data: bytes = b"") -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(buffer, "JPEG")
    return buffer.getvalue()


def file(content: bytes, name: str = "photo.png", kind: str = "image/png") -> Ask:
    return lambda client, key: client.post(IMAGES, files={"file": (name, content, kind)})


def raw(method: str, path: str, content: Any = b"", kind: str | None = "application/json", **headers: str) -> Ask:
    def ask(client: TestClient, key: str) -> Any:
        own = {name.replace("_", "-"): value for name, value in headers.items()}
        if kind is not None:
            own["content-type"] = kind
        return client.request(method, path.replace("KEY", key), content=content, headers=own)

    return ask


def masks(*prompts: Any, **more: Any) -> Ask:
    return lambda client, key: client.post(f"{IMAGES}/{key}/masks", json={"prompts": list(prompts), **more})


def masks_text(text: str) -> Ask:
    return raw("POST", f"{IMAGES}/KEY/masks", text.encode("utf-8", "surrogatepass"))


def job(**body: Any) -> Ask:
    return lambda client, key: client.post(JOBS, json={"kind": "everything", "image": key, **body})


def export(document: Any, format: Any = "sa1b") -> Ask:
    return lambda client, key: client.post(EXPORT, json={"documents": [document], "format": format})


def document(width: int = 8, height: int = 8, **mask: Any) -> dict[str, Any]:
    counts = {"size": [height, width], "counts": [0, width * height]}
    annotation = {
        "id": 0, "segmentation": counts, "area": width * height, "bbox": [0, 0, width - 1, height - 1],
        "predicted_iou": 1.0, "stability_score": 1.0, "crop_box": [0, 0, width, height], "point_coords": [],
        "interaction": {
            "prompts": [], "created": "2026-01-01T00:00:00Z", "modified": "2026-01-01T00:00:00Z",
            "active_seconds": 0.0, "chosen": None, "model": None,
        },
        **mask,
    }  # fmt: skip
    image = {"image_id": 1, "width": width, "height": height, "file_name": "a.jpg", "sha256": UNKNOWN}
    return {
        "format": "segany-annotation 1", "image": image, "created": "2026-01-01T00:00:00Z",
        "modified": "2026-01-01T00:00:00Z", "active_seconds": 0.0, "annotations": [annotation],
    }  # fmt: skip


CLICK = {"points": [[10, 10]], "labels": [1]}
FORM = "multipart/form-data; boundary=b"
DEEP = "[" * 100_000

HOSTILE: dict[str, Ask] = {
    "an empty file": file(b""),
    "a text called PNG": file(b"this is no picture at all"),
    "a page called JPEG": file(b"<html><script>alert(1)</script>", "photo.jpg", "image/jpeg"),
    "SVG with a script": file(b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>", "a.svg", "image/svg+xml"),
    "EPS, which runs programs": file(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n", "a.eps"),
    "a zip with a PNG's name": file(b"PK\x03\x04" + b"\0" * 100),
    "a cut JPEG": file(jpeg()[:200]),
    "only a PNG's first bytes": file(b"\x89PNG\r\n\x1a\n"),
    "a header that promises 3.6 gigapixels": file(png_of(60_000, 60_000)),
    "a small file of many pixels": file(png_of(8000, 8000, b"\0" * (1001 * 8000))),
    "a picture without pixels": file(png_of(0, 0)),
    "a TIFF of nothing": file(b"II*\0\xff\xff\xff\xff" + b"\0" * 50, "a.tif"),
    "a GIF without a frame": file(b"GIF89a\x01\x00\x01\x00\x00\x00\x00;"),
    "too many bytes": file(b"\x89PNG\r\n\x1a\n" + b"\0" * (UPLOAD + 100_000)),
    "a length that is a lie": raw("POST", IMAGES, b"x", FORM, content_length="9" * 15),
    "a length that is no number": raw("POST", IMAGES, b"x", FORM, content_length="-5"),
    "JSON where a file belongs": raw("POST", IMAGES, b'{"url": "http://169.254.169.254/latest/meta-data"}'),
    "a form without a boundary": raw("POST", IMAGES, b"x", "multipart/form-data"),
    "a form that is cut": raw("POST", IMAGES, b'--b\r\nContent-Disposition: form-data; na', FORM),
    "a file name of 5,000 letters": file(png_of(8, 8), "x" * 5000),
    "an address instead of a file": lambda client, key: client.post(IMAGES, data={"file": "http://localhost/secret"}),
    "two files": lambda client, key: client.post(IMAGES, files=[("file", ("a", b"x")), ("file", ("b", b"y"))]),
    "a thousand fields": lambda client, key: client.post(
        IMAGES, data={f"f{n}": "x" for n in range(1000)}, files={"file": ("a.png", b"x")}
    ),
    "a path as a key": raw("GET", f"{IMAGES}/..%2f..%2f..%2fetc%2fpasswd"),
    "dots as a key": raw("GET", f"{IMAGES}/%2e%2e/%2e%2e/jobs"),
    "a key in capitals": raw("GET", f"{IMAGES}/{'A' * 64}"),
    "a key with a newline": raw("GET", f"{IMAGES}/{'a' * 64}%0a"),
    "an unknown key": raw("GET", f"{IMAGES}/{UNKNOWN}"),
    "an unknown key's embedding": raw("GET", f"{IMAGES}/{UNKNOWN}/embedding"),
    "removing what is not there": raw("DELETE", f"{IMAGES}/{UNKNOWN}"),
    "a path as a model": raw("GET", f"{IMAGES}/KEY/embedding?model=..%2f..%2fweights%2ftiny.safetensors"),
    "a path as a model in a body": masks(CLICK, model="/etc/passwd"),
    "a path as a model's file": raw("GET", "/api/v1/models/toy/onnx/..%2f..%2fjobs"),
    "a hidden model file": raw("GET", "/api/v1/models/other/onnx/manifest.json"),
    "no JSON": masks_text("points = 3"),
    "no body": masks_text(""),
    "a form where JSON belongs": raw("POST", f"{IMAGES}/KEY/masks", b"points=3", "application/x-www-form-urlencoded"),
    "XML where JSON belongs": raw("POST", f"{IMAGES}/KEY/masks", b"<!DOCTYPE a [<!ENTITY b 'c'>]><a/>", "text/xml"),
    "packed JSON": raw("POST", f"{IMAGES}/KEY/masks", zlib.compress(b"{}"), content_encoding="deflate"),
    "JSON without a bottom": masks_text(f'{{"prompts": {DEEP}'),
    "a number of 100,000 digits": masks_text('{"prompts": [{"points": [[' + "9" * 100_000 + ', 1]], "labels": [1]}]}'),
    "bytes that are no UTF-8": raw("POST", f"{IMAGES}/KEY/masks", b'{"prompts": "\xff\xfe"}'),
    "half a surrogate": masks_text('{"prompts": [{"low_res": "\\ud800"}], "model": "\\udfff"}'),
    "more JSON than allowed": masks_text('{"prompts": [' + " " * (1 << 20) + "]}"),
    "not a number": masks_text('{"prompts": [{"points": [[NaN, 1]], "labels": [1]}]}'),
    "infinity": masks_text('{"prompts": [{"points": [[Infinity, 1e999]], "labels": [1]}]}'),
    "a truth as a number": masks({"points": [[True, 1]], "labels": [1]}),
    "a text as a number": masks({"points": [["10", 1]], "labels": [1]}),
    "a point outside": masks({"points": [[81, 10]], "labels": [1]}),
    "a point far outside": masks({"points": [[1e308, -1e308]], "labels": [1]}),
    "points without labels": masks({"points": [[1, 1]]}),
    "labels without points": masks({"labels": [1]}),
    "more labels than points": masks({"points": [[1, 1]], "labels": [1, 0]}),
    "a padding label": masks({"points": [[1, 1]], "labels": [-1]}),
    "a point of three": masks({"points": [[1, 1, 1]], "labels": [1]}),
    "a box upside down": masks({"box": [50, 40, 10, 10]}),
    "a box elsewhere": masks({"box": [500, 500, 600, 600]}),
    "an empty prompt": masks({}),
    "no prompts": masks(),
    "too many prompts": masks(*[CLICK] * 65),
    "too many clicks": masks({"points": [[1, 1]] * 257, "labels": [1] * 257}),
    "an unknown wish": masks({**CLICK, "text": "a cat"}),
    "a wrong wish": masks(CLICK, return_low_res="everything"),
    "logits that are no base64": masks({**CLICK, "low_res": "§§§"}),
    "logits of another size": masks({**CLICK, "low_res": base64.b64encode(b"1234").decode()}),
    "logits that are no numbers": masks(
        {**CLICK, "low_res": base64.b64encode(np.full((64, 64), np.nan, "<f4").tobytes()).decode()}
    ),
    "a mask of two gigapixels": masks({"mask": {"size": [46340, 46340], "counts": "0"}}),
    "a mask that is damaged": masks({"mask": {"size": [48, 80], "counts": "~~~~"}}),
    "a mask without pixels": masks({"mask": {"size": [48, 80], "counts": "`k3"}}),
    "an unknown kind of job": job(kind="rm -rf"),
    "a job for an unknown photo": job(image=UNKNOWN),
    "an unknown knob": job(knobs={"points_per_side": 4, "__class__": 1}),
    "a knob that is a list": job(knobs={"points_per_side": [1, 2]}),
    "a job of a million clicks": job(knobs={"points_per_side": 512, "crop_n_layers": 4}),
    "a batch that fills memory": job(knobs={"points_per_batch": 100_000}),
    "clicks outside": job(knobs={"points_per_side": None, "point_grids": [[[2, 2]]]}),
    "clicks that are texts": job(knobs={"points_per_side": None, "point_grids": "abc"}),
    "an unknown preset": job(knobs={"preset": "../../secret"}),
    "an unknown job": raw("GET", f"{JOBS}/{'0' * 32}"),
    "an unknown job's events": raw("GET", f"{JOBS}/{'0' * 32}/events"),
    "a path as a job": raw("GET", f"{JOBS}/..%2f..%2fimages/records"),
    "an unknown format": export(document(), "pickle"),
    "an empty document": export({}),
    "a document that is a list": export([]),
    "a document of another kind": export({**document(), "format": "segany-annotation 9"}),
    "a document of two gigapixels": export(document(46340, 46340)),
    "runs that do not fill the mask": export(document(segmentation={"size": [8, 8], "counts": [0, 3]})),
    "runs below nothing": export(document(segmentation={"size": [8, 8], "counts": [-64, 128]})),
    "an export as text": raw("POST", EXPORT, json.dumps({"documents": [document()], "format": "sa1b"}), "text/plain"),
    "an export without a bottom": raw("POST", EXPORT, f'{{"documents": {DEEP}'),
    "half a surrogate in an export": raw("POST", EXPORT, '{"documents": [{"a": "\\ud800"}], "format": "sa1b"}'),
    "a foreign host": raw("GET", "/api/v1/models", host="evil.example"),
    "a foreign page": raw("DELETE", f"{IMAGES}/KEY", origin="http://evil.example"),
    "an unknown method": raw("PATCH", f"{IMAGES}/KEY"),
    "an unknown address": raw("GET", "/api/v2/images"),
    "an address with a zero": raw("GET", "/api/v1/images/%00"),
    "the server's own files": raw("GET", "/..%2f..%2f..%2fetc%2fpasswd"),
}  # fmt: skip


@pytest.fixture(scope="module")
def served(
    toy_predictor: Predictor, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[TestClient, str, Path]]:
    """One app for the whole list, a photo in it, and its folder."""
    folder = tmp_path_factory.mktemp("served")
    settings = Settings(
        data_dir=folder, threads=1, prepare=False, max_pixels=PIXELS, max_upload_bytes=UPLOAD, max_json_bytes=1 << 20
    )
    with ExitStack() as stack:
        app = create_app(settings, loaders={"toy": lambda: toy_predictor})
        client = stack.enter_context(TestClient(app, base_url=HERE, raise_server_exceptions=False))
        pixels = np.random.default_rng(0).integers(0, 255, (48, 80, 3), dtype=np.uint8)
        key = client.post(IMAGES, files={"file": ("photo.png", png(pixels))}).json()["key"]
        yield client, key, folder


@pytest.mark.parametrize("name", HOSTILE)
def test_it_is_turned_away_with_a_clear_word(served: tuple[TestClient, str, Path], name: str) -> None:
    client, key, folder = served
    answer = HOSTILE[name](client, key)
    assert 400 <= answer.status_code < 500, f"{answer.status_code}: {answer.text[:500]}"
    error = answer.json()["error"]
    assert set(answer.json()) == {"error"} and set(error) == {"code", "message"}
    expected, _, rest = error["message"].partition(";")
    assert expected and re.match(r"(?s).+\. [A-Z0-9].*", rest), f"not expected; got. What to do: {error['message']}"
    assert str(folder) not in answer.text and "Traceback" not in answer.text
    assert len(error["message"]) < 700
    good = client.post(f"{IMAGES}/{key}/masks", json={"prompts": [CLICK]})
    assert good.status_code == 200 and len(good.json()["results"][0]["masks"]) == 3


def test_the_list_is_long() -> None:
    assert len(HOSTILE) >= 30


def test_nothing_of_it_was_kept(served: tuple[TestClient, str, Path]) -> None:
    client, key, folder = served
    for name, ask in HOSTILE.items():
        if "file" in name or "PNG" in name:
            ask(client, key)
    assert [path.stem for path in (folder / "images").rglob("*.bin")] == [key]
    assert not list((folder / "jobs").iterdir())
    assert not (folder / "passing").exists() or not list((folder / "passing").iterdir())


@pytest.mark.parametrize(
    "name",
    [
        "../../../etc/cron.d/evil",
        "..\\..\\evil.exe",
        "/etc/passwd",
        "a\0b.png",
        "x" * 200,
        "CON",
        "\r\nSet-Cookie: a=b",
        "‮gnp.exe",
    ],
)
def test_a_hostile_file_name_is_not_looked_at(served: tuple[TestClient, str, Path], name: str) -> None:
    client, key, folder = served
    before = sorted(path.name for path in folder.rglob("*"))
    pixels = np.random.default_rng(0).integers(0, 255, (48, 80, 3), dtype=np.uint8)
    answer = client.post(IMAGES, files={"file": (name, png(pixels), "image/png")})
    assert answer.status_code == 200 and answer.json()["key"] == key
    assert sorted(path.name for path in folder.rglob("*")) == before
