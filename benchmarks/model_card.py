"""Write the model card of the embedded model: every number in it is measured by this script, in one run.

    python benchmarks/model_card.py --data FOLDER_OF_PACKS [--limit 50] [--stamp src/segany/weights/tiny.safetensors]

Held-out images only, masks of at least half a percent of the image, at most 3 of each image. Pictures of failures
come from images whose licence allows it: nuclei (CC0) and COCO photos under CC BY, which are credited.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _common import take_packs
from numpy.typing import NDArray

from segany.core.errors import SeganyError
from segany.core.files import atomic_write_text
from segany.core.identity import run_identity
from segany.data.packs import PACKS, PackImage, iter_pack
from segany.evaluation.metrics import candidate_iou
from segany.evaluation.report import plot_clicks, ranking_markdown, to_markdown
from segany.evaluation.sampling import MaskRow, SampleConfig, sample_masks
from segany.masks.boxes import masks_to_boxes
from segany.pictures.grid import contact_sheet
from segany.pictures.overlay import OverlayStyle, draw_overlay
from segany.pictures.save import save_picture
from segany.predict.predictor import Predictor
from segany.prompts.clicks import first_click_center
from segany.recipes.evaluate import PointsResult, points
from segany.recipes.weights import PACKS_ABOUT, stamp_scores

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).resolve().parent / "results"
AUTOMATIC = RESULTS / "tiny_automatic.json"
GOALS: dict[str, tuple[float, float, float, float]] = {
    "bsds500": (0.70, 0.60, 0.82, 0.75),
    "dsb2018": (0.82, 0.78, 0.90, 0.86),
    "camvid": (0.62, 0.52, 0.78, 0.70),
    "coco": (0.62, 0.52, 0.80, 0.72),
}
"""Where we want the model to be: best of three by the truth, chosen by itself, from a box, after three clicks."""
GOAL_SCORES = ("oracle_1", "clicks_1", "box", "clicks_3")
CLICKS = (1, 2, 3, 5, 9)
BINS = 10
CC_BY = 4
"""COCO's number of the Creative Commons Attribution licence."""
FAILURES, MOST_OF_A_PACK = 8, 5


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    take_packs(parser)
    parser.add_argument("--model", default="tiny", help="name or path of the model")
    parser.add_argument("--limit", type=int, help="at most so many images of each pack")
    parser.add_argument("--masks-per-image", type=int, default=3)
    parser.add_argument("--output", type=Path, default=ROOT / "docs", help="folder of model_card.md and pictures/")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of model_card.json")
    parser.add_argument("--stamp", type=Path, help="weights file whose metadata gets the scores")
    return parser.parse_args(words)


@dataclass(frozen=True)
class Calibration:
    """How true the model's own opinion is.

    Attributes:
        name: prompt.
        centres: of the bins of predicted IoU that hold masks.
        true: mean true IoU of each.
        counts: masks of each.
        error: mean over masks of |mean true − mean predicted| of the mask's bin.
        correlation: Spearman's, between predicted and true IoU.
    """

    name: str
    centres: list[float]
    true: list[float]
    counts: list[int]
    error: float
    correlation: float


def calibration(name: str, predicted: NDArray[np.float64], true: NDArray[np.float64]) -> Calibration:
    from scipy.stats import spearmanr

    place = np.clip((predicted * BINS).astype(int), 0, BINS - 1)
    filled = [b for b in range(BINS) if (place == b).any()]
    centres = [float(predicted[place == b].mean()) for b in filled]
    means = [float(true[place == b].mean()) for b in filled]
    counts = [int((place == b).sum()) for b in filled]
    gaps = [n * abs(c - m) for n, c, m in zip(counts, centres, means, strict=True)]
    return Calibration(
        name, centres, means, counts, sum(gaps) / max(1, len(true)), float(spearmanr(predicted, true).statistic)
    )


def calibrations(rows: Sequence[MaskRow]) -> list[Calibration]:
    found = []
    for name, opinion, truth in (("one click", "predicted_1", "clicks_1"), ("box", "box_predicted", "box")):
        predicted = np.array([row.scores[opinion] for row in rows])
        found.append(calibration(name, predicted, np.array([row.scores[truth] for row in rows])))
    return found


def plot_calibration(path: Path, found: Sequence[Calibration]) -> Path:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6, 5.2), dpi=150, layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=1, linestyle="--", label="perfect")
    for one, color in zip(found, ("#1f6fb4", "#d1582b"), strict=True):
        sizes = [12 + 180 * count / max(one.counts) for count in one.counts]
        axes.plot(one.centres, one.true, color=color, linewidth=1.8)
        axes.scatter(one.centres, one.true, s=sizes, color=color, alpha=0.75, label=one.name, edgecolors="white")
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="predicted IoU", ylabel="true IoU, mean of the bin", aspect="equal")
    axes.set_title("Predicted against true IoU, held-out masks", fontsize=11)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="upper left")
    figure.savefig(path)
    return path


def goals_markdown(result: PointsResult) -> str:
    """Measured against wanted, pack by pack."""
    titles = ("1 click, oracle", "1 click", "box", "3 clicks")
    lines = ["| pack | " + " | ".join(titles) + " |", "|---|" + "---:|" * len(titles)]
    for summary in result.summaries:
        if summary.pack in GOALS:
            cells = [
                f"{summary.scores[name].mean:.2f} / {goal:.2f}{' ✓' if summary.scores[name].mean >= goal else ''}"
                for name, goal in zip(GOAL_SCORES, GOALS[summary.pack], strict=True)
            ]
            lines.append(f"| {summary.pack} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def credits(data: Path) -> dict[str, str]:
    """COCO photos that may be shown, by file name, with the credit that their licence asks for."""
    file = json.loads((data / "coco" / "annotations" / "instances_train2017.json").read_text(encoding="utf-8"))
    return {
        image["file_name"]: f"[Flickr]({image['flickr_url']}), CC BY 2.0"
        for image in file["images"]
        if image["license"] == CC_BY
    }


def failures(result: PointsResult, predictor: Predictor, data: Path, path: Path) -> list[str]:
    """Write a sheet of the worst masks after three clicks that may be shown; returns a line about each."""
    allowed = credits(data)
    chosen = worst([row for row in result.rows if row.pack == "dsb2018" or row.image in allowed])
    sample = SampleConfig(**result.about["sample"])
    packs = {row.pack for row in chosen}
    images = {(pack, image.key): image for pack in packs for image in iter_pack(pack, data, "heldout")}
    tiles, lines = [], []
    for number, row in enumerate(chosen, 1):
        tile, text = failure(images[row.pack, row.image], row, predictor, sample)
        tiles.append((tile, f"{number}: truth · click · box"))
        lines.append(f"{number}. {text} Photo: {allowed.get(row.image, '2018 Data Science Bowl, CC0')}.")
    save_picture(path, contact_sheet(tiles, columns=2, tile_side=900))
    return lines


def worst(rows: Sequence[MaskRow]) -> list[MaskRow]:
    """The lowest scores after three clicks, one mask per image, at most so many of a pack."""
    chosen: list[MaskRow] = []
    for row in sorted(rows, key=lambda row: row.scores["clicks_3"]):
        fellows = [other for other in chosen if other.pack == row.pack]
        if len(fellows) < MOST_OF_A_PACK and all(other.image != row.image for other in fellows):
            chosen.append(row)
    return chosen[:FAILURES]


def failure(
    image: PackImage, row: MaskRow, predictor: Predictor, sample: SampleConfig
) -> tuple[NDArray[np.uint8], str]:
    """Truth, mask from one click and mask from the box side by side, and their scores."""
    rgb = image.read()
    positions, targets = sample_masks(image, (rgb.shape[0], rgb.shape[1]), sample)
    target = targets[positions.index(row.mask)]
    point, box = first_click_center(target), masks_to_boxes(target[None])[0].astype(np.float32)
    embedding = predictor.encode(rgb)
    by_click = predictor.decode(embedding, points=[point], labels=[1])
    by_box = predictor.decode(embedding, boxes=box)
    masks = [target, by_click.masks[by_click.best], by_box.masks[by_box.best]]
    iou = candidate_iou(np.stack(masks[1:])[None], target[None])[0]
    prompts: list[dict[str, Any]] = [{"points": [point]}, {"points": [point]}, {"boxes": box}]
    style = OverlayStyle(enlarge_to=600)
    drawn = [draw_overlay(rgb, [m], style=style, **p) for m, p in zip(masks, prompts, strict=True)]
    gap = np.full((drawn[0].shape[0], 8, 3), 255, np.uint8)
    text = (
        f"{row.pack}, {row.area_share:.1%} of the image: one click {iou[0]:.2f}, box {iou[1]:.2f}, "
        f"three clicks {row.scores['clicks_3']:.2f}."
    )
    return np.concatenate([drawn[0], gap, drawn[1], gap, drawn[2]], axis=1), text


def page(result: PointsResult, found: Sequence[Calibration], shown: Sequence[str], about: Mapping[str, str]) -> str:
    """The whole card."""
    sample = result.about["sample"]
    numbers = "\n".join(
        f"- {one.name}: mean gap between predicted and true IoU {one.error:.3f}, rank correlation "
        f"{one.correlation:.2f}, {sum(one.counts)} masks."
        for one in found
    )
    parts = [
        f"# Model card: `{result.about['model']}`\n",
        "Written by `benchmarks/model_card.py`, which measures every number here in one run.\n",
        "## What it is\n",
        WHAT.format(values=about["values"], bytes=about["bytes"]),
        "## What it was trained on\n",
        "| data | what, and under which terms |\n|---|---|\n"
        + "\n".join(f"| {name} | {text} |" for name, text in PACKS_ABOUT.items())
        + "\n\nThe licences of the photos decide what the weights may be used for: research, education and "
        "evaluation. `NOTICE.md` beside the weights says it in full.\n",
        "## How\n",
        f"{about['recipe'][:1].upper()}{about['recipe'][1:]}\n",
        f"Compute: {about['compute']}. The experiments behind it: [tiny_experiments.md](tiny_experiments.md).\n",
        "## How good it is\n",
        f"Images that never trained it, masks of at least {sample['min_area_share']:.1%} of the image, at most "
        f"{sample['masks_per_image']} of each image (seed {sample['seed']}); mean IoU with 95 % intervals from a "
        "bootstrap over images. One click is the mask's centre; later clicks go to the largest error.\n",
        to_markdown(result.summaries),
        "![IoU after clicks](pictures/model_card_clicks.png)\n",
        "Measured / wanted:\n",
        goals_markdown(result),
        "## Choosing among three masks\n",
        ranking_markdown(result.summaries),
        "## How true its own opinion is\n",
        "![Calibration](pictures/model_card_calibration.png)\n",
        numbers + "\n",
        "## Everything at once\n",
        about["automatic"],
        "## Where it fails\n",
        f"The worst masks after three clicks among the held-out images that may be shown (at most {MOST_OF_A_PACK} of "
        "a pack, one of an image):\n",
        "![Failures](pictures/model_card_failures.jpg)\n",
        "\n".join(shown) + "\n",
        "## What it is not for\n",
        NOT_FOR,
    ]
    return "\n".join(parts)


WHAT = """A promptable segmentation model small enough to ship inside the package and to run in a browser: \
{values} weights in {bytes}, canvas 512, convolutional encoder, the two-way mask decoder of Segment Anything at \
width 128. A click, a box, a rough mask or several of them in; three candidate masks and their predicted IoU out. \
It knows no classes.
"""
NOT_FOR = """- Decisions about people, medical findings, vehicles' control: it was trained on a few thousand photos.
- Fine structure (hair, wires, twigs): its logits have a quarter of a 512-pixel canvas.
- Judging fairness: there are too few annotated people here to measure groups; run your own test.
- Standing in for the released ViT models: they saw a thousand million masks. Load them with `--model vit_b`.
- Anything commercial with these weights as they are; train your own on data you may use.
"""


def measure(options: argparse.Namespace) -> PointsResult:
    import torch

    torch.set_num_threads(1)
    start = time.monotonic()

    def progress(done: int, total: int) -> None:
        if done % 25 == 0 or done == total:
            print(f"{done} of {total} images, {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)

    sample = SampleConfig(masks_per_image=options.masks_per_image, images_per_pack=options.limit)
    return points(options.data, model=options.model, packs=PACKS, sample=sample, progress=progress)


def _phase(phase: Mapping[str, Any]) -> str:
    prompts = phase.get("rounds", 1 + phase.get("clicks", 0))
    views = f"{phase['images']} views × {phase['masks']} masks × {prompts} prompts"
    return f"{phase['steps']:,} steps at {phase['canvas']} px ({views})"


def about_weights(predictor: Predictor) -> dict[str, str]:
    """What the card says of the weights, from their own metadata."""
    values = sum(tensor.numel() for tensor in predictor.model.state_dict().values())
    recipe = json.loads(predictor.metadata.get("recipe", "{}"))
    runs = recipe.get("runs", [recipe])
    told = [f"run {run.get('run', 1)}: {', '.join(map(_phase, run.get('phases', [])))}" for run in runs]
    mixed = f" What ships: {recipe['mean_of']}." if "mean_of" in recipe else ""
    return {
        "values": f"{values:,}",
        "bytes": f"{values * 2 / 1e6:.1f} MB (half precision)",
        "recipe": f"{recipe.get('what', 'see the metadata')}. {'; '.join(told).capitalize()}.{mixed}",
        "compute": predictor.metadata.get("compute", "not recorded"),
        "automatic": about_automatic(predictor),
    }


def about_automatic(predictor: Predictor) -> str:
    """The thresholds that the weights recommend for automatic masks, and what was measured when they were found."""
    knobs = json.loads(predictor.metadata.get("automatic", "{}"))
    rows = "\n".join(f"| `{name}` | {value:g} |" for name, value in sorted(knobs.items()))
    if not knobs or not AUTOMATIC.is_file():
        return "The weights recommend no thresholds of their own.\n"
    found = json.loads(AUTOMATIC.read_text(encoding="utf-8"))
    chosen = found["chosen"]
    return (
        "Without options `segany everything` and `AutomaticMaskGenerator` take these thresholds; `--preset reference` "
        f"takes the released ones, made for surer models.\n\n| knob | value |\n|---|---:|\n{rows}\n\n"
        f"`benchmarks/tune_automatic.py` found them on {found['photos']} photos that training only watched: "
        f"{chosen['precision']:.0%} of the masks meet an annotated segment by IoU 0.5 or more, {chosen['recall']:.0%} "
        f"of the segments are met, {chosen['masks_per_photo']:.0f} masks a photo. Annotators mark less than there is, "
        "so the first share is a lower bound.\n"
    )


def write(result: PointsResult, options: argparse.Namespace) -> list[Path]:
    predictor = Predictor.from_pretrained(options.model, dtype="float32")
    pictures = options.output / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    found = calibrations(result.rows)
    shown = failures(result, predictor, options.data, pictures / "model_card_failures.jpg")
    plot_clicks(
        pictures / "model_card_clicks.png", result.summaries, title="IoU after simulated clicks, held-out images"
    )
    plot_calibration(pictures / "model_card_calibration.png", found)
    report = {**result.report, "calibration": [asdict(one) for one in found], "machine": run_identity()}
    written = [options.output / "model_card.md", options.results / "model_card.json"]
    atomic_write_text(written[0], page(result, found, shown, about_weights(predictor)))
    atomic_write_text(written[1], json.dumps(report, indent=1, sort_keys=True) + "\n")
    if options.stamp is not None:
        written.append(stamp_scores(options.stamp, result.report))
    return written


def main(words: Sequence[str] | None = None) -> int:
    options = arguments(words)
    try:
        written = write(measure(options), options)
    except SeganyError as error:
        print(f"model_card: {error}", file=sys.stderr)
        return 2
    for path in written:
        print(f"wrote {path}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
