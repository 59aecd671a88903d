"""Fine-tuning on 50 photos, measured: nuclei, for a model that never saw one.

    python benchmarks/finetune_nuclei.py --data FOLDER_OF_PACKS -o OUT [--cache DECODED_PHOTOS] [--base CHECKPOINT]

Trains a short checkpoint without the nuclei pack (minutes), writes a COCO file of 50 nuclei photos outside the
held-out part, runs `segany train finetune` on it, and measures both models on the held-out nuclei with the points
protocol. Every stage resumes. The result is written to benchmarks/results/finetune_nuclei.json.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from _common import take_packs

from segany.core.files import atomic_write_json
from segany.core.identity import run_identity
from segany.data.cache import INDEX, PIXELS
from segany.data.packs import PACKS, PackImage, iter_pack
from segany.evaluation.comparison import compare
from segany.evaluation.points import PointsConfig
from segany.evaluation.sampling import MaskRow, SampleConfig
from segany.masks.boxes import exact_box_xywh
from segany.masks.rle import encode
from segany.recipes.evaluate import points
from segany.recipes.presets import SMALL_STEP
from segany.training.settings import to_plain

RESULTS = Path(__file__).resolve().parent / "results"
NUCLEI = "dsb2018"
SHORT = {
    "step": to_plain(SMALL_STEP),
    "batch": {
        "masks_per_image": 6,
        "weights": {"bsds500": 0.26, "dsb2018": 0.10, "camvid": 0.12, "coco": 0.28, "coco-person": 0.10},
    },
    "phases": [
        {
            "steps": 350,
            "canvas": 256,
            "images": 4,
            "clicks": 1,
            "synthetic": 0.25,
            "start_rate": 2e-3,
            "end_rate": 4e-4,
        },
        {"steps": 60, "canvas": 512, "images": 3, "clicks": 1, "synthetic": 0.1, "start_rate": 4e-4, "end_rate": 1e-5},
    ],
    "schedule": {"warm_up": 30},
    "optimizer": {"kind": "adamw", "average": 0.98},
}
"""How the short checkpoint differs from the preset `tiny`."""


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    take_packs(parser)
    parser.add_argument("--cache", type=Path, help="folder of decoded packs that a training left; saves minutes")
    parser.add_argument("--base", help="a checkpoint that never saw nuclei; a short one is trained when left out")
    parser.add_argument("--photos", type=int, default=50)
    parser.add_argument("--masks-per-image", type=int, default=16, help="held-out masks measured per photo")
    parser.add_argument("--preset", default="decoder", help="what the fine-tuning trains")
    parser.add_argument("-o", "--output", type=Path, required=True)
    return parser.parse_args(words)


def without_nuclei(data: Path, folder: Path) -> Path:
    """A folder with every pack but the nuclei, as links."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in PACKS:
        if name != NUCLEI and not (folder / name).exists():
            (folder / name).symlink_to((data / name).resolve())
    return folder


def cache_without_nuclei(decoded: Path, folder: Path) -> Path:
    """The same decoded photos, the nuclei left out of their index."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / PIXELS).exists():
        (folder / PIXELS).symlink_to((decoded / PIXELS).resolve())
    rows = [row for row in json.loads((decoded / INDEX).read_text(encoding="utf-8")) if row["pack"] != NUCLEI]
    atomic_write_json(folder / INDEX, rows)
    return folder


def segany(*words: str) -> tuple[float, float]:
    """Run the program; seconds on the clock, and of the processor."""
    print("$ segany", *words, flush=True)
    began, used = time.monotonic(), _processor_seconds()
    subprocess.run([sys.executable, "-m", "segany", *words], check=True)
    return time.monotonic() - began, _processor_seconds() - used


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def train_base(chosen: argparse.Namespace) -> Path:
    """A short training that never sees nuclei."""
    out: Path = chosen.output / "base"
    data = without_nuclei(chosen.data, chosen.output / "packs")
    config = chosen.output / "base.json"
    config.write_text(json.dumps(SHORT), encoding="utf-8")
    words = ["train", "promptable", "--preset", "tiny", "--data", str(data), "--config", str(config), "-o", str(out)]
    if chosen.cache is not None:
        words += ["--cache", str(cache_without_nuclei(chosen.cache, chosen.output / "cache"))]
    segany(*words, "--device", "cpu")
    return out


def write_coco(images: Sequence[PackImage], folder: Path) -> tuple[Path, Path]:
    """The photos and a COCO file of their masks."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    listed, annotations = [], []
    for number, image in enumerate(images, 1):
        shutil.copyfile(image.path, folder / "images" / image.path.name)
        height, width = image.size_hw
        listed.append({"id": number, "file_name": image.path.name, "height": height, "width": width})
        for mask in image.masks():
            annotation = {"id": len(annotations) + 1, "image_id": number, "category_id": 1, "iscrowd": 0}
            box = [float(value) for value in exact_box_xywh(mask)]
            annotations.append(annotation | {"segmentation": encode(mask), "area": int(mask.sum()), "bbox": box})
    path = folder / "my.json"
    content = {"images": listed, "annotations": annotations, "categories": [{"id": 1, "name": "nucleus"}]}
    atomic_write_json(path, content)
    return folder / "images", path


def measured(model: Path | str, data: Path, masks_per_image: int) -> list[MaskRow]:
    """Points protocol on the held-out nuclei."""
    sample = SampleConfig(min_area_share=0.001, masks_per_image=masks_per_image)
    result = points(data, model=str(model), packs=[NUCLEI], sample=sample, protocol=PointsConfig(clicks=(1, 3)))
    return result.rows


def main(words: Sequence[str] | None = None) -> int:
    chosen = arguments(words)
    base = chosen.base or train_base(chosen)
    every = [image for image in iter_pack(NUCLEI, chosen.data, "train") if image.masks()]
    taken = every[:: max(1, len(every) // chosen.photos)][: chosen.photos]
    images, annotations = write_coco(taken, chosen.output / "nuclei")
    tuned = chosen.output / f"tuned-{chosen.preset}"
    given = ["--images", str(images), "--annotations", str(annotations), "--model", str(base)]
    seconds, busy = segany("train", "finetune", *given, "--preset", chosen.preset, "--device", "cpu", "-o", str(tuned))

    before, after = (measured(model, chosen.data, chosen.masks_per_image) for model in (base, tuned))
    names = ("clicks_1", "oracle_1", "clicks_3", "box")
    joined = [
        MaskRow(
            pack=a.pack,
            image=a.image,
            mask=a.mask,
            area_share=a.area_share,
            scores={f"{when} {n}": row.scores[n] for when, row in (("before", b), ("after", a)) for n in names},
        )
        for b, a in zip(before, after, strict=True)
    ]
    pairs = [(f"after {name}", f"before {name}") for name in names]
    changes = dict(zip(names, compare(joined, pairs), strict=True))
    result = {
        "photos": len(taken),
        "preset": chosen.preset,
        "heldout": {"images": len({row.image for row in before}), "masks": len(before)},
        "finetune_seconds": round(seconds, 1),
        "finetune_processor_seconds": round(busy, 1),
        "threads": torch.get_num_threads(),
        "before": {n: round(sum(r.scores[n] for r in before) / len(before), 4) for n in names},
        "after": {n: round(sum(r.scores[n] for r in after) / len(after), 4) for n in names},
        "change": {name: change.to_dict()["difference"] for name, change in changes.items()},
        "made_by": run_identity(),
    }
    RESULTS.mkdir(exist_ok=True)
    atomic_write_json(RESULTS / "finetune_nuclei.json", result, indent=1)
    click = changes["clicks_1"].difference
    told = "{:.3f} before, {:.3f} after".format(
        *(sum(r.scores["clicks_1"] for r in m) / len(m) for m in (before, after))
    )
    interval = f"{click.mean:+.3f} (95 % {click.low:+.3f} to {click.high:+.3f})"
    print(f"one click on {len(before)} held-out nuclei: {told}; change {interval}")
    print(f"fine-tuning took {seconds / 60:.1f} minutes on the clock, {busy / 60:.1f} of the processor")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
