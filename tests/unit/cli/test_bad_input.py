"""Bad images, prompts, options and checkpoints through the program: exit code, message, and nothing left behind.

Each message must hold what was expected, what came, and what to do: the three texts of every case.
"""

from __future__ import annotations

import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from .conftest import Ran

Run = Callable[..., Ran]
Said = tuple[str, str, str]

HERE = Path(__file__)
POINT = ("--point", "30,25")


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(said: Ran, expected: Said, before: dict[str, bytes], folder: Path) -> None:
    assert said.code == 2, said
    assert said.out == ""
    assert "Traceback" not in said.err
    for part in expected:
        assert part in said.err, (part, said.err)
    assert tree(folder) == before


def jpeg(path: Path) -> bytes:
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 90, 3), np.uint8)).save(path, "JPEG")
    return path.read_bytes()


def write(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(content) and None


IMAGES: dict[str, tuple[str, Callable[[Path], object], Said]] = {
    "missing": ("gone.jpg", lambda f: None, ("expected an image file", "nothing", "Check the path")),
    "a folder": ("photos.jpg", lambda f: (f / "photos.jpg").mkdir(), ("expected an image file", "folder", "")),
    "empty": (
        "a.jpg",
        lambda f: (f / "a.jpg").touch(),
        ("expected a readable image", "a.jpg", "save it as JPEG or PNG"),
    ),
    "text": ("a.png", write("a.png", b"hello"), ("expected a readable image", "a.png", "save it as JPEG or PNG")),
    "a web page": (
        "a.jpg",
        write("a.jpg", b"<html>404</html>"),
        ("expected a readable image", "a.jpg", "save it as JPEG or PNG"),
    ),
    "truncated JPEG": (
        "a.jpg",
        lambda f: (f / "a.jpg").write_bytes(jpeg(f / "a.jpg")[:700]),
        ("expected a readable image", "a.jpg", "save it as JPEG or PNG"),
    ),
    "only a PNG header": ("a.png", write("a.png", b"\x89PNG\r\n\x1a\n"), ("expected a readable image", "a.png", "")),
    "zeros": ("a.tif", write("a.tif", bytes(4096)), ("expected a readable image", "a.tif", "save it as JPEG or PNG")),
    "a PDF": (
        "a.pdf",
        write("a.pdf", b"%PDF-1.4\n%%EOF"),
        ("expected a readable image", "a.pdf", "save it as JPEG or PNG"),
    ),
    "a bomb": (
        "bomb.png",
        lambda f: (f / "bomb.png").write_bytes(png_header(60_000, 60_000)),
        ("at most", "3,600,000,000", "hrink"),
    ),
    "JSON": ("a.json", write("a.json", b"{}"), ("expected a readable image", "a.json", "save it as JPEG or PNG")),
}


def png_header(width: int, height: int) -> bytes:
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(b"\0" * 100))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IEND", b"")


@pytest.mark.parametrize("case", sorted(IMAGES))
def test_bad_images(run: Run, toy: Path, tmp_path: Path, case: str) -> None:
    name, make, expected = IMAGES[case]
    make(tmp_path)
    before = tree(tmp_path)
    refused(run("segment", name, *POINT, "--model", toy, "-o", "out/mask.png"), expected, before, tmp_path)


PROMPTS: dict[str, tuple[tuple[str, ...], Said]] = {
    "none": ((), ("--point X,Y", "", "")),
    "one number": (("--point", "30"), ("2 numbers", "30", "")),
    "three numbers": (("--point", "30,25,1"), ("2 numbers", "30,25,1", "")),
    "words": (("--point", "left,top"), ("2 numbers", "left,top", "")),
    "not a number": (("--point", "nan,4"), ("finite numbers", "NaN", "Remove")),
    "infinite": (("--point", "inf,4"), ("finite numbers", "infinity", "Remove")),
    "right of the photo": (("--point", "91,25"), ("inside the image", "got 91, 25", "pixels of the original image")),
    "below the photo": (("--point", "30,4000"), ("inside the image", "got 30, 4000", "pixels of the original image")),
    "negative": (("--point=-3,25",), ("inside the image", "got -3, 25", "pixels of the original image")),
    "background outside": (("--point", "30,25", "--background", "300,1"), ("inside the image", "got 300, 1", "pixels")),
    "an empty box": (("--box", "10,10,10,40"), ("x0 < x1", "[10.0, 10.0, 10.0, 40.0]", "corners")),
    "a box upside down": (("--box", "50,40,10,10"), ("x0 < x1", "[50.0, 40.0, 10.0, 10.0]", "corners")),
    "a box elsewhere": (("--box", "100,70,120,90"), ("overlap the image", "[100.0, 70.0", "original")),
    "a box of three": (("--box", "10,10,50"), ("4 numbers", "10,10,50", "")),
    "a mask of another size": (("--mask", "small.png"), ("size of the original image", "(5, 7)", "Resize")),
    "an empty mask": (("--mask", "black.png"), ("at least one pixel", "empty", "")),
}


@pytest.mark.parametrize("case", sorted(PROMPTS))
def test_bad_prompts(run: Run, toy: Path, photo: Path, tmp_path: Path, case: str) -> None:
    Image.fromarray(np.full((5, 7), 255, np.uint8)).save(tmp_path / "small.png")
    Image.fromarray(np.zeros((60, 90), np.uint8)).save(tmp_path / "black.png")
    words, expected = PROMPTS[case]
    before = tree(tmp_path)
    refused(run("segment", photo, *words, "--model", toy, "-o", "out/mask.png"), expected, before, tmp_path)


OPTIONS: dict[str, tuple[tuple[str, ...], Said]] = {
    "percent for a fraction": (("--pred-iou-thresh", "88"), ("pred_iou_thresh must be", "88", "0.88")),
    "stability above one": (("--stability-score-thresh", "95"), ("stability_score_thresh must be", "95", "")),
    "no clicks": (("--points-per-side", "0"), ("points_per_side must be", "0", "")),
    "too many clicks": (("--points-per-side", "100000"), ("points_per_side must be", "100000", "")),
    "clicks in words": (("--points-per-side", "many"), ("--points-per-side", "many", "")),
    "empty batches": (("--points-per-batch", "0"), ("points_per_batch must be", "0", "")),
    "negative layers": (("--crop-n-layers=-1",), ("crop_n_layers must be", "-1", "")),
    "many layers": (("--crop-n-layers", "9"), ("crop_n_layers must be", "9", "")),
    "a factor that leaves no clicks": (
        ("--points-per-side", "4", "--crop-n-layers", "2", "--crop-n-points-downscale-factor", "4"),
        ("at least one click", "4 / 4^2", "Lower"),
    ),
    "overlap above one": (("--crop-overlap-ratio", "1.5"), ("crop_overlap_ratio must be", "1.5", "")),
    "a suppression that is none": (("--box-nms-thresh=-0.1",), ("box_nms_thresh must be", "-0.1", "")),
    "a negative area": (("--min-mask-region-area=-5",), ("min_mask_region_area must be", "-5", "")),
    "no such preset": (("--preset", "fast"), ("reference", "fast", "")),
    "no such format": (("--format", "tar"), ("sa1b", "tar", "")),
    "no such device": (("--device", "abacus"), ("device must be", "abacus", "auto")),
    "half precision on a CPU": (("--device", "cpu", "--dtype", "float16"), ("needs a GPU", "cpu", "bfloat16")),
    "no threads": (("--threads", "0"), ("1 or more", "0", "")),
}


@pytest.mark.parametrize("case", sorted(OPTIONS))
def test_bad_options(run: Run, toy: Path, photo: Path, tmp_path: Path, case: str) -> None:
    words, expected = OPTIONS[case]
    before = tree(tmp_path)
    refused(run("everything", photo, "-o", "out", "--model", toy, *words), expected, before, tmp_path)


class Hostile:
    """Unpickling this would write a file."""

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (Path.touch, (Path("owned"),))


def toy_state(toy: Path) -> dict[str, torch.Tensor]:
    from segany.modeling.checkpoints.read import read_state

    return {key: tensor.clone() for key, tensor in read_state(toy).tensors.items()}


def saved(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path, Path], None]:
    """A checkpoint of the toy model after a change."""

    def make(path: Path, toy: Path) -> None:
        from segany.modeling.checkpoints.save import save_model
        from segany.modeling.presets import TOY

        state = toy_state(toy)
        change(state)
        save_model(state, TOY, path)

    return make


def raw(content: bytes) -> Callable[[Path, Path], None]:
    return lambda path, toy: path.write_bytes(content) and None


FIRST = "mask_decoder.iou_token.weight"
CHECKPOINTS: dict[str, tuple[str, Callable[[Path, Path], object], tuple[str, str]]] = {
    "missing": ("m.pth", lambda p, t: None, ("m.pth", "models list")),
    "empty": ("m.pth", lambda p, t: p.touch(), ("m.pth", "again")),
    "a web page": ("m.pth", raw(b"<html>sign in</html>"), ("m.pth", "download the file itself")),
    "truncated": ("m.safetensors", lambda p, t: p.write_bytes(t.read_bytes()[:5000]), ("m.safetensors", "again")),
    "a header without end": ("m.safetensors", raw(struct.pack("<Q", 1 << 62) + b"{}"), ("m.safetensors", "again")),
    "hostile": ("m.pth", lambda p, t: p.write_bytes(pickle.dumps(Hostile())), ("m.pth", "")),
    "hostile in an archive": ("m.pth", lambda p, t: torch.save({"model": Hostile()}, p), ("m.pth", "")),
    "a tensor missing": ("m.safetensors", saved(lambda s: s.pop(FIRST)), ("missing 1", FIRST)),
    "a tensor too many": ("m.safetensors", saved(lambda s: s.update(x=torch.zeros(1))), ("unexpected 1", "x")),
    "a wrong shape": ("m.safetensors", saved(lambda s: s.update({FIRST: torch.zeros(2, 9)})), ("(2, 9)", "expected")),
    "not finite": (
        "m.safetensors",
        saved(lambda s: s[FIRST].fill_(float("nan"))),
        ("finite", "earlier checkpoint"),
    ),
    "someone else's": ("m.pth", lambda p, t: torch.save({"fc.weight": torch.zeros(3, 3)}, p), ("fc.weight", "Check")),
    "a folder without weights": ("m", lambda p, t: p.mkdir(), ("model.safetensors", "")),
    "a config that is none": (
        "m",
        lambda p, t: p.mkdir() or (p / "config.json").write_text(json.dumps({"model_type": "bert"})),
        ("", ""),
    ),
}


@pytest.mark.parametrize("case", sorted(CHECKPOINTS))
def test_bad_checkpoints(run: Run, toy: Path, photo: Path, tmp_path: Path, case: str) -> None:
    name, make, expected = CHECKPOINTS[case]
    make(tmp_path / name, toy)
    before = tree(tmp_path)
    said = run("segment", photo, *POINT, "--model", name, "-o", "out/mask.png")
    refused(said, ("must", *expected), before, tmp_path)
