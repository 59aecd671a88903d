"""Assembled evaluations: data packs, a predictor, a protocol, a report on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segany import __version__
from segany.core.errors import Cancelled, DataError, OptionError
from segany.data.packs import PACKS, PackImage, Part, iter_pack
from segany.evaluation.points import PointsConfig, PointsScorer, PromptablePredictor
from segany.evaluation.report import (
    PackSummary,
    plot_clicks,
    ranking_markdown,
    summarise,
    to_json,
    to_markdown,
)
from segany.evaluation.sampling import MaskRow, SampleConfig, Scorer, sample_images, score_image

if TYPE_CHECKING:
    from segany.core.progress import CancelCheck, Progress
    from segany.evaluation.baselines import BaselineConfig

ROWS, REPORT_JSON, REPORT_MD, PLOT = "masks.jsonl", "points.json", "points.md", "points.png"


@dataclass(frozen=True, kw_only=True)
class PointsResult:
    """What `points` measured."""

    rows: list[MaskRow]
    summaries: list[PackSummary]
    about: dict[str, Any]
    """What was run: model, configs, version."""
    files: tuple[Path, ...] = ()
    """What was written."""

    @property
    def report(self) -> dict[str, Any]:
        """The report as plain values."""
        return to_json(self.summaries, self.about)

    @property
    def markdown(self) -> str:
        """The report as Markdown."""
        about = (
            f"Model `{self.about['model']}`, {self.about['part']} images, masks of at least "
            f"{self.about['sample']['min_area_share']:.1%} of the image; mean IoU with 95 % intervals "
            "(bootstrap over images).\n"
        )
        ranking = ranking_markdown(self.summaries)
        parts = ["# Points\n", about, to_markdown(self.summaries)]
        if ranking:
            parts += ["Choosing among the three masks after one click:\n", ranking]
        return "\n".join(parts)


def points(
    data: str | Path,
    *,
    predictor: PromptablePredictor | None = None,
    model: str = "tiny",
    packs: Sequence[str] = PACKS,
    part: Part = "heldout",
    output: str | Path | None = None,
    restart: bool = False,
    sample: SampleConfig | None = None,
    protocol: PointsConfig | None = None,
    baselines: BaselineConfig | None = None,
    progress: Progress | None = None,
    cancelled: CancelCheck | None = None,
) -> PointsResult:
    """Measure a model with simulated clicks and boxes on the labelled packs.

    Args:
        data: the folder that holds the packs.
        predictor: what is measured; loaded by the name `model` when left out.
        model: its name, for loading and for the report.
        packs: which packs, of `segany.data.packs.PACKS`.
        part: "heldout" for scores to publish, "watched" to choose by, "train" to look for overfitting.
        output: folder for masks.jsonl, points.json, points.md and points.png; without it nothing is written.
            An interrupted run into the same folder takes up where it stopped.
        restart: drop what an earlier run left in `output`.
        sample: which masks are measured; the defaults of `SampleConfig` when left out.
        protocol: which clicks are measured; the defaults of `PointsConfig` when left out.
        baselines: measure the classic methods on the same masks too.
        progress: told (images done, images in all).
        cancelled: asked before every image.

    Raises:
        DataError: a pack is missing or damaged, or no mask was large enough.
        OptionError: no pack, or `output` holds another run's results.
        Cancelled: `cancelled` said so; finished images are kept in `output`.
    """
    sample, protocol = sample or SampleConfig(), protocol or PointsConfig()
    if not packs:
        raise OptionError(f"at least one pack is needed, of {', '.join(PACKS)}; got none.")
    images = [image for pack in dict.fromkeys(packs) for image in sample_images(iter_pack(pack, data, part), sample)]
    if predictor is None:
        from segany.predict.predictor import Predictor

        predictor = Predictor.from_pretrained(model, dtype="float32")  # scores that no machine changes
    scorers: list[Scorer] = [PointsScorer(predictor=predictor, config=protocol)]
    if baselines is not None:
        from segany.evaluation.baselines import BaselineScorer

        scorers.append(BaselineScorer(config=baselines))
    about = {
        "segany": __version__,
        "model": model,
        "model_fingerprint": str(getattr(predictor, "fingerprint", "")),
        "part": part,
        "packs": list(dict.fromkeys(packs)),
        "sample": asdict(sample),
        "protocol": asdict(protocol),
        "baselines": None if baselines is None else asdict(baselines),
    }
    journal = _Journal.open(Path(output) / ROWS, about, restart) if output is not None else _Journal()
    for done, image in enumerate(images):
        if cancelled is not None and cancelled():
            raise Cancelled(f"stopped after {done} of {len(images)} images. The same call goes on from there.")
        if not journal.has(image):
            journal.add(image, score_image(image, scorers, sample))
        if progress is not None:
            progress(done + 1, len(images))
    rows = [row for image in images for row in journal.rows_of(image)]
    result = PointsResult(rows=rows, summaries=summarise(rows, seed=sample.seed), about=about)
    if output is None:
        return result
    files = (Path(output) / ROWS, *_write(result, Path(output)))
    return PointsResult(rows=result.rows, summaries=result.summaries, about=about, files=files)


def _write(result: PointsResult, folder: Path) -> tuple[Path, ...]:
    from segany.core.files import atomic_write_text

    report, table, plot = folder / REPORT_JSON, folder / REPORT_MD, folder / PLOT
    atomic_write_text(report, json.dumps(result.report, indent=1, sort_keys=True) + "\n")
    atomic_write_text(table, result.markdown)
    drawn = plot_clicks(plot, result.summaries, title=f"{result.about['model']}: clicks")
    return (report, table) if drawn is None else (report, table, drawn)


class _Journal:
    """The rows of finished images, by image; kept in a file of one JSON line per image when it has a path."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._rows: dict[tuple[str, str], list[MaskRow]] = {}

    @classmethod
    def open(cls, path: Path, about: dict[str, Any], restart: bool) -> _Journal:
        run = hashlib.sha256(json.dumps(about, sort_keys=True).encode("utf-8")).hexdigest()
        journal = cls(path)
        lines = _whole_lines(path) if path.is_file() and not restart else []
        if lines and lines[0].get("run") != run:
            raise OptionError(
                f"{path.parent} holds the results of another model or other settings. "
                "Choose another output folder, or ask for a restart to replace them."
            )
        for line in lines[1:]:
            rows = [MaskRow.from_dict(row) for row in line["rows"]]
            journal._rows[line["pack"], line["image"]] = rows
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = [{"run": run}, *lines[1:]]
        path.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
        return journal

    def has(self, image: PackImage) -> bool:
        return (image.pack, image.key) in self._rows

    def add(self, image: PackImage, rows: list[MaskRow]) -> None:
        self._rows[image.pack, image.key] = rows
        if self._path is not None:
            line = {"pack": image.pack, "image": image.key, "rows": [row.to_dict() for row in rows]}
            with open(self._path, "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")

    def rows_of(self, image: PackImage) -> list[MaskRow]:
        return self._rows[image.pack, image.key]


def _whole_lines(path: Path) -> list[dict[str, Any]]:
    """The JSON lines of a file; a last line cut short by an interruption is dropped."""
    texts = path.read_text(encoding="utf-8").split("\n")[:-1]
    try:
        lines = [json.loads(text) for text in texts]
        if any(not isinstance(line, dict) for line in lines):
            raise ValueError("a line is no JSON object")
    except ValueError as error:
        raise DataError(f"{path} is damaged: {error}. Remove it, or ask for a restart.") from error
    return lines
