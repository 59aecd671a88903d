"""Two designs of the semi-automatic stage's detector, measured on the same photos of the packs' training part.

    python benchmarks/detector_designs.py --data PACKS --model WEIGHTS --train 60 --test 60 -o OUT

A head of centres and boxes on the frozen embedding against a judge of the sweep's proposals. Both learn from the same
photos and are measured on others of the training part: held-out photos decide nothing.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from segany.core.progress import Progress
from segany.data.packs import PackImage, iter_pack
from segany.masks.nms import mask_nms
from segany.masks.rle import decode, encode
from segany.modeling.layers import LayerNorm2d
from segany.predict.predictor import Predictor
from segany.recipes.engine_detector import DetectorTraining, Marks, judged, lessons_of, marks_of, train_scorer

TOP = 40
"""Centres of a photo that get a mask."""


class Photos:
    """Photos of a pack as `lessons_of` takes them; of several annotators the first counts, as a person of the loop."""

    def __init__(self, images: list[PackImage], least_share: float) -> None:
        self.images, self.least_share = images, least_share
        self.name, self.missing = "photos", ()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Any:
        image, rgb = self.images[index], self.images[index].read()
        least = max(1, int(self.least_share * rgb.shape[0] * rgb.shape[1]))
        rles = [encode(mask) for mask in image.mask_groups(least)[0]]

        class Sample:
            def load_rgb(self) -> Any:
                return rgb

        sample = Sample()
        sample.rles = rles  # type: ignore[attr-defined]
        return sample


class CentreHead(nn.Module):
    """Centres of objects on a grid twice as fine as the embedding's, and the four sides of each one's box.

    Source: Objects as Points (arXiv 1904.07850).
    """

    def __init__(self, channels: int, width: int = 64) -> None:
        super().__init__()
        self.tower = nn.Sequential(
            nn.Conv2d(channels, width, kernel_size=3, padding=1),
            LayerNorm2d(width),
            nn.GELU(),
            nn.ConvTranspose2d(width, width, kernel_size=2, stride=2),
            LayerNorm2d(width),
            nn.GELU(),
            nn.Conv2d(width, width, kernel_size=3, padding=1),
            LayerNorm2d(width),
            nn.GELU(),
        )
        self.heat, self.sides = nn.Conv2d(width, 1, kernel_size=1), nn.Conv2d(width, 4, kernel_size=1)
        with torch.no_grad():
            self.heat.bias.fill_(-4.0)  # type: ignore[union-attr]

    def forward(self, embedding: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, g, g) → (B, 2g, 2g) logits, (B, 4, 2g, 2g) distances to the sides in canvas sides."""
        x = self.tower(embedding)
        return self.heat(x).squeeze(1), functional.softplus(self.sides(x))


def boxes_of(rles: list[Any], frame: Any) -> np.ndarray:
    """(N, 4) XYXY as shares of the canvas."""
    found = []
    for rle in rles:
        mask = decode(rle)
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        found.append((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
    return np.asarray(frame.boxes_to_canvas(np.array(found, float).reshape(-1, 4))) / frame.canvas


def targets(boxes: np.ndarray, side: int) -> tuple[Tensor, Tensor, Tensor]:
    """Heat map, sides and where they count, on a grid of this side; larger boxes first, so that small ones stay."""
    heat, sides, counts = np.zeros((side, side)), np.zeros((4, side, side)), np.zeros((side, side))
    y, x = np.mgrid[:side, :side] + 0.5
    for x0, y0, x1, y1 in sorted(boxes.tolist(), key=lambda b: -(b[2] - b[0]) * (b[3] - b[1])):
        middle, spread = ((x0 + x1) / 2 * side, (y0 + y1) / 2 * side), np.array([x1 - x0, y1 - y0]) * side / 6
        spread = np.maximum(spread, 0.6)
        bump = np.exp(-(((x - middle[0]) / spread[0]) ** 2 + ((y - middle[1]) / spread[1]) ** 2) / 2)
        heat = np.maximum(heat, bump)
        column, row = min(side - 1, int(middle[0])), min(side - 1, int(middle[1]))
        heat[row, column] = 1
        near = bump > 0.6
        near[row, column] = True
        sides[:, near] = np.stack([x / side - x0, y / side - y0, x1 - x / side, y1 - y / side])[:, near]
        counts[near] = 1
    return torch.tensor(heat).float(), torch.tensor(sides).float(), torch.tensor(counts).float()


def train_head(embeddings: list[Any], boxes: list[np.ndarray], channels: int, steps: int) -> CentreHead:
    """Focal loss on the heat map, L1 on the sides."""
    torch.manual_seed(0)
    head = CentreHead(channels)
    side = 2 * embeddings[0].features.shape[-1]
    made = [targets(one, side) for one in boxes]
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3, weight_decay=0.05)
    draw = np.random.default_rng(0)
    for _ in range(steps):
        chosen = draw.integers(len(embeddings), size=8)
        heat, sides, counts = (torch.stack([made[i][k] for i in chosen]) for k in range(3))
        logits, told = head(torch.stack([embeddings[i].features for i in chosen]))
        p = torch.sigmoid(logits)
        sure = (heat == 1).float()
        focal = -(sure * (1 - p) ** 2 * functional.logsigmoid(logits))
        focal = focal - (1 - sure) * (1 - heat) ** 4 * p**2 * functional.logsigmoid(-logits)
        off = (told - sides.clamp(min=0)).abs().sum(dim=1) * counts
        loss = focal.sum() / sure.sum().clamp(min=1) + 5 * off.sum() / counts.sum().clamp(min=1)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return head.eval()


def find(
    head: CentreHead, predictor: Predictor, embedding: Any, final_nms: float
) -> list[tuple[dict[str, Any], float]]:
    """Peaks of the heat map, their boxes as prompts, the masks of those."""
    with torch.no_grad():
        logits, sides = head(embedding.features.unsqueeze(0))
    heat = torch.sigmoid(logits)
    peak = heat == functional.max_pool2d(heat, 3, stride=1, padding=1)
    scores, index = (heat * peak).flatten().topk(TOP)
    side, canvas = heat.shape[-1], embedding.frame.canvas
    x, y = (index % side + 0.5) / side, (index // side + 0.5) / side
    left, top, right, bottom = sides.reshape(4, -1)[:, index]
    on_canvas = torch.stack([x - left, y - top, x + right, y + bottom], dim=1).clamp(0, 1).numpy() * canvas
    boxes = np.asarray(embedding.frame.boxes_to_original(on_canvas), np.float32)
    height, width = embedding.size_hw
    boxes = np.clip(boxes, 0, [width, height, width, height])
    decoded = predictor.decode(embedding, boxes=boxes, multimask="auto")
    masks = [decoded.masks[i, b] for i, b in enumerate(np.asarray(decoded.best))]
    own = decoded.predicted_iou.max(axis=1)
    values = [float(s) * float(np.clip(q, 0, 1)) for s, q in zip(scores, own, strict=True)]
    keep = [i for i, mask in enumerate(masks) if mask.any()]
    rles = [encode(masks[i]) for i in keep]
    if not rles:
        return []
    kept = mask_nms(rles, [values[i] for i in keep], final_nms).tolist()
    return [(dict(rles[k]), values[keep[k]]) for k in kept]


def shown(marks: Marks, precision: float) -> dict[str, Any]:
    """What is compared."""
    threshold = marks.threshold(precision)
    recall = 0.0 if threshold is None else marks.recall(threshold)
    return {"average_precision": round(marks.average_precision, 4), f"recall_at_{precision:g}": round(recall, 4)}


def compare(predictor: Predictor, train: Photos, test: Photos, steps: int, told: Progress | None) -> dict[str, Any]:
    """Both designs on one pack."""
    config = DetectorTraining()
    began = time.monotonic()
    learnt, unseen = (lessons_of(predictor, photos, config, progress=told) for photos in (train, test))  # type: ignore[arg-type]
    scorer = train_scorer(learnt, config, predictor.config.width)
    proposals = shown(judged(scorer, unseen, config), config.precision)
    untrained = marks_of(
        [([(dict(m.segmentation), m.predicted_iou) for m in one.proposals.masks], one.truth) for one in unseen],
        config.same,
    )
    ceiling = float(np.mean([best >= config.same for one in unseen for best in _reach(one)]))
    proposals["seconds"] = round(time.monotonic() - began, 1)
    began = time.monotonic()
    seen = [(predictor.encode(train[i].load_rgb()), train[i].rles) for i in range(len(train))]
    head = train_head([e for e, _ in seen], [boxes_of(r, e.frame) for e, r in seen], predictor.config.width, steps)
    found = []
    for index in range(len(test)):
        sample = test[index]
        embedding = predictor.encode(sample.load_rgb())
        found.append((find(head, predictor, embedding, config.objects.final_nms), [dict(r) for r in sample.rles]))
    centres = shown(marks_of(found, config.same), config.precision) | {"seconds": round(time.monotonic() - began, 1)}
    return {
        "proposals judged": proposals,
        "centres and boxes": centres,
        "predicted IoU alone": shown(untrained, config.precision),
        "masks that some proposal meets": round(ceiling, 4),
        "masks": sum(len(one.truth) for one in unseen),
    }


def _reach(lesson: Any) -> list[float]:
    from segany.masks.rle import rle_iou

    if not lesson.truth:
        return []
    if not lesson.proposals.masks:
        return [0.0] * len(lesson.truth)
    return list(rle_iou([m.segmentation for m in lesson.proposals.masks], lesson.truth).max(axis=0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--packs", nargs="+", default=["bsds500", "coco"])
    parser.add_argument("--train", type=int, default=60)
    parser.add_argument("--test", type=int, default=60)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    predictor = Predictor.from_pretrained(given.model)
    report: dict[str, Any] = {"model": given.model, "train": given.train, "test": given.test}
    for pack in given.packs:
        images = [one for one in iter_pack(pack, given.data, "train") if any(one.mask_groups(200))]
        order = np.random.default_rng(0).permutation(len(images)).tolist()
        train, test = order[: given.train], order[given.train : given.train + given.test]
        parts = [Photos([images[i] for i in chosen], 0.004) for chosen in (train, test)]
        report[pack] = compare(predictor, parts[0], parts[1], given.steps, None)
        print(json.dumps({pack: report[pack]}, indent=1), flush=True)
    if given.output is not None:
        given.output.mkdir(parents=True, exist_ok=True)
        (given.output / "detector_designs.json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
