"""The whole loop of the data engine with simulated people and a real service, from the first photo to a release."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segany.core.errors import DataError, OptionError
from segany.core.files import atomic_write_json, atomic_write_text
from segany.data.photo_sets import open_photos
from segany.engine.config import ProjectSettings, Stage
from segany.engine.figures import SIMULATED, people_figures, round_figures
from segany.engine.objects import ObjectConfig
from segany.engine.privacy.look import look_for_people
from segany.engine.release import ReleaseOptions, make_release
from segany.engine.snapshot import make_snapshot, part_of
from segany.predict.predictor import Predictor
from segany.recipes.engine_auto import run_auto, sweep_config
from segany.recipes.engine_client import EngineClient
from segany.recipes.engine_detector import DetectorTraining, detector_for, prefill
from segany.recipes.engine_human import HumanConfig
from segany.recipes.engine_process import Service
from segany.recipes.engine_round import effort_since, run_round
from segany.recipes.engine_simulated import Reviewer, play
from segany.recipes.engine_start import LEAST_STEPS, starting_model
from segany.recipes.engine_table import report_markdown
from segany.recipes.engine_training import RoundConfig
from segany.recipes.engine_truth import Yardstick, add_people, check_release, choose_photos

if TYPE_CHECKING:
    from segany.engine.store.store import Store

STATE, REPORT, REPORT_MD = "state.json", "report.json", "report.md"
SETTINGS = ProjectSettings(
    held_out_share=0.25,
    review_first=1,
    review_share=0.2,
    overlap_share=0.05,
    lease_seconds=120.0,
    guideline="Mark what is prominent, the largest first. Leave out what is smaller than a coin at arm's length.",
    licence="Research use only: the photos belong to their authors.",
    purpose="A rehearsal of the loop. No person annotated anything.",
    collection="Photos of public data sets: BSDS500 and COCO, their training parts.",
    annotators="Programs that play the ground truth of those data sets with noise.",
)

LEAST_PRECISION = 0.5
"""Share of prefilled masks that must be right, on photos the detector did not learn from."""


@dataclass(frozen=True, kw_only=True)
class RehearseConfig:
    """How much is rehearsed, and for how long models train."""

    images: tuple[int, int, int] = (40, 60, 200)
    """Photos of the stages manual, semi and auto. 1 or more each, 4 in the first."""
    packs: tuple[str, ...] = ("coco", "bsds500")
    """Where photos and truth come from: training parts alone."""
    annotators: int = 3
    """Simulated ones, at work at once. 2 or more: some photos are annotated twice."""
    start_steps: int = 400
    """Training of the starting model: some minutes. 10 or more."""
    round_steps: int = 400
    """Training of each round. 1 or more."""
    points_per_side: int = 10
    """Clicks along each edge of the sweep and of the detector's proposals; the paper's sweep has 32."""
    crop_layers: int = 0
    """Layers of crops of the sweep; the paper's has 2, which takes 21 times as many encodings."""
    human: HumanConfig = field(default_factory=HumanConfig)
    """How the simulated people work."""
    seed: int = 0
    """Of everything drawn."""

    def __post_init__(self) -> None:
        if len(self.images) != 3 or min(self.images) < 1 or self.images[0] < 4:
            raise OptionError(
                "images must be three numbers, for the stages manual, semi and auto, 1 or more each and 4 or more in "
                f"the first; got {self.images}. The usual: 40,60,200."
            )
        if self.annotators < 2 or self.points_per_side < 1 or self.crop_layers < 0:
            raise OptionError(
                f"annotators must be 2 or more, points_per_side 1 or more, crop_layers 0 or more; got "
                f"{self.annotators}, {self.points_per_side}, {self.crop_layers}. Raise them."
            )
        if self.start_steps < LEAST_STEPS or self.round_steps < 1:
            raise OptionError(
                f"start_steps must be {LEAST_STEPS} or more and round_steps 1 or more; got {self.start_steps} and "
                f"{self.round_steps}. Raise them."
            )


def rehearse(
    data: Path,
    out: Path,
    config: RehearseConfig,
    *,
    database: str | None = None,
    start: str | Path | None = None,
    told: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Run the loop: manual → round → semi → round → auto → round → release. The same call goes on where it stopped.

    Args:
        data: folder with packs.
        out: gets report.json, report.md, figures/, release/, and store/ with everything else.
        config: how much.
        database: of the store; a file in it when None.
        start: weights to begin with, which must not have seen the photos; trained here when None.
        told: called with lines for a person.

    Returns:
        The report.

    Raises:
        DataError: too few photos with masks.
        OptionError: the folder holds another rehearsal.
    """
    from segany.engine.store import open_store

    out.mkdir(parents=True, exist_ok=True)
    store = open_store(out / "store", database=database, create=True)
    try:
        with Service(out / "store", out / "service", database) as service:
            return _Rehearsal(data, out, config, store, service, start, told).run()
    finally:
        store.close()


class _Rehearsal:
    """Step by step; what a finished step says is kept in OUT/state.json."""

    def __init__(
        self,
        data: Path,
        out: Path,
        config: RehearseConfig,
        store: Store,
        service: Service,
        start: str | Path | None,
        told: Callable[[str], None],
    ) -> None:
        self.data, self.out, self.config, self.store = data, out, config, store
        self.service, self.start, self.told = service, start, told
        self.began = time.monotonic()
        self.state: dict[str, Any] = {}
        path = out / STATE
        identity = json.loads(json.dumps({"config": asdict(config), "start": None if start is None else str(start)}))
        if path.is_file():
            self.state = json.loads(path.read_text(encoding="utf-8"))
            if self.state["identity"] != identity:
                raise OptionError(
                    f"{out} holds a rehearsal with other settings. Take its settings, or another output folder."
                )
        else:
            self._keep("identity", identity)

    def run(self) -> dict[str, Any]:
        """All steps."""
        store, config = self.store, self.config
        chosen = self._step("photos", lambda: choose_photos(store, self.data, self.out, SETTINGS, config))
        self.project, self.images = int(chosen["project"]), [list(part) for part in chosen["images"]]
        self.truth = json.loads((self.out / "truth.json").read_text(encoding="utf-8"))
        self.annotators, self.reviewer = add_people(store, self.project, config.annotators)
        self.admin = next(one.id for one in store.users() if one.name == self.reviewer.name)
        self.yardstick = Yardstick(store, self.project, self.truth)
        begun = self._step("start", self._start)
        self.weights = Path(begun["weights"])
        rounds: list[dict[str, Any]] = []
        self._step("manual", lambda: self._annotate("manual", self.images[0]))
        rounds.append(self._step("round 1", lambda: self._round("manual")))
        self._step("detector", self._detect)
        self._step("semi", lambda: self._annotate("semi", self.images[1]))
        rounds.append(self._step("round 2", lambda: self._round("semi")))
        self._step("auto", self._sweep)
        rounds.append(self._step("round 3", lambda: self._round("auto")))
        self._step("clearing", self._clear)
        release = self._step("release", self._release)
        return self._report(begun, rounds, release)

    def _keep(self, name: str, value: Any) -> None:
        self.state[name] = value
        atomic_write_json(self.out / STATE, self.state, indent=1)

    def _step(self, name: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        if name in self.state:
            self.told(f"{name}: done before")
        else:
            began = time.monotonic()
            self.told(f"{name} ...")
            value = work()
            value["took_seconds"] = round(time.monotonic() - began, 1)
            self._keep(name, value)
            shown = {key: item for key, item in value.items() if isinstance(item, (int, float, str, bool))}
            self.told(f"{name}: " + ", ".join(f"{key} {item}" for key, item in shown.items()))
        value = self.state[name]
        assert isinstance(value, dict)
        return value

    def _start(self) -> dict[str, Any]:
        about: dict[str, Any] = {"given": True}
        weights = self.start
        if weights is None:
            weights, about = starting_model(
                self.data, self.out / "start", steps=self.config.start_steps, seed=self.config.seed
            )
        score = self.yardstick.measure(Predictor.from_pretrained(weights).model)
        return {"weights": str(weights), **about, "one_click_miou": score, "held_out": self.yardstick.about}

    def _annotate(self, stage: Stage, images: Sequence[int]) -> dict[str, Any]:
        self.store.open_stage(self.project, stage, images)
        self.service.ensure(self.weights)
        last = [time.monotonic()]

        def told(done: int) -> None:
            if time.monotonic() - last[0] > 10:
                last[0] = time.monotonic()
                self.told(f"  {stage}: {done} handed in or judged")

        played = play(
            self.service.url,
            self.project,
            self.truth,
            self.annotators,
            [self.reviewer],
            stage=stage,
            config=self.config.human,
            seed=self.config.seed + len(images),
            told=told,
        )
        return {**asdict(played), "active_seconds": round(played.active_seconds, 1)}

    def _predictor(self) -> Predictor:
        current = self.store.current_model(self.project)
        return Predictor.from_pretrained(self.weights if current is None else self.store.model_path(current))

    def _detect(self) -> dict[str, Any]:
        # a model of some minutes trusts itself in nothing: the judge alone decides
        objects = ObjectConfig(points_per_side=self.config.points_per_side, least_iou=0.0, stability_thresh=0.3)
        config = DetectorTraining(objects=objects, precision=LEAST_PRECISION, seed=self.config.seed)
        try:
            detector, report = detector_for(self.store, self.project, self._predictor(), config)
        except DataError as error:
            return {"trained": False, "why": str(error), "prefilled": 0}
        if not report["reached"]:
            return {"trained": True, **report, "prefilled": 0}
        filled = prefill(self.store, self.project, detector, self.images[1])
        return {"trained": True, **report, "prefilled": filled.masks, "prefilled_images": filled.images}

    def _sweep(self) -> dict[str, Any]:
        predictor = self._predictor()
        snapshot = make_snapshot(self.store, self.project, ("manual", "semi"))
        part = part_of(self.store, snapshot, "train")
        knobs = {"points_per_side": self.config.points_per_side, "crop_n_layers": self.config.crop_layers}
        samples = None if part is None else open_photos(part).source
        config = sweep_config(predictor, "project", knobs, samples=samples)
        last = [time.monotonic()]

        def progress(done: int, total: int) -> None:
            if time.monotonic() - last[0] > 10:
                last[0] = time.monotonic()
                self.told(f"  auto: {done} of {total}")

        done = run_auto(
            self.store, self.project, self.admin, predictor, config, images=self.images[2], progress=progress
        )
        shown = ("pred_iou_thresh", "stability_score_thresh", "points_per_side", "crop_n_layers")
        return {
            "images": done.images,
            "masks": done.masks,
            "failed": done.failed,
            "filters": done.filters,
            "knobs": {name: done.knobs[name] for name in shown},
        }

    def _round(self, stage: Stage) -> dict[str, Any]:
        config = RoundConfig(
            trains="decoder+neck",
            loss="small",
            rate=1e-3,
            steps=self.config.round_steps,
            min_share=self.config.human.least_share,
            seed=self.config.seed,
        )
        try:
            result = run_round(self.store, self.project, config, start=self.weights, user=self.admin)
            told, report = result.told, result.report
        except DataError as error:
            told, report = str(error), self._failed(stage, str(error))
        self.told(f"  {told}")
        current = self.store.current_model(self.project)
        assert current is not None
        score = self.yardstick.measure(Predictor.from_pretrained(self.store.model_path(current)).model)
        report = {**report, "stage": stage, "one_click_miou_on_people": report["one_click_miou"]}
        if stage == "auto":
            done = self.state["auto"]
            report |= {"images": done["images"], "masks": done["masks"], "people_masks": 0}
            report |= {"clicks_per_mask": 0.0, "seconds_per_mask": 0.0}
            report["masks_per_image"] = round(done["masks"] / max(1, done["images"]), 3)
        return {**report, "one_click_miou": score, "service_follows_seconds": self._followed(current.fingerprint)}

    def _failed(self, stage: Stage, why: str) -> dict[str, Any]:
        """What can be told of a round that could not train or measure."""
        effort = effort_since(self.store, self.project, stage, None)
        ratios = ("clicks_per_mask", "seconds_per_mask", "masks_per_image")
        told = {name: getattr(effort, name) for name in ratios}
        return {
            "one_click_miou": None,
            **told,
            "images": effort.images,
            "masks": effort.masks,
            "published": False,
            "failed": why,
        }

    def _followed(self, fingerprint: str) -> float | None:
        """Seconds until the running service answers with the weights in use; None when it does not within 20."""
        self.service.ensure(self.weights)
        login, began = self.annotators[0], time.monotonic()
        client = EngineClient(self.service.url)
        client.log_in(login.name, login.password)
        key = self.store.image(self.images[0][0]).sha256
        while time.monotonic() - began < 20:
            answer = client.post(f"/images/{key}/masks", {"prompts": [{"points": [[9, 9]], "labels": [1]}]})
            if answer["fingerprint"] == fingerprint:
                return round(time.monotonic() - began, 2)
            time.sleep(0.2)
        return None

    def _clear(self) -> dict[str, Any]:
        looked = look_for_people(self.store, self.project)
        self.service.ensure(self.weights)
        client = EngineClient(self.service.url)
        client.log_in(self.reviewer.name, self.reviewer.password)
        reviewer = Reviewer(client, self.truth, self.config.human, self.config.seed)
        while reviewer.clear_once(self.project):
            pass
        return {"images": looked.images, "regions": looked.regions, "detectors": list(looked.detectors)}

    def _release(self) -> dict[str, Any]:
        made = make_release(self.store, self.project, self.out / "release", options=ReleaseOptions(shard_images=100))
        return {
            "sha256": made.sha256,
            "images": made.images,
            "masks": made.masks,
            **check_release(self.out / "release"),
        }

    def _report(self, begun: dict[str, Any], rounds: list[dict[str, Any]], release: dict[str, Any]) -> dict[str, Any]:
        from segany.pictures.plots import from_zero, line_plot

        figures = self.out / "figures"
        made = round_figures(self.store.rounds(self.project), figures, simulated=True)
        made += people_figures(self.store.stats(self.project), figures / "people")
        scores = [begun["one_click_miou"], *(one["one_click_miou"] for one in rounds)]
        made.append(
            line_plot(
                figures / "one_click_miou_truth.png",
                list(range(len(scores))),
                {"mean IoU": scores},
                title="One click, photos held out, against the data sets' truth" + SIMULATED,
                x_label="round (0: starting weights)",
                y_label="mean IoU",
                y_range=from_zero(scores),
            )
        )
        human = asdict(self.config.human)
        report = {
            "simulated": True,
            "database": "server" if self.service.database else "file",
            "start": begun,
            "rounds": rounds,
            "annotated": {name: self.state[name] for name in ("manual", "semi")},
            "detector": self.state["detector"],
            "auto": self.state["auto"],
            "clearing": self.state["clearing"],
            "release": release,
            "held_out_truth": begun["held_out"],
            "assumed_times": {key: value for key, value in human.items() if key.endswith("_seconds")},
            "figures": [path.relative_to(figures).as_posix() for path in made],
            "config": asdict(self.config),
            "seconds": round(sum(one["took_seconds"] for one in self.state.values() if "took_seconds" in one), 1),
        }
        atomic_write_json(self.out / REPORT, report, indent=1)
        atomic_write_text(self.out / REPORT_MD, report_markdown(report))
        return report
