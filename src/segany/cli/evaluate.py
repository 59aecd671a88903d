"""`segany evaluate`: numbers from labelled images."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from segany.cli.console import Bar, say, show
from segany.cli.options import ModelOptions
from segany.core.errors import OptionError

evaluate = App(name="evaluate", help="Measure a model on labelled images.", help_format="plaintext")


@evaluate.command
def points(
    *,
    data: Annotated[
        Path | None, Parameter(help="Folder that holds the packs; $SEGANY_SHARED/data when left out.")
    ] = None,
    pack: Annotated[
        list[str] | None,
        Parameter(help="A pack to measure; may be repeated; every pack there when left out.", negative=""),
    ] = None,
    part: Annotated[
        Literal["heldout", "train", "watched"],
        Parameter(help="Which images of each pack; watched: those of train that trainings only watch."),
    ] = "heldout",
    clicks: Annotated[str, Parameter(help="Numbers of clicks to report.")] = "1,2,3,5,9",
    box: Annotated[bool, Parameter(help="Measure the box prompt too.")] = True,
    baselines: Annotated[bool, Parameter(help="Measure classic methods on the same masks.", negative="")] = False,
    images: Annotated[int | None, Parameter(help="At most so many images of each pack.")] = None,
    masks_per_image: Annotated[int | None, Parameter(help="At most so many masks of each image.")] = None,
    seed: Annotated[int, Parameter(help="Of the draws.")] = 0,
    restart: Annotated[bool, Parameter(help="Measure again what is there already.", negative="")] = False,
    output: Annotated[Path, Parameter(name=["--output", "-o"], help="Folder for the report.")] = Path("evaluation"),
    model: ModelOptions | None = None,
) -> int:
    """Mask quality after 1, 2, 3, 5 and 9 simulated clicks, and from boxes: a table, JSON and a plot.

    Images measured before, into the same folder with the same settings, are not measured again.
    """
    from segany.data.packs import PACKS
    from segany.evaluation.baselines import BaselineConfig
    from segany.evaluation.points import PointsConfig
    from segany.evaluation.report import to_markdown
    from segany.evaluation.sampling import SampleConfig
    from segany.recipes import evaluate as recipe

    protocol = PointsConfig(clicks=_numbers(clicks), box=box)
    sample = SampleConfig(images_per_pack=images, masks_per_image=masks_per_image, seed=seed)
    root = data or _shared_data()
    packs = pack or [name for name in PACKS if (root / name).is_dir()]
    if not packs:
        raise OptionError(f"--data must be a folder that holds a pack ({', '.join(PACKS)}); got {root}.")
    options = model or ModelOptions()
    predictor = options.predictor()
    with Bar("images") as bar:
        result = recipe.points(
            root,
            predictor=predictor,
            model=options.model,
            packs=packs,
            part=part,
            output=output,
            restart=restart,
            sample=sample,
            protocol=protocol,
            baselines=BaselineConfig() if baselines else None,
            progress=bar.update,
        )
    show(to_markdown(result.summaries, intervals=False))
    say("written: " + ", ".join(str(path) for path in result.files))
    return 0


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise OptionError(
            f"--clicks takes whole numbers separated by commas; got {text!r}. Write for example 1,3,9."
        ) from None


def _shared_data() -> Path:
    shared = os.environ.get("SEGANY_SHARED")
    if not shared:
        raise OptionError("evaluate needs labelled images; got no --data. Name the folder that holds packs.")
    return Path(shared) / "data"
