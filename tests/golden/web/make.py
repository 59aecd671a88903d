"""Makes the small files that the page's tests and Python's read alike: ``python tests/golden/web/make.py``.

Pictures that are too large to store follow from a formula both sides know (`painted`).
"""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segany.geometry.frames import Frame
from segany.geometry.grids import point_grid
from segany.masks.boxes import exact_box_xywh
from segany.masks.components import fill_small_holes, remove_small_islands
from segany.masks.nms import containment_nms, mask_nms, nms
from segany.masks.rle import encode, rle_area, to_uncompressed
from segany.masks.stability import stability_score
from segany.pictures.colors import distinct_color
from segany.predict.rows import binary_to_logits
from segany.predict.upscale import Upscaler
from segany.records.coco import to_coco
from segany.records.ids import image_id_for
from segany.records.record import ImageRecord, MaskRecord, inclusive_bbox
from segany.records.sa1b import to_sa1b
from segany.transforms.resize import ImageTransform, resize_longest_side

HERE = Path(__file__).resolve().parent


def painted(height: int, width: int) -> NDArray[np.uint8]:
    """(H, W, 3) picture of edges, slopes and noise that the page's tests paint the same way."""
    y, x = np.mgrid[:height, :width].astype(np.int64)
    red = (x * 7 + y * 13) ^ (x * y)
    green = (x * 255) // max(width - 1, 1)
    blue = np.where((x // 9 + y // 5) % 2 == 1, 250, (y * 3) & 255)
    return (np.stack([red, green, blue], axis=-1) & 255).astype(np.uint8)


def text(array: NDArray[Any]) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def frames() -> list[dict[str, Any]]:
    sizes = [(1, 1), (480, 640), (640, 480), (321, 481), (1500, 2250), (1, 4000), (513, 512), (333, 1000), (2999, 4001)]
    cases = []
    for height, width in sizes:
        for canvas, low_res in ((512, 128), (1024, 256), (128, 32)):
            frame = Frame.of((height, width), canvas, low_res)
            points = np.array([[0.0, 0.0], [width / 3, height / 7], [float(width), float(height)]])
            cases.append(
                {
                    "original": [height, width],
                    "canvas": canvas,
                    "low_res": low_res,
                    "resized": list(frame.resized_hw),
                    "cut": list(frame.low_res_cut),
                    "points": points.tolist(),
                    "on_canvas": frame.to_canvas(points).tolist(),
                }
            )
    return cases


def resizes() -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = []
    for height, width, canvas in ((5, 7, 3), (7, 5, 16), (1, 9, 4), (37, 53, 32), (32, 20, 32), (40, 12, 33)):
        out = resize_longest_side(painted(height, width), canvas)
        cases.append({"size": [height, width], "canvas": canvas, "out": list(out.shape[:2]), "rgb": text(out)})
    for height, width, canvas in ((321, 481, 512), (900, 1400, 512), (1400, 601, 1024), (512, 512, 512)):
        out = resize_longest_side(painted(height, width), canvas)
        digest = hashlib.sha256(out.tobytes()).hexdigest()
        cases.append({"size": [height, width], "canvas": canvas, "out": list(out.shape[:2]), "sha256": digest})
    other = np.asarray(Image.fromarray(painted(20, 30)).resize((11, 47), Image.Resampling.BILINEAR))
    cases.append({"size": [20, 30], "target": [47, 11], "out": [47, 11], "rgb": text(other)})
    return cases


def model_input() -> dict[str, Any]:
    mean, std = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
    pixels, _ = ImageTransform(16, 4, mean, std)(painted(9, 14))
    return {"size": [9, 14], "canvas": 16, "mean": mean, "std": std, "pixels": text(pixels.numpy())}


def blobs(height: int, width: int, seed: int) -> NDArray[np.bool_]:
    draw = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    mask = np.zeros((height, width), np.bool_)
    for _ in range(4):
        cy, cx, r = draw.uniform(0, height), draw.uniform(0, width), draw.uniform(1, max(height, width) / 3)
        mask ^= (y - cy) ** 2 + (x - cx) ** 2 < r * r
    return mask ^ (draw.random((height, width)) < 0.02)


def masks() -> list[dict[str, Any]]:
    kinds = [np.zeros((3, 4), bool), np.ones((3, 4), bool), np.array([[False, True], [True, True]])]
    kinds += [blobs(height, width, seed) for seed, (height, width) in enumerate(((9, 5), (5, 9), (40, 61), (64, 33)))]
    lone = np.zeros((7, 8), bool)
    lone[6, 7] = True
    cases = []
    for mask in [*kinds, lone]:
        rle = encode(mask)
        filled, was_filled = fill_small_holes(mask, 6)
        cleared, was_cleared = remove_small_islands(mask, 6)
        cases.append(
            {
                "pixels": text(mask.astype(np.uint8)),
                "rle": rle,
                "runs": to_uncompressed(rle)["counts"],
                "area": rle_area(rle),
                "bbox": list(inclusive_bbox(mask)),
                "exact": list(exact_box_xywh(mask)),
                "filled": [encode(filled)["counts"], was_filled],
                "cleared": [encode(cleared)["counts"], was_cleared],
            }
        )
    return cases


def logits_of(side: int, seed: int) -> NDArray[np.float32]:
    draw = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    waves = sum(
        draw.normal() * np.sin(2 * np.pi * (draw.uniform(0.3, 2.5) * x + draw.uniform(0.3, 2.5) * y + draw.random()))
        for _ in range(5)
    )
    return np.asarray(3 * np.asarray(waves) - 1.5, np.float32)


def upscales() -> list[dict[str, Any]]:
    import torch

    cases = []
    sizes = ((30, 40), (97, 61), (61, 97), (150, 10), (64, 64), (200, 320))
    for seed, (height, width) in enumerate(sizes):
        frame = Frame.of((height, width), 64, 16)
        low_res = logits_of(16, seed)
        upscaler = Upscaler(frame)
        logits = upscaler.logits(torch.from_numpy(low_res))
        rows, columns = [0, height // 3, height - 1], [0, width // 2, width - 1]
        cases.append(
            {
                "size": [height, width],
                "canvas": 64,
                "low_res": 16,
                "logits": text(low_res),
                "mask": encode(upscaler.mask(torch.from_numpy(low_res), 0.0)),
                "stability": float(stability_score(logits)),
                "at": [[r, c, float(logits[r, c])] for r in rows for c in columns],
            }
        )
    return cases


def hints() -> list[dict[str, Any]]:
    cases = []
    for seed, (height, width) in enumerate(((128, 256), (256, 192), (200, 130))):
        mask = blobs(height, width, seed + 20)
        frame = Frame.of((height, width), 64, 16)
        cases.append({"mask": encode(mask), "canvas": 64, "low_res": 16, "logits": text(binary_to_logits(mask, frame))})
    return cases


def suppressions() -> dict[str, Any]:
    draw = np.random.default_rng(5)
    corners = draw.integers(0, 40, (40, 2)).astype(float)
    sides = draw.integers(0, 25, (40, 2)).astype(float)
    boxes = np.concatenate([corners, corners + sides], axis=1)
    scores = np.round(draw.random(40), 1)
    rles = [encode(blobs(24, 30, 100 + seed // 3) ^ (np.arange(30) == seed)) for seed in range(24)]
    mask_scores = np.round(draw.random(24), 1)
    return {
        "boxes": boxes.tolist(),
        "scores": scores.tolist(),
        "kept": {str(t): nms(boxes, scores, t).tolist() for t in (0.1, 0.5, 0.7)},
        "masks": rles,
        "mask_scores": mask_scores.tolist(),
        "masks_kept": {str(t): mask_nms(rles, mask_scores, t).tolist() for t in (0.3, 0.7)},
        "contained_kept": {str(t): containment_nms(rles, mask_scores, t).tolist() for t in (0.5, 0.9)},
    }


def record(mask: NDArray[np.bool_], number: int, **more: Any) -> MaskRecord:
    return MaskRecord.from_mask(
        mask, predicted_iou=0.5 + number / 10, stability_score=0.75, point_coords=[(3.5, 4.0)], id=number, **more
    )


def exports() -> dict[str, Any]:
    """A photo's record and what Python writes of it."""
    cat = record(blobs(40, 61, 2), 1, label="cat", output_index=2, source="model")
    tree = record(blobs(40, 61, 5), 2, source="manual", attributes={"sharp": True})
    image = ImageRecord(image_id=77, width=61, height=40, file_name="b photo.png", annotations=(cat, tree))
    ball = record(blobs(12, 9, 6), 4, label="ball")
    second = ImageRecord(image_id=5, width=9, height=12, file_name="a.jpg", annotations=(ball,))
    return {"sa1b": [to_sa1b(image), to_sa1b(second)], "coco": to_coco([image, second])}


def ids() -> list[dict[str, Any]]:
    named = [("sa_12.jpg", b"x"), ("photo.jpg", b"photo"), ("sa_1x.jpg", b"y"), ("in/sa_7.png", b""), ("sa_3", b"z")]
    return [
        {"name": name, "sha256": hashlib.sha256(data).hexdigest(), "id": image_id_for(name, data)}
        for name, data in named
    ]


def main() -> None:
    files: dict[str, Any] = {
        "frames": frames(),
        "resize": {"cases": resizes(), "model_input": model_input()},
        "masks": masks(),
        "upscale": upscales(),
        "hints": hints(),
        "suppression": suppressions(),
        "exports": exports(),
        "misc": {
            "colours": ["#{:02x}{:02x}{:02x}".format(*distinct_color(i)) for i in range(40)],
            "ids": ids(),
            "grid": {str(n): point_grid(n).tolist() for n in (1, 3)},
        },
    }
    for name, value in files.items():
        path = HERE / f"{name}.json"
        path.write_text(json.dumps(value, separators=(",", ":")) + "\n", encoding="utf-8")
        print(path.name, path.stat().st_size)


if __name__ == "__main__":
    main()
