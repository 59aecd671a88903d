"""`segany everything`: every mask of a photo, a folder or a pattern."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from segany.cli.console import Bar, say, show
from segany.cli.options import ModelOptions

if TYPE_CHECKING:
    from segany.predict.automatic.generator import AutomaticMaskGenerator

FormatName = Literal["sa1b", "coco", "png", "labelmap", "polygons", "yolo", "labelme", "cvat", "labelstudio"]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Knobs:
    """The generator's settings; what is left out comes from the preset."""

    points_per_side: Annotated[int | None, Parameter(help="Clicks along each edge; cost grows with its square.")] = None
    points_per_batch: Annotated[int | None, Parameter(help="Clicks decoded at once; memory grows with it.")] = None
    pred_iou_thresh: Annotated[float | None, Parameter(help="Lowest predicted IoU that is kept, 0 to 1.")] = None
    stability_score_thresh: Annotated[float | None, Parameter(help="Lowest stability that is kept, 0 to 1.")] = None
    stability_score_offset: Annotated[float | None, Parameter(help="Shift of the cut for stability, logits.")] = None
    box_nms_thresh: Annotated[float | None, Parameter(help="Box IoU above which the weaker mask goes.")] = None
    crop_n_layers: Annotated[int | None, Parameter(help="Layers of crops beside the whole image.")] = None
    crop_nms_thresh: Annotated[float | None, Parameter(help="The same between crops.")] = None
    crop_overlap_ratio: Annotated[float | None, Parameter(help="Overlap of crops, share of the shorter side.")] = None
    crop_n_points_downscale_factor: Annotated[
        int | None, Parameter(help="Clicks per edge are divided by this to the power of the crop's layer.")
    ] = None
    min_mask_region_area: Annotated[int | None, Parameter(help="Smaller holes and islands are removed, pixels.")] = None

    drop_small_masks: Annotated[
        bool | None, Parameter(help="With the former: drop masks whose largest part is smaller.")
    ] = None
    max_area_share: Annotated[float | None, Parameter(help="Masks covering this share or more are dropped.")] = None
    mask_nms_thresh: Annotated[float | None, Parameter(help="At the end, the same as box NMS but on masks.")] = None
    containment_thresh: Annotated[
        float | None, Parameter(help="At the end, masks lying in a better one by more than this share are dropped.")
    ] = None
    exact: Annotated[
        bool | None, Parameter(help="Measure every candidate at full size, as the reference does; slower.", negative="")
    ] = None

    def given(self) -> dict[str, Any]:
        """The settings that were named."""
        return {field.name: value for field in fields(self) if (value := getattr(self, field.name)) is not None}


def everything(
    source: str,
    /,
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"], help="Folder for the results.")],
    format_: Annotated[
        FormatName,
        Parameter(name="--format", help="sa1b: one JSON per image; coco: one dataset; png: one per mask."),
    ] = "sa1b",
    preset: Annotated[
        Literal["reference", "sa1b"] | None,
        Parameter(
            help="reference: the released defaults; sa1b: the dataset's, with 20 crops. Left out: the released "
            "defaults with the thresholds that the weights recommend."
        ),
    ] = None,
    overlay: Annotated[bool, Parameter(help="Also write a picture with the masks drawn in.")] = True,
    overwrite: Annotated[bool, Parameter(help="Make again what is there already.", negative="")] = False,
    memory: Annotated[
        str | None, Parameter(help="What the whole run may hold, such as 4GB; less of it means smaller steps.")
    ] = None,
    workers: Annotated[
        int | None, Parameter(help="Images worked on at once; left out: one per core, fewer where memory is short.")
    ] = None,
    knobs: Knobs | None = None,
    model: ModelOptions | None = None,
) -> int:
    """Find everything in a photo, in all photos of a folder, or in those a pattern names.

    Images that are done are skipped; a broken one is reported and the rest goes on.

    Args:
        source: a file, a folder or a pattern in quotes, such as 'photos/*.jpg'.
    """
    from segany.batch.local import open_folder, run_local
    from segany.batch.plan import find_images
    from segany.records.formats import WRITERS

    items = find_images(source, exclude=output)
    chosen = knobs or Knobs()
    options = model or ModelOptions()
    generator = make_generator(options, preset, chosen.given(), memory)
    together = workers_for(generator, len(items), options.threads) if workers is None else workers
    identity = {
        "format": format_,
        "masks": generator.fingerprint,
        "preset": preset,
        "settings": chosen.given(),
    }
    writer = WRITERS[format_]
    open_folder(output, identity, overwrite=overwrite)
    if overwrite:
        forget(items, output, writer)

    one = len(items) == 1
    with Bar(f"segmenting {items[0].path.name}" if one else "images", len(items)) as bar:
        report = run_local(
            items,
            generator.sharing(max(together, 1)),
            output,
            writer,
            before_write=OverlayWriter(output) if overlay else None,
            on_failure=lambda item, reason: bar.note(f"failed: {item.path}: {reason}"),
            progress=None if one else bar.update,
            image_progress=bar.update if one else None,
            workers=together,
        )
    say(
        f"{len(report.done)} of {len(items)} images done, {report.masks} masks; "
        f"{len(report.skipped)} were there already, {len(report.failed)} failed"
    )
    show(str(output))
    return 1 if report.failed else 0


def make_generator(
    options: ModelOptions, preset: str | None, settings: dict[str, Any], memory: str | None = None
) -> AutomaticMaskGenerator:
    """The mask source these options describe."""
    from segany.core.budget import MemoryBudget
    from segany.predict.automatic.config import PRESETS, SweepConfig
    from segany.predict.automatic.generator import AutomaticMaskGenerator

    budget = MemoryBudget.of(memory)
    if preset is None:
        return AutomaticMaskGenerator(options.predictor(), memory=budget, **settings)
    config = SweepConfig.of(**{**PRESETS[preset].to_dict(), **settings})
    return AutomaticMaskGenerator(options.predictor(), config, memory=budget)


PER_WORKER = 1_500_000_000
"""Bytes of memory that should be there for each image worked on at once."""


def workers_for(generator: AutomaticMaskGenerator, images: int, threads: int | None) -> int:
    """Images to work on at once: one per core, two on a GPU, fewer where memory is short."""
    from segany.core.budget import cores, free_bytes

    wanted = min(images, threads or cores()) if generator.predictor.device.type == "cpu" else min(images, 2)
    room = generator.memory.total or free_bytes()
    return max(1, wanted if room is None else min(wanted, room // PER_WORKER))


def forget(items: Any, output: Path, writer: Any) -> None:
    """Remove what earlier runs wrote for these images."""
    import shutil

    for item in items:
        target = writer.target(output, item.stem)
        if target.is_dir():
            shutil.rmtree(target)
        else:
            target.unlink(missing_ok=True)


@dataclass(frozen=True)
class OverlayWriter:
    """Draws each image's masks into `OUT/STEM_overlay.png`."""

    output: Path

    def __call__(self, item: Any, rgb: Any, record: Any) -> None:
        """Draw and write one image."""
        from segany.pictures.overlay import draw_overlay
        from segany.pictures.save import save_picture

        picture = draw_overlay(rgb, record.annotations)
        save_picture(self.output / f"{item.stem}_overlay.png", picture)
