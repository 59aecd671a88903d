"""Before, during and after: the points protocol on the photos held out of a fine-tuning."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from segany.core.files import atomic_write_json, atomic_write_text
from segany.core.progress import Progress
from segany.data.packs import LabelledImage
from segany.evaluation.comparison import Comparison, compare
from segany.evaluation.points import PointsConfig, PointsScorer
from segany.evaluation.report import PackSummary, summarise
from segany.evaluation.sampling import MaskRow, SampleConfig, sample_images, score_image
from segany.modeling.sam import Sam
from segany.predict.embedding import ImageEmbedding
from segany.predict.prediction import Prediction
from segany.predict.predictor import Predictor
from segany.training.contract import Moment
from segany.training.features import FeatureStore
from segany.transforms.resize import ImageTransform

CLICK, BOX, SCORE = "heldout/clicks_1", "heldout/box", "heldout/score"
REPORT_JSON, REPORT_MD = "report.json", "report.md"
SHOWN = {"clicks_1": "one click", "oracle_1": "one click, best of three by the truth", "box": "box"}
LIVE = "changes with every step"


class FrozenPredictor:
    """A predictor whose encoder does not learn: what it saw in a photo is kept on disk.

    Args:
        model: its decoder may change between calls.
        store: features of the frozen part.
        before_neck: whether the neck still has to run.
        device: where to compute.
    """

    def __init__(self, model: Sam, store: FeatureStore, before_neck: bool, device: torch.device) -> None:
        self.predictor = Predictor(model, fingerprint=LIVE, device=str(device), dtype="float32")
        self.model, self.store, self.before_neck, self.device = model, store, before_neck, device
        config = model.config
        self._transform = ImageTransform(config.canvas, config.low_res, config.pixel_mean, config.pixel_std)

    def encode(self, image: NDArray[np.uint8], /) -> ImageEmbedding:
        """An embedding of the present model."""
        pixels, frame = self._transform(image)
        features = self.store.load(self.store.ensure(pixels)).unsqueeze(0).to(self.device)
        if self.before_neck:
            with torch.no_grad():
                neck = cast(nn.Module, self.model.image_encoder.neck)
                features = cast(Tensor, neck(features))
        return ImageEmbedding(features[0], frame, LIVE)

    def decode(self, image: ImageEmbedding, /, **prompt: Any) -> Prediction:
        """As `Predictor.decode`."""
        return self.predictor.decode(image, **prompt)


@dataclass(frozen=True)
class HeldOutLook:
    """Mean IoU from one click and from a box on held-out photos, the protocol of `segany evaluate points`.

    Args:
        images: the photos.
        sample: which masks of them.
        store: features of the frozen part of the encoder; None when all of it learns.
        before_neck: whether the neck still has to run behind them.
    """

    images: Sequence[LabelledImage]
    sample: SampleConfig
    store: FeatureStore | None = None
    before_neck: bool = False

    def __call__(self, moment: Moment) -> Mapping[str, float]:
        """Means, and the mean of both, which chooses the best step."""
        return means(self.rows(cast(Sam, moment.model), moment.device))

    def rows(self, model: Sam, device: torch.device, progress: Progress | None = None) -> list[MaskRow]:
        """Scores of every mask; `progress` is told (photos done, photos in all)."""
        if self.store is None:
            predictor: Any = Predictor(model, fingerprint=LIVE, device=str(device), dtype="float32")
        else:
            predictor = FrozenPredictor(model, self.store, self.before_neck, device)
        scorer = PointsScorer(predictor=predictor, config=PointsConfig(clicks=(1,)))
        chosen = sample_images(self.images, self.sample)
        rows: list[MaskRow] = []
        for done, image in enumerate(chosen, 1):
            rows += score_image(image, [scorer], self.sample)
            if progress is not None:
                progress(done, len(chosen))
        return rows


def means(rows: Sequence[MaskRow]) -> dict[str, float]:
    """What a look logs."""
    click, box = (float(np.mean([row.scores[name] for row in rows])) for name in ("clicks_1", "box"))
    return {CLICK: click, BOX: box, SCORE: (click + box) / 2}


def save_rows(path: Path, rows: Sequence[MaskRow]) -> None:
    """Keep scores for a run that goes on later."""
    atomic_write_json(path, [row.to_dict() for row in rows])


def load_rows(path: Path) -> list[MaskRow]:
    """What `save_rows` wrote."""
    return [MaskRow.from_dict(row) for row in json.loads(path.read_text(encoding="utf-8"))]


@dataclass(frozen=True)
class Gain:
    """What fine-tuning changed on the held-out photos."""

    before: PackSummary
    after: PackSummary
    changes: list[Comparison]
    """After minus before per score, mask by mask."""

    @classmethod
    def of(cls, before: Sequence[MaskRow], after: Sequence[MaskRow]) -> Gain:
        """Compare the scores of the same masks."""
        joined = [
            replace(
                a, scores={f"{when} {n}": row.scores[n] for when, row in (("before", b), ("after", a)) for n in SHOWN}
            )
            for b, a in zip(before, after, strict=True)
        ]
        pairs = [(f"after {name}", f"before {name}") for name in SHOWN]
        return cls(summarise(before)[0], summarise(after)[0], compare(joined, pairs))

    @property
    def verdict(self) -> str:
        """One sentence that claims no more than the interval allows."""
        click = self.changes[0]
        gap, low, high = click.difference.mean, click.difference.low, click.difference.high
        told = f"One-click IoU on held-out photos: {gap:+.3f} (95 % interval {low:+.3f} to {high:+.3f}): "
        words = {"better": "better.", "worse": "worse.", "undecided": "no clear change."}
        return told + words[click.verdict]


def write_report(out: Path, gain: Gain, about: Mapping[str, Any], notes: Sequence[str]) -> None:
    """OUT/report.json and OUT/report.md."""
    content = {
        "about": dict(about),
        "heldout": {"images": gain.before.images, "masks": gain.before.masks},
        "before": {name: asdict(gain.before.scores[name]) for name in SHOWN},
        "after": {name: asdict(gain.after.scores[name]) for name in SHOWN},
        "change": {name: asdict(c.difference) for name, c in zip(SHOWN, gain.changes, strict=True)},
        "verdict": gain.verdict,
        "notes": list(notes),
    }
    atomic_write_json(out / REPORT_JSON, content, indent=1)
    lines = ["# Fine-tuning\n", gain.verdict + "\n"]
    lines += [
        f"{gain.before.masks} masks of {gain.before.images} photos that never trained; mean IoU with 95 % intervals "
        "(bootstrap over photos).\n",
        "| prompt | before | after | change |",
        "| --- | ---: | ---: | ---: |",
    ]
    for (name, title), change in zip(SHOWN.items(), gain.changes, strict=True):
        gap = change.difference
        cells = (title, gain.before.scores[name], gain.after.scores[name])
        lines.append("| {} | {} | {} |".format(*cells) + f" {gap.mean:+.3f} ({gap.low:+.3f} to {gap.high:+.3f}) |")
    lines += [
        "",
        *(f"- {note}" for note in notes),
        "",
        "What was run:\n",
        "```json",
        json.dumps(about, indent=1),
        "```",
    ]
    atomic_write_text(out / REPORT_MD, "\n".join(lines) + "\n")
