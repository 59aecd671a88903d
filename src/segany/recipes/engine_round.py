"""Once round the loop: snapshot, train, measure on images held out, publish only what is better."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from segany.core.errors import DataError, OptionError, TrainingError
from segany.core.files import atomic_write_json
from segany.core.progress import Progress
from segany.data.photo_sets import open_photos
from segany.engine.config import Stage
from segany.engine.figures import round_figures
from segany.engine.snapshot import make_snapshot, part_of
from segany.engine.statistics import Effort
from segany.evaluation.comparison import Comparison, compare
from segany.evaluation.sampling import MaskRow, SampleConfig
from segany.modeling.checkpoints.load import load_model
from segany.modeling.checkpoints.save import save_model
from segany.recipes.engine_training import RoundConfig, planned_steps, train_weights
from segany.recipes.finetune_data import OwnPhoto
from segany.recipes.finetune_scores import SHOWN, Gain, HeldOutLook, load_rows, save_rows
from segany.recipes.folder import WEIGHTS
from segany.training.distributed import processes

if TYPE_CHECKING:
    from segany.engine.store.store import Store
    from segany.engine.values import Artefact, Round
    from segany.modeling.sam import Sam
    from segany.training.contract import Status

BEFORE, AFTER, REPORT = "before.json", "after.json", "round.json"
FIRST = ("clicks_1", "box")
"""Scores that say how good weights are for people who annotate: masks after a first prompt."""


@dataclass(frozen=True, kw_only=True)
class RoundResult:
    """What a round did."""

    round: Round
    gain: Gain
    """On the held-out images, old against new."""
    report: dict[str, Any]
    figures: list[Path]

    @property
    def told(self) -> str:
        """One sentence: published or not, and why."""
        done = "published" if self.round.published else "not published; the weights in use stay"
        return f"{self.round.note} Round {self.round.number}: {done}."


def run_round(
    store: Store,
    project: int,
    config: RoundConfig,
    *,
    start: str | Path = "tiny",
    user: int | None = None,
    device: str = "auto",
    told: Callable[[Status], None] | None = None,
    prepared: Callable[[str], Progress] | None = None,
) -> RoundResult:
    """Train the weights in use on everything accepted, and publish the result if it is better.

    Better means: on the masks that people made on images that never train, the whole 95 % interval of the mean change
    in the IoU of a first prompt (the mean of one click's and a box's, mask by mask, images drawn anew) lies above 0,
    and neither of the two alone is worse beyond its interval. A round that was interrupted goes on.

    Args:
        store: where everything lies.
        project: whose.
        config: how.
        start: weights to begin with when the project has none in use; they are taken in.
        user: who does it.
        device: as everywhere.
        told: called after every training step.
        prepared: name of a preparation → who is told how far it is.

    Raises:
        DataError: nothing to train on, or nothing held out that could measure.
        Cancelled: asked to stop; the same call goes on.
    """
    current = store.current_model(project) or _taken_in(store, project, start, user)
    going = next((one for one in store.rounds(project) if one.state == "open"), None)
    snapshot = _snapshot_of(store, project, going, config)
    train, held_out = part_of(store, snapshot, "train"), part_of(store, snapshot, "held_out")
    measured = None if held_out is None else _people_only(store, project, held_out)
    if train is None or not measured:
        raise DataError(
            f"a round needs accepted images to train on and others, held out, with people's masks to measure on; got "
            f"{snapshot.report['train']['images']} and {0 if not measured else len(measured)}. Annotate more images."
        )
    opened = going or store.open_round(project, _newest_stage(store, project, config), snapshot=snapshot.sha256)
    place = store.folder / "rounds" / f"{project}-{opened.number:04d}"
    try:
        before, after, weights, steps = _work(
            store, project, opened, config, train, measured, place, device, told, prepared
        )
    except (DataError, OptionError, TrainingError):
        store.close_round(opened.id, failed=True, note="could not be trained or measured")
        raise
    gain, first = Gain.of(before, after), first_prompt(before, after)
    enough = gain.before.images >= config.least_images
    harmed = [name for name, change in zip(SHOWN, gain.changes, strict=True) if change.verdict == "worse"]
    better = first.verdict == "better" and enough and not set(harmed) & set(FIRST)
    verdict = _verdict(first, gain) + ("" if enough else f" Too few images are held out, {gain.before.images}.")
    scores = {"one_click": gain.after.scores["clicks_1"].mean, "box": gain.after.scores["box"].mean}
    made = store.register_model(
        project,
        f"round-{opened.number}",
        weights,
        fingerprint=load_model(weights).fingerprint,
        metrics={**scores, "round": opened.number},
    )
    if better:
        store.publish_model(made.id, user=user, reason=f"round {opened.number}: {verdict}")
    report = _report(store, project, opened, gain, better, steps, snapshot)
    report["first_prompt"] = _told(first)
    closed = store.close_round(opened.id, model=made.id, published=better, metrics=report, note=verdict)
    atomic_write_json(place / REPORT, report, indent=1)
    played = any(one.simulated for one in store.users())
    figures = round_figures(store.rounds(project), store.folder / "figures" / str(project), simulated=played)
    assert current is not None
    return RoundResult(round=closed, gain=gain, report=report, figures=figures)


def first_prompt(before: Sequence[MaskRow], after: Sequence[MaskRow]) -> Comparison:
    """How much better the masks after a first prompt have become: the mean of one click and a box, mask by mask."""
    rows = [
        replace(
            row,
            scores={
                when: sum(one.scores[name] for name in FIRST) / len(FIRST)
                for when, one in (("before", row), ("after", new))
            },
        )
        for row, new in zip(before, after, strict=True)
    ]
    return compare(rows, [("after", "before")])[0]


def _verdict(first: Comparison, gain: Gain) -> str:
    gap = first.difference
    words = {"better": "better", "worse": "worse", "undecided": "no clear change"}
    told = f"IoU after a click or a box on held-out photos: {gap.mean:+.3f} (95 % interval {gap.low:+.3f} to "
    return f"{told}{gap.high:+.3f}): {words[first.verdict]}. {gain.verdict}"


def _told(change: Comparison) -> dict[str, float]:
    gap = change.difference
    return {"mean": round(gap.mean, 4), "low": round(gap.low, 4), "high": round(gap.high, 4)}


def _taken_in(store: Store, project: int, start: str | Path, user: int | None) -> Any:
    """The first weights of a project, put into use."""
    loaded = load_model(start)
    place = store.folder / "start" / f"{loaded.fingerprint[:16]}.safetensors"
    if not place.is_file():
        place.parent.mkdir(parents=True, exist_ok=True)
        save_model(loaded.model.state_dict(), loaded.config, place, metadata=loaded.metadata)
    taken = store.register_model(project, loaded.config.name, place, fingerprint=loaded.fingerprint)
    return store.publish_model(taken.id, user=user, reason="to start with")


def _snapshot_of(store: Store, project: int, going: Round | None, config: RoundConfig) -> Artefact:
    """That of the round that is open, else a fresh one."""
    for one in store.artefacts(project, "snapshot"):
        if going is not None and one.sha256 == going.snapshot:
            return one
    return make_snapshot(store, project, config.stages)


def _newest_stage(store: Store, project: int, config: RoundConfig) -> Stage:
    """The furthest stage in which something is done."""
    done = {one.stage for one in store.stats(project).stages if one.done.images}
    return next(stage for stage in reversed(config.stages) if stage in done)


def _people_only(store: Store, project: int, held_out: Path) -> list[OwnPhoto]:
    """Held-out photos whose masks people made or checked: the sweep's own masks would only praise the sweep."""
    auto = {f"sa_{one.image.image_id}" for one in store.accepted(project) if one.document.kind == "automatic"}
    source = open_photos(held_out).source
    samples = [source[index] for index in range(len(source))]
    return [OwnPhoto(sample, held_out) for sample in samples if Path(sample.key).name not in auto and sample.rles]


def _work(
    store: Store,
    project: int,
    opened: Round,
    config: RoundConfig,
    train: Path,
    measured: Sequence[OwnPhoto],
    place: Path,
    device: str,
    told: Callable[[Status], None] | None,
    prepared: Callable[[str], Progress] | None,
) -> tuple[list[MaskRow], list[MaskRow], Path, int]:
    """Scores before and after, the new weights, and how many steps made them; what is there is not made again."""
    before_model = next(one for one in store.models(project) if one.id == opened.model_before)
    loaded = load_model(store.model_path(before_model))
    sample = SampleConfig(
        min_area_share=config.min_share, masks_per_image=config.most_masks, images_per_pack=config.most_images
    )
    look = HeldOutLook(measured, sample)
    place.mkdir(parents=True, exist_ok=True)
    with processes(device) as group:
        before = _rows(place / BEFORE, look, loaded.model, group.device, prepared, "measuring the weights in use")
        if not before:
            raise DataError(
                f"no mask of the held-out images covers {config.min_share:g} of its photo, so nothing can be measured. "
                "Annotate more images, or lower --min-share."
            )
        steps = planned_steps(config, loaded, train, place, device)
        weights = place / WEIGHTS
        if not weights.is_file():
            train_weights(config.training(steps), loaded, train, place, device, told)
        after = _rows(
            place / AFTER, look, load_model(weights).model, group.device, prepared, "measuring the new weights"
        )
    return before, after, weights, steps


def _rows(
    path: Path,
    look: HeldOutLook,
    model: Sam,
    device: torch.device,
    prepared: Callable[[str], Progress] | None,
    name: str,
) -> list[MaskRow]:
    if not path.is_file():
        save_rows(path, look.rows(model.to(device).eval(), device, prepared(name) if prepared else None))
    return load_rows(path)


def effort_since(store: Store, project: int, stage: Stage, since: Any) -> Effort:
    """What the accepted documents of a stage took that were made after a time; all of them when it is None."""
    images = masks = people = clicks = 0
    seconds = 0.0
    for one in store.accepted(project, (stage,)):
        made = one.document
        if since is not None and made.created <= since:
            continue
        images, masks, people = images + 1, masks + made.masks, people + made.people_masks
        clicks, seconds = clicks + made.clicks, seconds + made.active_seconds
    return Effort(images=images, masks=masks, people_masks=people, clicks=clicks, active_seconds=seconds)


def _report(
    store: Store, project: int, opened: Round, gain: Gain, better: bool, steps: int, snapshot: Artefact
) -> dict[str, Any]:
    """What stands in the round: the paper's table for one's own project, and how it was decided."""
    earlier = [one.opened for one in store.rounds(project) if one.number < opened.number and one.state == "closed"]
    effort = effort_since(store, project, opened.stage, max(earlier, default=None))
    old, new = (summary.scores["clicks_1"].mean for summary in (gain.before, gain.after))
    return {
        "stage": opened.stage,
        "one_click_miou": round(new if better else old, 4),
        "clicks_per_mask": _rounded(effort.clicks_per_mask),
        "seconds_per_mask": _rounded(effort.seconds_per_mask),
        "masks_per_image": _rounded(effort.masks_per_image),
        "published": better,
        "images": effort.images,
        "masks": effort.masks,
        "people_masks": effort.people_masks,
        "before": round(old, 4),
        "after": round(new, 4),
        "change": _told(gain.changes[0]),
        "box_before": round(gain.before.scores["box"].mean, 4),
        "box_after": round(gain.after.scores["box"].mean, 4),
        "held_out": {"images": gain.before.images, "masks": gain.before.masks},
        "snapshot": snapshot.sha256,
        "trained_on": snapshot.report["train"],
        "steps": steps,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
