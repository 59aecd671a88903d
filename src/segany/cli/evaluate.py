"""`segany evaluate`: numbers from labelled images."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from segany.cli.console import Bar, say, show
from segany.cli.options import ModelOptions
from segany.core.errors import DataError, OptionError

if TYPE_CHECKING:
    from segany.evaluation.sampling import MaskRow

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
    part: Annotated[Literal["heldout", "train"], Parameter(help="Which images of each pack.")] = "heldout",
    clicks: Annotated[str, Parameter(help="Numbers of clicks to report.")] = "1,2,3,5,9",
    box: Annotated[bool, Parameter(help="Measure the box prompt too.")] = True,
    baselines: Annotated[
        bool, Parameter(help="Measure classic methods on the same masks.", negative="")
    ] = False,
    images: Annotated[int | None, Parameter(help="At most so many images of each pack.")] = None,
    masks_per_image: Annotated[int | None, Parameter(help="At most so many masks of each image.")] = None,
    seed: Annotated[int, Parameter(help="Of the draws.")] = 0,
    output: Annotated[Path, Parameter(name=["--output", "-o"], help="Folder for the report.")] = Path(
        "evaluation"
    ),
    model: ModelOptions | None = None,
) -> int:
    """Mask quality after 1, 2, 3, 5 and 9 simulated clicks, and from boxes: a table, JSON and a plot.

    Images that are measured already (in OUTPUT/rows.jsonl, with the same settings) are not measured again.
    """
    from segany.core.files import atomic_write_json, atomic_write_text
    from segany.data.packs import PACKS, iter_pack
    from segany.evaluation.baselines import BaselineScorer
    from segany.evaluation.points import PointsConfig, PointsScorer
    from segany.evaluation.report import plot_clicks, ranking_markdown, summarise, to_json, to_markdown
    from segany.evaluation.sampling import SampleConfig, Scorer, sample_images, score_image

    config = PointsConfig(clicks=_numbers(clicks), box=box)
    sample = SampleConfig(images_per_pack=images, masks_per_image=masks_per_image, seed=seed)
    root = data or _shared_data()
    names = pack or [name for name in PACKS if (root / name).is_dir()]
    if not names:
        raise DataError(f"--data must be a folder with at least one pack ({', '.join(PACKS)}); got {root}.")
    chosen = [image for name in names for image in sample_images(iter_pack(name, root, part), sample)]

    options = model or ModelOptions()
    predictor = options.predictor()
    about = {
        "model": options.model,
        "fingerprint": predictor.fingerprint,
        "part": part,
        "clicks": list(config.clicks),
        "box": box,
        "baselines": baselines,
        "masks_per_image": masks_per_image,
        "min_area_share": sample.min_area_share,
        "seed": seed,
    }
    scorers: list[Scorer] = [PointsScorer(predictor=predictor, config=config)]
    if baselines:
        scorers.append(BaselineScorer())
    kept = _Kept(output / "rows.jsonl", about)
    rows: list[MaskRow] = []
    with Bar("images", len(chosen)) as bar:
        for number, image in enumerate(chosen, 1):
            known = kept.of(image.pack, image.key)
            if known is None:
                known = score_image(image, scorers, sample)
                kept.add(image.pack, image.key, known)
            rows += known
            bar.update(number)

    summaries = summarise(rows, seed=seed)
    tables = [to_markdown(summaries), ranking_markdown(summaries)]
    atomic_write_text(output / "points.md", "\n".join(table for table in tables if table))
    atomic_write_json(output / "points.json", to_json(summaries, about), indent=1)
    plot_clicks(output / "points.png", summaries, title=f"{options.model}, {part} images")
    show(to_markdown(summaries, intervals=False))
    say(f"report: {output / 'points.md'}, {output / 'points.json'}, {output / 'points.png'}")
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
        raise OptionError(
            "evaluate needs labelled images; got no --data. Name the folder that holds the packs."
        )
    return Path(shared) / "data"


class _Kept:
    """Rows of earlier runs with the same settings, one line per image."""

    def __init__(self, path: Path, about: dict[str, object]) -> None:
        self.path = path
        self._rows: dict[tuple[str, str], list[dict[str, Any]]] = {}
        head = json.dumps(about, sort_keys=True)
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        if lines and lines[0] == head:
            for line in lines[1:]:
                try:
                    value = json.loads(line)
                except ValueError:
                    break  # the line an interruption cut
                self._rows[value["pack"], value["image"]] = value["rows"]
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = [json.dumps({"pack": p, "image": i, "rows": r}) for (p, i), r in self._rows.items()]
        path.write_text("\n".join([head, *whole]) + "\n", encoding="utf-8")

    def of(self, pack: str, image: str) -> list[MaskRow] | None:
        """What is known of an image."""
        from segany.evaluation.sampling import MaskRow

        rows = self._rows.get((pack, image))
        return None if rows is None else [MaskRow.from_dict(row) for row in rows]

    def add(self, pack: str, image: str, rows: list[MaskRow]) -> None:
        """Keep an image's rows."""
        line = json.dumps({"pack": pack, "image": image, "rows": [row.to_dict() for row in rows]})
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
