"""`segany engine`: the parts in which the model works: prefilling, the sweep, rounds, the rehearsal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from segany.cli.console import Bar, say, show, table
from segany.cli.engine_where import Where, admin_of
from segany.core.errors import OptionError

if TYPE_CHECKING:
    from segany.engine.store.store import Store
    from segany.predict.predictor import Predictor

Model = Annotated[str, Parameter(help="Weights to begin with, until a round has published some.")]
Device = Annotated[str, Parameter(help="auto, cpu, cuda, cuda:1, mps.")]


def stage(
    folder: Path,
    name: Literal["manual", "semi"],
    /,
    *images: int,
    priority: Annotated[int, Parameter(help="Higher ones are offered first.")] = 0,
    where: Where | None = None,
) -> int:
    """Put images into a stage's queue; without numbers all of the project.

    Args:
        folder: of the data engine.
        name: manual, or semi. What starts from confident masks is filled by `segany engine prefill`.
        images: their numbers.
    """
    with (where or Where()).open(folder) as (store, project):
        made = store.open_stage(project.id, name, list(images) or None, priority=priority)
    show(f"{made} new tasks in stage {name}")
    return 0


def prefill(
    folder: Path,
    /,
    *images: int,
    model: Model = "tiny",
    precision: Annotated[float, Parameter(help="So large a share of the found masks should be right.")] = 0.6,
    points_per_side: Annotated[int, Parameter(help="Clicks along each edge that make proposals.")] = 16,
    device: Device = "auto",
    where: Where | None = None,
) -> int:
    """Semi-automatic stage: train the object detector on people's masks, and fill images with what it is sure of.

    Args:
        folder: of the data engine.
        images: their numbers; all that nobody has finished when left out.
    """
    from segany.engine.objects import ObjectConfig
    from segany.recipes import engine_detector as recipe

    config = recipe.DetectorTraining(objects=ObjectConfig(points_per_side=points_per_side), precision=precision)
    with (where or Where()).open(folder) as (store, project):
        predictor = _predictor(store, project.id, model, device)
        with Bar("learning from") as bar:
            detector, report = recipe.detector_for(store, project.id, predictor, config, progress=bar.update)
        say(
            f"detector: average precision {report['average_precision']:.3f} on {report['images']} images; at precision "
            f"{precision:g} it finds {report['recall']:.0%} of people's masks"
        )
        if not report["reached"]:
            say(
                f"at no threshold {precision:.0%} of what it finds is right, so nothing is filled in. Annotate more, "
                "run a round first, or lower --precision."
            )
        chosen = list(images) or _unfinished(store, project.id)
        with Bar("images") as bar:
            told = recipe.prefill(store, project.id, detector, chosen, progress=bar.update)
    show(
        f"{told.images} images filled with {told.masks} masks, {told.without} without, {told.begun} had been begun; "
        "all wait in stage semi"
    )
    return 0


def auto(
    folder: Path,
    /,
    *images: int,
    preset: Annotated[
        Literal["sa1b", "reference", "weights", "project"],
        Parameter(
            help="sa1b: the data set's; reference: the released defaults; weights: those with what the weights "
            "recommend; project: sa1b with thresholds found on people's masks."
        ),
    ] = "sa1b",
    knob: Annotated[
        list[str] | None, Parameter(help="NAME=NUMBER, such as points_per_side=16; may be repeated.", negative="")
    ] = None,
    model: Model = "tiny",
    workers: Annotated[int, Parameter(help="Images at once.")] = 1,
    device: Device = "auto",
    where: Where | None = None,
) -> int:
    """Fully automatic stage: every mask of every image that nobody finished by hand, and what each filter dropped.

    The same command goes on where it stopped.

    Args:
        folder: of the data engine.
        images: their numbers; all that nobody has finished when left out.
    """
    from segany.data.photo_sets import open_photos
    from segany.engine.snapshot import make_snapshot, part_of
    from segany.recipes import engine_auto as recipe

    with (where or Where()).open(folder) as (store, project):
        predictor = _predictor(store, project.id, model, device)
        samples = None
        if preset == "project":
            part = part_of(store, make_snapshot(store, project.id, ("manual", "semi")), "train")
            samples = None if part is None else open_photos(part).source
        config = recipe.sweep_config(predictor, preset, _knobs(knob), samples=samples)
        with Bar("images") as bar:
            told = recipe.run_auto(
                store,
                project.id,
                admin_of(store),
                predictor,
                config,
                images=list(images) or None,
                workers=workers,
                progress=bar.update,
            )
    for line in told.failed:
        say(f"failed: {line}")
    thresholds = (f"predicted IoU {config.pred_iou_thresh:g}", f"stability {config.stability_score_thresh:g}")
    say(f"preset {preset}, {', '.join(thresholds)}, {config.points_per_side} clicks per side")
    show(table(["filter", "masks", "of all"], [[name, f"{n}", f"{share:.1%}"] for name, n, share in told.told]))
    show(f"{told.images} images with {told.masks} masks in stage auto, {told.made} made now")
    return 1 if told.failed else 0


def round_(
    folder: Path,
    /,
    *,
    model: Model = "tiny",
    trains: Annotated[Literal["decoder", "decoder+neck", "lora", "all"], Parameter(help="What learns on.")] = "decoder",
    seconds: Annotated[float | None, Parameter(help="About how long training may take.")] = None,
    steps: Annotated[int, Parameter(help="Optimiser steps, at most.")] = 300,
    stage: Annotated[
        list[Literal["manual", "semi", "auto"]] | None,
        Parameter(help="Whose masks are learnt from; may be repeated.", negative=""),
    ] = None,
    device: Device = "auto",
    where: Where | None = None,
) -> int:
    """Snapshot, train, measure on images held out; publish only if better beyond the confidence interval.

    A running service takes published weights without a restart. An interrupted round goes on with the same command.

    Args:
        folder: of the data engine.
    """
    from segany.cli.train import Stages, Teller
    from segany.recipes.engine_round import run_round
    from segany.recipes.engine_training import RoundConfig

    config = RoundConfig(stages=tuple(stage or ("manual", "semi", "auto")), trains=trains, steps=steps, seconds=seconds)
    with (where or Where()).open(folder) as (store, project), Stages() as stages:
        result = run_round(
            store,
            project.id,
            config,
            start=model,
            user=admin_of(store),
            device=device,
            told=Teller().tell,
            prepared=stages.begin,
        )
    show(result.told)
    for path in result.figures:
        say(str(path))
    return 0


def rehearse(
    *,
    data: Annotated[Path, Parameter(help="Folder with the packs coco or bsds500; their training parts are played.")],
    output: Annotated[Path, Parameter(name=["--output", "-o"], help="Folder of the rehearsal.")],
    images: Annotated[str, Parameter(help="Photos of the stages manual, semi and auto.")] = "40,60,200",
    database: Annotated[str | None, Parameter(help="postgresql+psycopg://…; a file when left out.")] = None,
    start: Annotated[
        str | None, Parameter(help="Weights to begin with that never saw the photos; trained here when left out.")
    ] = None,
    start_steps: Annotated[int, Parameter(help="Training steps of the starting model.")] = 400,
    round_steps: Annotated[int, Parameter(help="Training steps of each round.")] = 400,
    annotators: Annotated[int, Parameter(help="Simulated annotators at work at once.")] = 3,
    seed: Annotated[int, Parameter(help="Of everything drawn.")] = 0,
) -> int:
    """The whole loop, with simulated annotators and a real service: three stages, a round after each, a release.

    Everything is marked as simulated. The same command goes on where it stopped.
    """
    from segany.recipes.engine_rehearse import RehearseConfig
    from segany.recipes.engine_rehearse import rehearse as recipe
    from segany.recipes.engine_table import COLUMNS, table_of

    counts = tuple(int(part) if part.strip().isdigit() else 0 for part in images.split(","))
    if len(counts) != 3:
        raise OptionError(f"--images takes three numbers; got {images!r}. Write for example --images 40,60,200.")
    config = RehearseConfig(
        images=(counts[0], counts[1], counts[2]),
        annotators=annotators,
        start_steps=start_steps,
        round_steps=round_steps,
        seed=seed,
    )
    report = recipe(data, output, config, database=database, start=start, told=say)
    show(table([name.replace("_", " ") for name in COLUMNS], table_of(report)))
    released = report["release"]
    show(f"release: {released['read_images']} images, {released['read_masks']} masks, read by {released['read_by']}")
    say(f"Report: {output / 'report.md'}. Release: {output / 'release'}")
    return 0


def add_loop(engine: App) -> None:
    """Give `segany engine` these commands too."""
    for command in (stage, prefill, auto, rehearse):
        engine.command(command)
    engine.command(round_, name="round")


def _predictor(store: Store, project: int, model: str, device: str) -> Predictor:
    """With the weights in use, or those to begin with."""
    from segany.predict.predictor import Predictor

    current = store.current_model(project)
    return Predictor.from_pretrained(model if current is None else store.model_path(current), device=device)


def _unfinished(store: Store, project: int) -> list[int]:
    done = {one.image.id for one in store.accepted(project, ("manual", "semi"))}
    return [one.id for one in store.images(project) if one.id not in done]


def _knobs(given: list[str] | None) -> dict[str, Any]:
    """NAME=NUMBER as a dictionary."""
    found: dict[str, Any] = {}
    for text in given or ():
        name, _, value = text.partition("=")
        try:
            number: float = float(value)
        except ValueError:
            raise OptionError(
                f"--knob takes NAME=NUMBER; got {text!r}. Write for example points_per_side=16."
            ) from None
        found[name.strip()] = int(number) if number.is_integer() and "." not in value else number
    return found
