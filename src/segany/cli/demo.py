"""`segany demo`: real photos, segmented by prompts and automatically, with pictures to show."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from segany.cli.console import Bar, say, show
from segany.cli.options import ModelOptions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Prompted:
    """One thing in a photo and how it is pointed at."""

    name: str
    points: tuple[tuple[float, float], ...] = ()
    labels: tuple[int, ...] = ()
    box: tuple[float, float, float, float] | None = None

    def arguments(self) -> dict[str, Any]:
        """Keywords of `Predictor.decode`."""
        return {
            "points": list(self.points) or None,
            "labels": list(self.labels) or None,
            "boxes": self.box,
        }


@dataclass(frozen=True)
class Photo:
    """A photo of scikit-image's wheel and what the demo asks about it."""

    name: str
    loader: str
    """Name in `skimage.data`."""
    prompts: tuple[Prompted, ...] = field(default=())


PHOTOS = (
    Photo(
        "astronaut",
        "astronaut",
        (
            Prompted("one click on the face", points=((220, 120),), labels=(1,)),
            Prompted("a box around the astronaut", box=(28, 5, 405, 511)),
        ),
    ),
    Photo(
        "cat",
        "chelsea",
        (
            Prompted("one click on the cat", points=((230, 160),), labels=(1,)),
            Prompted("a box around an eye", box=(138, 84, 208, 150)),
        ),
    ),
    Photo(
        "coffee",
        "coffee",
        (
            Prompted("one click on the coffee", points=((310, 160),), labels=(1,)),
            Prompted("a box around the cup", box=(170, 15, 412, 312)),
        ),
    ),
    Photo(
        "rocket",
        "rocket",
        (
            Prompted("one click on the rocket", points=((322, 200),), labels=(1,)),
            Prompted("a box around the rocket", box=(305, 125, 340, 412)),
        ),
    ),
    Photo(
        "coins",
        "coins",
        (
            Prompted("one click on a coin", points=((156, 52),), labels=(1,)),
            Prompted("a box around a coin", box=(15, 233, 75, 293)),
        ),
    ),
    Photo(
        "motorcycle",
        "stereo_motorcycle",
        (
            Prompted("one click on the tank", points=((415, 208),), labels=(1,)),
            Prompted("a box around the motorcycle", box=(92, 83, 688, 454)),
        ),
    ),
)


def demo(
    output: Annotated[Path, Parameter(name=["--output", "-o"], help="Folder for the pictures.")] = Path("out"),
    *,
    points_per_side: Annotated[int, Parameter(help="Clicks along each edge for the automatic masks.")] = 32,
    model: ModelOptions | None = None,
) -> int:
    """Segment a few real photos by clicks, by boxes and automatically, and say where the pictures are."""
    predictor = (model or ModelOptions()).predictor()
    from segany.pictures.grid import contact_sheet
    from segany.pictures.save import save_picture

    tiles: list[tuple[NDArray[np.uint8], str]] = []
    with Bar("photos", len(PHOTOS)) as bar:
        bar.update(0)
        for number, photo in enumerate(PHOTOS, 1):
            tiles += one_photo(photo, predictor, output, points_per_side, bar)
            bar.update(number)
    columns = len(tiles) // len(PHOTOS)
    index = save_picture(output / "index.png", contact_sheet(tiles, columns=columns))
    say("look first at:")
    show(str(index))
    return 0


def one_photo(
    photo: Photo, predictor: Any, output: Path, points_per_side: int, bar: Bar
) -> list[tuple[NDArray[np.uint8], str]]:
    """Everything the demo does with one photo; the pictures for the index."""
    import skimage.data

    from segany.pictures.overlay import OverlayStyle, draw_overlay
    from segany.pictures.save import save_picture
    from segany.predict.automatic.generator import AutomaticMaskGenerator
    from segany.records.ids import image_id_for
    from segany.records.record import ImageRecord
    from segany.records.sa1b import write_sa1b
    from segany.transforms.image import read_image

    loaded = getattr(skimage.data, photo.loader)()
    rgb = read_image(loaded[0] if isinstance(loaded, tuple) else loaded)
    embedding = predictor.encode(rgb)
    tiles = [(rgb, photo.name)]
    style = OverlayStyle(enlarge_to=960, dim=0.45, alpha=0.35)
    for number, prompted in enumerate(photo.prompts, 1):
        result = predictor.decode(embedding, **prompted.arguments())
        picture = draw_overlay(rgb, [result.masks[int(result.best)]], style=style, **prompted.arguments())
        save_picture(output / f"{photo.name}_prompt{number}.png", picture)
        tiles.append((picture, prompted.name))

    records = AutomaticMaskGenerator(predictor, points_per_side=points_per_side).generate(rgb)
    picture = draw_overlay(rgb, records, style=OverlayStyle(enlarge_to=960))
    save_picture(output / f"{photo.name}_everything.png", picture)
    save_picture(output / f"{photo.name}.png", rgb)
    record = ImageRecord(
        image_id=image_id_for(f"{photo.name}.png", output / f"{photo.name}.png"),
        width=rgb.shape[1],
        height=rgb.shape[0],
        file_name=f"{photo.name}.png",
        annotations=tuple(records),
    )
    write_sa1b(record, output / f"{photo.name}.json")
    bar.note(f"{photo.name}: {len(records)} masks, {output / photo.name}_*.png and {output / photo.name}.json")
    return [*tiles, (picture, f"everything: {len(records)} masks")]
