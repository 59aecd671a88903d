"""Releases: what is accepted and cleared, blurred, checked, described, and hashed."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from segany import __version__
from segany.core.errors import DataError, OptionError
from segany.core.files import atomic_write_bytes, atomic_write_json, atomic_write_text
from segany.core.progress import CancelCheck, Progress, check_cancelled
from segany.data.open import open_source
from segany.data.shards import ShardWriter
from segany.data.stats import DatasetStats, StatsCollector
from segany.data.tables import stats_markdown
from segany.data.validate import Validator, check_manifest
from segany.engine.cards import ReleaseFacts, annotation_card, dataset_card
from segany.engine.config import Stage
from segany.engine.export import folder_hash, to_record, whole_folder
from segany.engine.figures import dataset_figures, round_figures
from segany.engine.privacy.blur import Rgb, blur_regions
from segany.engine.values import Accepted, Artefact, Region
from segany.records.sa1b import write_sa1b

if TYPE_CHECKING:
    from segany.engine.store.store import Store

ReleaseForm = Literal["shards", "sa1b"]
JPEG_QUALITY = 95
REPORT, DEIDENTIFICATION, STATISTICS, IDS = (
    "release.json",
    "deidentification.json",
    "statistics.json",
    "sa_images_ids.txt",
)


@dataclass(frozen=True, kw_only=True)
class ReleaseOptions:
    """What goes into a release."""

    stages: tuple[Stage, ...] = ("manual", "semi", "auto")
    """Whose masks; an image that is done in several counts with the first of these."""
    form: ReleaseForm = "shards"
    """"shards": tars with a manifest. "sa1b": a folder of ``sa_N.jpg`` and ``sa_N.json``."""
    simulated: bool | None = None
    """True only simulated people's documents, False only others', None all."""
    shard_images: int = 10_000
    """Images per shard, at most."""

    def __post_init__(self) -> None:
        if self.form not in ("shards", "sa1b") or not self.stages or self.shard_images < 1:
            raise OptionError(
                "a release must be of form shards or sa1b, of one stage or more, with 1 image or more per shard; got "
                f"{self.form!r}, {self.stages}, {self.shard_images}."
            )


def make_release(
    store: Store,
    project: int,
    folder: str | Path,
    *,
    options: ReleaseOptions | None = None,
    progress: Progress | None = None,
    cancelled: CancelCheck | None = None,
) -> Artefact:
    """Write a release: photos with their regions blurred, masks, both cards, statistics, plots, checksums.

    Only cleared images go in; how many were kept back, and why, stands in the reports. The same store gives the same
    data and the same hash. The folder is whole or not there.

    Args:
        store: where everything lies.
        project: whose.
        folder: made; must be missing or empty, or an earlier release, which is replaced.
        options: what goes in.
        progress: told (images done, images in all).
        cancelled: asked before every image; nothing is left then.

    Raises:
        DataError: no image is both accepted and cleared, the folder holds something else, a photo is gone, or the
            result would not pass validation.
        Cancelled: `cancelled` said so.
    """
    chosen_options = options or ReleaseOptions()
    target = Path(folder).expanduser().resolve()
    if target.exists() and any(target.iterdir()) and not (target / REPORT).is_file():
        raise DataError(f"a release needs a new or empty folder; {target} holds something else. Choose another.")
    accepted = list(store.accepted(project, chosen_options.stages, simulated=chosen_options.simulated))
    cleared = sorted((one for one in accepted if one.image.privacy == "cleared"), key=lambda one: one.image.image_id)
    if not cleared:
        raise DataError(
            f"a release needs images that are accepted and cleared; {len(accepted)} are accepted, none of them "
            "cleared. Run the detectors, then let a reviewer clear the photos."
        )
    kept_back: Counter[str] = Counter(one.image.privacy for one in accepted if one.image.privacy != "cleared")
    with whole_folder(target) as fresh:
        regions = _write_data(store, cleared, fresh, chosen_options, progress, cancelled)
        data_sha256 = folder_hash(fresh)
        stats = _checked_stats(fresh, store.project(project).name)
        facts = _facts(store, project, chosen_options, cleared, kept_back, regions, stats)
        report = _report(facts, data_sha256, chosen_options)
        _describe(fresh, facts, report, regions, cleared)
    return store.record_artefact(
        project,
        "release",
        sha256=data_sha256,
        folder=target,
        stages=chosen_options.stages,
        images=stats.images,
        masks=stats.masks,
        report=report,
    )


def _write_data(
    store: Store,
    cleared: Sequence[Accepted],
    folder: Path,
    options: ReleaseOptions,
    progress: Progress | None,
    cancelled: CancelCheck | None,
) -> dict[int, list[Region]]:
    from segany.transforms.encoded import decode_image

    regions: dict[int, list[Region]] = {}
    shards = ShardWriter(folder, max_images=options.shard_images) if options.form == "shards" else None
    for done, one in enumerate(cleared, start=1):
        check_cancelled(cancelled)
        image = one.image
        regions[image.id] = store.regions(image.id)
        rgb = decode_image(store.image_bytes(image), image.file_name)
        photo = _jpeg(blur_regions(rgb, [region.outline for region in regions[image.id]]))
        record = to_record(one, ending=".jpg")
        if shards is not None:
            shards.add(record, photo)
        else:
            atomic_write_bytes(folder / record.file_name, photo)
            write_sa1b(record, folder / f"sa_{image.image_id}.json")
        if progress is not None:
            progress(done, len(cleared))
    if shards is not None:
        shards.close()
    return regions


def _jpeg(rgb: Rgb) -> bytes:
    """Pixels alone: no camera, place or time."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return file.getvalue()


def _checked_stats(folder: Path, name: str) -> DatasetStats:
    """Statistics of what was written, after every check of `segany dataset validate`."""
    source = open_source(folder)
    validator, collector = Validator(name), StatsCollector(name)
    validator.missing(source.missing)
    for line in check_manifest(folder):
        validator.report.note("manifest", line)
    for sample in source:
        validator.add(sample)
        collector.add(sample)
    if not validator.report.good:
        first = next(iter(validator.report.first.values()))[0]
        raise DataError(f"a release must pass validation; this one does not: {first}. Mend the annotation, try again.")
    return collector.result()


def _facts(
    store: Store,
    project: int,
    options: ReleaseOptions,
    cleared: Sequence[Accepted],
    kept_back: Counter[str],
    regions: dict[int, list[Region]],
    stats: DatasetStats,
) -> ReleaseFacts:
    every = [region for found in regions.values() for region in found]
    audits = {stage: store.audit(project, stage) for stage in options.stages}
    by_simulated = store.clearances(project)
    return ReleaseFacts(
        project=store.project(project),
        stages=options.stages,
        by_stage=Counter(one.document.stage for one in cleared),
        stats=stats,
        numbers=store.stats(project, simulated=options.simulated),
        audits={stage: audit for stage, audit in audits.items() if audit.images},
        models=store.models(project),
        rounds=store.rounds(project),
        detectors=store.detectors(project),
        blurred=Counter(region.kind for region in every),
        drawn=sum(region.source == "person" for region in every),
        kept_back=kept_back,
        cleared_by_simulated=sum(by_simulated.get(one.image.id, False) for one in cleared),
        simulated=sum(one.document.simulated for one in cleared),
        newest=max(one.document.created for one in cleared),
        source=f"segany {__version__}",
    )


def _report(facts: ReleaseFacts, data_sha256: str, options: ReleaseOptions) -> dict[str, Any]:
    return {
        "format": "segany-release 1",
        "project": facts.project.name,
        "sha256": data_sha256,
        "form": options.form,
        "stages": list(options.stages),
        "images": facts.stats.images,
        "masks": facts.stats.masks,
        "images_by_stage": dict(facts.by_stage),
        "images_with_simulated_masks": facts.simulated,
        "images_cleared_by_simulated_reviewers": facts.cleared_by_simulated,
        "images_kept_back": dict(facts.kept_back),
        "blurred": dict(facts.blurred),
        "blurred_by_people": facts.drawn,
        "detectors": list(facts.detectors),
        "audits": {stage: audit.to_json() for stage, audit in facts.audits.items()},
        "licence": facts.project.settings.licence,
        "newest_document": facts.newest.isoformat(),
        "made_with": facts.source,
    }


def _describe(
    folder: Path,
    facts: ReleaseFacts,
    report: dict[str, Any],
    regions: dict[int, list[Region]],
    cleared: Sequence[Accepted],
) -> None:
    told = [
        {
            "image_id": one.image.image_id,
            "regions": [
                {"kind": region.kind, "outline": [list(corner) for corner in region.outline], "source": region.source}
                for region in regions[one.image.id]
            ],
        }
        for one in cleared
    ]
    atomic_write_json(folder / REPORT, report, indent=1)
    counts = {key: report[key] for key in ("detectors", "blurred", "blurred_by_people", "images_kept_back")}
    atomic_write_json(folder / DEIDENTIFICATION, {**counts, "images": told}, indent=1)
    numbers = {key: value for key, value in facts.numbers.to_json().items() if key != "people"}  # nobody is named
    atomic_write_json(folder / STATISTICS, {"data": facts.stats.to_json(), "project": numbers}, indent=1)
    atomic_write_text(folder / IDS, "".join(f"{one.image.image_id}\n" for one in cleared))
    atomic_write_text(folder / "statistics.md", stats_markdown([facts.stats], [], []))
    atomic_write_text(folder / "dataset_card.md", dataset_card(facts))
    atomic_write_text(folder / "annotation_card.md", annotation_card(facts))
    dataset_figures(facts.stats, folder, simulated=bool(facts.simulated))
    round_figures(facts.rounds, folder, simulated=bool(facts.simulated))
