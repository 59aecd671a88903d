"""`segany segment`: one photo, one prompt, one mask."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from segany.cli.console import show
from segany.cli.options import ModelOptions, parse_boxes, parse_points
from segany.core.errors import OptionError, PromptError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from segany.predict.embedding import ImageEmbedding
    from segany.predict.prediction import Prediction
    from segany.predict.predictor import Predictor


def segment(
    image: Path,
    /,
    *,
    point: Annotated[
        list[str] | None,
        Parameter(help="X,Y on the thing; may be repeated.", allow_leading_hyphen=True, negative=""),
    ] = None,
    background: Annotated[
        list[str] | None,
        Parameter(help="X,Y not on the thing; may be repeated.", allow_leading_hyphen=True, negative=""),
    ] = None,
    box: Annotated[
        list[str] | None,
        Parameter(
            help="X0,Y0,X1,Y1 around the thing; repeat it for several things.",
            allow_leading_hyphen=True,
            negative="",
        ),
    ] = None,
    mask: Annotated[Path | None, Parameter(help="A picture whose bright pixels roughly cover the thing.")] = None,
    all_: Annotated[
        bool, Parameter(name="--all", help="Write every candidate, not only the best.", negative="")
    ] = False,
    cutout: Annotated[bool, Parameter(help="Write the thing alone, on a transparent ground.", negative="")] = False,
    feather: Annotated[float, Parameter(help="Softness of a cut-out's edge, in pixels.")] = 0.0,
    output: Annotated[
        Path | None, Parameter(name=["--output", "-o"], help="OUT.png, or OUT.json for an SA-1B record.")
    ] = None,
    cache: Annotated[
        Path | None, Parameter(help="Folder that keeps what the model saw; in the user's cache folder when left out.")
    ] = None,
    no_cache: Annotated[bool, Parameter(help="Keep nothing, and use nothing that was kept.", negative="")] = False,
    model: ModelOptions | None = None,
) -> int:
    """Segment one thing in a photo, by clicks, boxes or a rough mask.

    Writes the mask and, beside it, an overlay to look at. Coordinates are pixels of the photo. The second prompt on a
    photo is answered sooner: the photo is encoded once, and the encoding is kept on disk (at most 2 GB of them).

    Args:
        image: the photo.
    """
    points, labels = parse_points(point or (), background or ())
    boxes = parse_boxes(box or ())
    target = _checked(image, output, cutout, feather)
    if cache is not None and no_cache:
        raise OptionError("give either --cache or --no-cache; got both. Leave one out.")
    if not (points or boxes or mask):
        raise PromptError(
            "segment needs something to point at the thing: --point X,Y, --box X0,Y0,X1,Y1 or --mask FILE; "
            "got none. To segment everything in the photo, use: segany everything"
        )
    if points and len(boxes) > 1:
        raise PromptError(
            f"points go with one box; got {len(boxes)} boxes. Give one --box with points, or several alone."
        )
    from segany.prompts.prompt import Prompt
    from segany.transforms.image import read_image, read_mask

    rgb = read_image(image)
    hint = None if mask is None else bright(read_mask(mask))
    asked: dict[str, Any] = {
        "points": points or None,
        "labels": labels or None,
        "boxes": (boxes[0] if len(boxes) == 1 else boxes) if boxes else None,
        "mask": hint,
    }
    predictor = (model or ModelOptions()).predictor()
    Prompt(**asked).check_against(rgb.shape[:2], predictor.model.config.low_res)  # before the photo is encoded
    embedding = _embedding(predictor, image, rgb, cache, keep=not no_cache)
    result = predictor.decode(embedding, **asked, multimask=True if all_ else "auto")
    chosen = _choose(result, every=all_)
    prompts = {"points": points or None, "labels": labels or None, "boxes": boxes or None}
    for path in _write(rgb, image, target, chosen, prompts, cutout=cutout, feather=feather):
        show(str(path))
    return 0


def _embedding(
    predictor: Predictor, image: Path, rgb: NDArray[np.uint8], folder: Path | None, *, keep: bool
) -> ImageEmbedding:
    """What the model sees in the photo, kept for the next prompt."""
    if not keep:
        return predictor.encode(rgb)
    from segany.predict.cache import EmbeddingCache

    cache = EmbeddingCache.of_user() if folder is None else EmbeddingCache(folder)
    return cache.get_or_encode(predictor, image, rgb=rgb)


def bright(mask: NDArray[Any]) -> NDArray[np.bool_]:
    """Pixels above half of the brightest one; none in a black picture."""
    return mask if mask.dtype == bool else mask > mask.max() / 2


def _checked(image: Path, output: Path | None, cutout: bool, feather: float) -> Path:
    """Where to write; wrong options are found before any work."""
    target = output or Path(f"{image.stem}_{'cutout' if cutout else 'mask'}.png")
    if target.suffix.lower() not in (".png", ".json"):
        raise OptionError(f"--output must end in .png or .json; got {target.name!r}. Write for example -o mask.png")
    if cutout and target.suffix.lower() == ".json":
        raise OptionError("--cutout writes a picture; got an output that ends in .json. Write for example -o thing.png")
    if target.resolve() == image.resolve():
        raise OptionError(f"--output must not be the photo itself; got {target}. Choose another name.")
    if not 0 <= feather <= 100:
        raise OptionError(f"--feather must be between 0 and 100 pixels; got {feather:g}. Try 1.5.")
    return target


class _Candidate:
    """One mask to write, with what the model says about it."""

    def __init__(self, mask: NDArray[np.bool_], predicted_iou: float, output_index: int) -> None:
        self.mask, self.predicted_iou, self.output_index = mask, predicted_iou, output_index


def _choose(result: Prediction, *, every: bool) -> list[_Candidate]:
    """The best mask of each prompt, or all of them."""
    import numpy as np

    masks = np.asarray(result.masks)
    height, width = masks.shape[-2:]
    masks = masks.reshape(-1, masks.shape[-3], height, width)
    scores = np.asarray(result.predicted_iou).reshape(len(masks), -1)
    tokens = np.broadcast_to(np.asarray(result.output_index), scores.shape)
    chosen = []
    for of_prompt, score, token in zip(masks, scores, tokens, strict=True):
        indices = range(len(of_prompt)) if every else [int(np.argmax(score))]
        chosen += [_Candidate(of_prompt[i].astype(bool), float(score[i]), int(token[i])) for i in indices]
    return chosen


def _write(
    rgb: NDArray[np.uint8],
    image: Path,
    target: Path,
    chosen: Sequence[_Candidate],
    prompts: dict[str, Any],
    *,
    cutout: bool,
    feather: float,
) -> list[Path]:
    from segany.pictures.cutout import cut_out
    from segany.pictures.overlay import OverlayStyle, draw_overlay
    from segany.pictures.save import save_picture

    written = []
    if target.suffix.lower() == ".json":
        written.append(_write_record(rgb, image, target, chosen, prompts))
    else:
        for index, candidate in enumerate(chosen, 1):
            name = target if len(chosen) == 1 else target.with_name(f"{target.stem}_{index}{target.suffix}")
            picture = cut_out(rgb, candidate.mask, feather=feather) if cutout else candidate.mask
            written.append(save_picture(name, picture))
    style = OverlayStyle(dim=0.45, alpha=0.35)
    if cutout:
        return written
    overlay = draw_overlay(rgb, [candidate.mask for candidate in chosen], style=style, **prompts)
    if len(chosen) > 1 and len(prompts["boxes"] or ()) <= 1:
        from segany.pictures.grid import contact_sheet

        overlay = contact_sheet(
            [
                (
                    draw_overlay(rgb, [c.mask], style=style, **prompts),
                    f"{i}: predicted IoU {c.predicted_iou:.2f}",
                )
                for i, c in enumerate(chosen, 1)
            ],
            columns=len(chosen),
        )
    written.append(save_picture(target.with_name(f"{target.stem}_overlay.png"), overlay))
    return written


def _write_record(
    rgb: NDArray[np.uint8], image: Path, target: Path, chosen: Sequence[_Candidate], prompts: dict[str, Any]
) -> Path:
    from segany.records.ids import image_id_for
    from segany.records.record import ImageRecord, MaskRecord
    from segany.records.sa1b import write_sa1b

    records = tuple(
        MaskRecord.from_mask(
            candidate.mask,
            predicted_iou=candidate.predicted_iou,
            point_coords=prompts["points"] or (),
            output_index=candidate.output_index,
            id=index,
        )
        for index, candidate in enumerate(chosen, 1)
    )
    record = ImageRecord(
        image_id=image_id_for(image.name, image),
        width=rgb.shape[1],
        height=rgb.shape[0],
        file_name=image.name,
        annotations=records,
    )
    return write_sa1b(record, target)
