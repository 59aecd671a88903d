"""The fully automatic stage: the sweep over every photo nobody finished, and what each of its filters did."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from segany.batch.local import Rgb, open_folder, run_local
from segany.batch.plan import Item
from segany.core.errors import DataError, OptionError
from segany.core.files import atomic_write_json
from segany.core.progress import CancelCheck, Progress, check_cancelled
from segany.data.sample import SampleSource
from segany.engine.moving import document_of
from segany.masks.rle import rle_iou
from segany.predict.automatic.config import PRESETS, SweepConfig, recommended_knobs
from segany.predict.automatic.generator import AutomaticMaskGenerator
from segany.predict.automatic.tally import CANDIDATES, FILTERS, MASKS
from segany.records.formats import WRITERS
from segany.records.record import ImageRecord, MaskRecord
from segany.records.sa1b import read_sa1b

if TYPE_CHECKING:
    from segany.engine.store.store import Store
    from segany.engine.values import Image
    from segany.predict.predictor import Predictor

Sweep = Literal["sa1b", "reference", "weights", "project"]
"""The data set's preset; the released defaults; the latter with what the weights recommend; the preset with thresholds
found on the masks that people of the project made."""
OVERLAP = 0.7
"""Of masks that overlap by more than this IoU a project keeps the one of higher predicted IoU."""


class CountingSource:
    """A mask source that remembers what its filters did to the photo a thread worked on last."""

    def __init__(self, generator: AutomaticMaskGenerator) -> None:
        self.generator, self._here = generator, threading.local()

    @property
    def fingerprint(self) -> str:
        """The generator's."""
        return self.generator.fingerprint

    def __call__(
        self, rgb: Any, *, progress: Progress | None = None, cancelled: CancelCheck | None = None
    ) -> list[MaskRecord]:
        """The masks of one photo."""
        self._here.tally = Counter()
        return self.generator.generate(rgb, progress=progress, cancelled=cancelled, tally=self._here.tally)

    def last(self) -> Counter[str]:
        """What happened to the photo this thread worked on last."""
        tally: Counter[str] = self._here.tally
        return tally


@dataclass(kw_only=True)
class AutoResult:
    """What the sweep over a project did."""

    images: int = 0
    """That have automatic masks now."""
    masks: int = 0
    made: int = 0
    """Of the images, those swept by this call; the others were there."""
    failed: list[str] = field(default_factory=list)
    filters: dict[str, int] = field(default_factory=dict)
    """Candidates, what each filter dropped, masks: over all images of this sweep."""
    knobs: dict[str, Any] = field(default_factory=dict)
    folder: Path = field(default_factory=Path)

    @property
    def told(self) -> list[tuple[str, int, float]]:
        """Line by line: name, number, share of the candidates."""
        whole = max(1, self.filters.get(CANDIDATES, 0))
        names = (CANDIDATES, *FILTERS, MASKS)
        return [(name, self.filters.get(name, 0), self.filters.get(name, 0) / whole) for name in names]


def sweep_config(
    predictor: Predictor,
    sweep: Sweep = "sa1b",
    knobs: dict[str, Any] | None = None,
    *,
    samples: SampleSource | None = None,
    progress: Progress | None = None,
) -> SweepConfig:
    """The knobs of the automatic stage.

    Args:
        predictor: whose weights may recommend some, and which thresholds are found for.
        sweep: where they come from.
        knobs: single ones that are to differ.
        samples: photos with people's masks, of the training part; "project" needs them.
        progress: told (photos measured, photos in all).

    Raises:
        OptionError: unknown or impossible knobs.
        DataError: "project" without photos.
    """
    if sweep == "weights":
        base = recommended_knobs(predictor.metadata)
    elif sweep in ("sa1b", "project"):
        base = PRESETS["sa1b"].to_dict()
    elif sweep == "reference":
        base = PRESETS["reference"].to_dict()
    else:
        raise OptionError(f"a sweep must be sa1b, reference, weights or project; got {sweep!r}. Choose one.")
    config = SweepConfig.of(**{**base, **(knobs or {})})
    if sweep != "project":
        return config
    if samples is None or not len(samples):
        raise DataError("thresholds of the project need accepted photos that train; there are none. Take sa1b.")
    given = set(knobs or {})
    found = thresholds_of(predictor, config, samples, progress=progress)
    return SweepConfig.of(**{**config.to_dict(), **{name: found[name] for name in found if name not in given}})


def thresholds_of(
    predictor: Predictor,
    config: SweepConfig,
    samples: SampleSource,
    *,
    most: int = 12,
    same: float = 0.5,
    progress: Progress | None = None,
) -> dict[str, float]:
    """Thresholds on predicted IoU and stability at which the sweep's masks agree best with people's.

    Best is the highest mean of precision (kept masks that meet one that people made) and recall (people's masks that
    are met), the harmonic one, over the whole photo's clicks without crops and after masks that overlap much have been
    dropped. People mark what is prominent, not everything, so precision is underestimated and the thresholds are
    rather strict.

    Args:
        predictor: the model.
        config: the other knobs.
        samples: photos with people's masks that may train.
        most: photos looked at, evenly spread.
        same: IoU from which a mask meets another.
        progress: told (photos done, photos in all).

    Returns:
        Knobs by name; none when there is nothing to learn from.
    """
    open_ = replace(config, crop_n_layers=0, pred_iou_thresh=0.0, stability_score_thresh=0.05, box_nms_thresh=0.9)
    generator = AutomaticMaskGenerator(predictor, open_)
    count = min(most, len(samples))
    photos = []
    for done, index in enumerate(np.linspace(0, len(samples) - 1, count).round().astype(int).tolist(), start=1):
        sample = samples[index]
        masks, truth = generator.generate(sample.load_rgb()), list(sample.rles)
        if masks and truth:
            photos.append(_Swept.of(masks, truth, same))
        if progress is not None:
            progress(done, count)
    if not photos:
        return {}
    iou, stability = (np.concatenate([getattr(one, name) for one in photos]) for name in ("iou", "stability"))
    choices = [
        (_f1([one.kept(float(a), float(b)) for one in photos]), float(a), float(b))
        for a in np.quantile(iou, np.linspace(0.05, 0.95, 19))
        for b in np.quantile(stability, np.linspace(0.0, 0.9, 10))
    ]
    _, a, b = max(choices)
    found = {"pred_iou_thresh": max(a, 1e-3), "stability_score_thresh": b, "mask_nms_thresh": OVERLAP}
    return {name: round(value, 4) for name, value in found.items()}


@dataclass(frozen=True)
class _Swept:
    """A photo's proposals, the surest first, and what people made there."""

    iou: NDArray[np.float64]
    stability: NDArray[np.float64]
    overlaps: NDArray[np.bool_]
    """(P, P) whether two proposals overlap too much for both to stay."""
    meets: NDArray[np.bool_]
    """(P, T)"""

    @classmethod
    def of(cls, masks: Sequence[MaskRecord], truth: Sequence[Mapping[str, Any]], same: float) -> _Swept:
        ranked = sorted(masks, key=lambda one: -one.predicted_iou)
        rles = [one.segmentation for one in ranked]
        return cls(
            np.array([one.predicted_iou for one in ranked]),
            np.array([one.stability_score for one in ranked]),
            rle_iou(rles, rles) > OVERLAP,
            rle_iou(rles, truth) >= same,
        )

    def kept(self, iou: float, stability: float) -> tuple[int, int, int, int]:
        """With these thresholds: masks kept, those that meet a true one, true masks met, true masks."""
        rows: list[int] = []
        gone = (self.iou <= iou) | (self.stability < stability)
        for row in np.flatnonzero(~gone).tolist():
            if not gone[row]:
                rows.append(row)
                gone |= self.overlaps[row]
        meets = self.meets[rows]
        return len(rows), int(meets.any(axis=1).sum()), int(meets.any(axis=0).sum()), self.meets.shape[1]


def _f1(photos: Sequence[tuple[int, int, int, int]]) -> float:
    kept, right, met, true = (sum(column) for column in zip(*photos, strict=True))
    precision, recall = right / max(1, kept), met / max(1, true)
    return float(2 * precision * recall / max(1e-9, precision + recall))


def run_auto(
    store: Store,
    project: int,
    user: int,
    predictor: Predictor,
    config: SweepConfig,
    *,
    images: Sequence[int] | None = None,
    workers: int = 1,
    progress: Progress | None = None,
    cancelled: CancelCheck | None = None,
) -> AutoResult:
    """Sweep photos and take the masks in as accepted documents of stage "auto".

    The same call goes on where an earlier one stopped: a photo that was swept with these weights and knobs is not
    swept again.

    Args:
        store: where everything lies.
        project: whose.
        user: who runs it.
        predictor: the model.
        config: its knobs.
        images: in the store's numbers; None takes all that nobody finished by hand.
        workers: photos at once.
        progress: told (photos done, photos in all).
        cancelled: asked between photos and inside.

    Raises:
        Cancelled: `cancelled` said so; what is done stays.
    """
    source = CountingSource(AutomaticMaskGenerator(predictor, config))
    chosen = _chosen(store, project, images)
    out = store.folder / "auto" / source.fingerprint[:16]
    open_folder(out, {"masks": source.fingerprint, "knobs": config.to_dict()})
    items = [Item(store.image_path(image), f"{image.id}") for image in chosen]

    def note(item: Item, rgb: Rgb, record: ImageRecord) -> None:
        atomic_write_json(out / "filters" / f"{item.stem}.json", dict(source.last()))

    (out / "filters").mkdir(exist_ok=True)
    done = run_local(
        items,
        source,
        out,
        WRITERS["sa1b"],
        before_write=note,
        progress=progress,
        cancelled=cancelled,
        workers=workers,
    )
    by_stem = {item.stem: image for item, image in zip(items, chosen, strict=True)}
    known = next((one.id for one in store.models(project) if one.fingerprint == predictor.fingerprint), None)
    result = AutoResult(made=len(done.done), knobs=config.to_dict(), folder=out)
    result.failed = [f"{by_stem[item.stem].file_name}: {reason}" for item, reason in done.failed]
    tally: Counter[str] = Counter()
    for item in [*done.skipped, *done.done]:
        check_cancelled(cancelled)
        image = by_stem[item.stem]
        record = read_sa1b(WRITERS["sa1b"].target(out, item.stem))
        document = document_of(
            image, record.annotations, source="automatic", at=datetime.now(UTC), model=predictor.fingerprint
        )
        key = f"auto {image.id} {source.fingerprint[:16]} {image.sha256}"
        store.add_automatic(user, image.id, document, key=key, model=known)
        result.images, result.masks = result.images + 1, result.masks + len(document.annotations)
        tally.update(json.loads((out / "filters" / f"{item.stem}.json").read_text(encoding="utf-8")))
    result.filters = {name: tally[name] for name in (CANDIDATES, *FILTERS, MASKS)}
    atomic_write_json(out / "report.json", {"images": result.images, "filters": result.filters}, indent=1)
    return result


def _chosen(store: Store, project: int, images: Sequence[int] | None) -> list[Image]:
    if images is not None:
        return [store.image(number) for number in images]
    done = {one.image.id for one in store.accepted(project, ("manual", "semi"))}
    return [one for one in store.images(project) if one.id not in done]
