"""Several pictures on one sheet, each with a caption."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from segany.core.errors import OptionError

PAPER = (250, 250, 248)
INK = (40, 40, 44)


def contact_sheet(
    tiles: Sequence[tuple[NDArray[np.uint8], str]],
    *,
    columns: int | None = None,
    tile_side: int = 480,
    gap: int = 16,
) -> NDArray[np.uint8]:
    """A sheet of pictures in reading order.

    Args:
        tiles: pairs of an (H, W, 3) uint8 picture and its caption (may be empty).
        columns: pictures in a row; about as many columns as rows when left out.
        tile_side: longest side of each picture on the sheet, in pixels.
        gap: space around pictures, in pixels.

    Returns:
        (H, W, 3) uint8.

    Raises:
        OptionError: no tiles, or a size below 1.
    """
    if not tiles or tile_side < 1 or gap < 0 or (columns is not None and columns < 1):
        raise OptionError(
            "a contact sheet needs at least one picture, a tile side and a column count of 1 or more; "
            f"got {len(tiles)} pictures, {tile_side} and {columns}. Pass pictures as (array, caption) pairs."
        )
    columns = min(columns or math.ceil(math.sqrt(len(tiles))), len(tiles))
    pictures = [_fitted(rgb, tile_side) for rgb, _ in tiles]
    font = ImageFont.load_default(size=max(11, tile_side // 24))
    caption = (font.getbbox("Ag")[3] + gap // 2) if any(text for _, text in tiles) else 0
    rows = [range(start, min(start + columns, len(tiles))) for start in range(0, len(tiles), columns)]
    heights = [max(pictures[i].height for i in row) for row in rows]
    widths = [max(pictures[i].width for i in range(c, len(tiles), columns)) for c in range(columns)]
    sheet = Image.new(
        "RGB",
        (round(sum(widths) + gap * (columns + 1)), round(sum(heights) + (gap + caption) * len(rows) + gap)),
        PAPER,
    )
    draw = ImageDraw.Draw(sheet)
    top: float = gap
    for row, height in zip(rows, heights, strict=True):
        left = gap
        for column, index in enumerate(row):
            picture = pictures[index]
            sheet.paste(picture, (left + (widths[column] - picture.width) // 2, round(top) + height - picture.height))
            middle = left + widths[column] // 2
            draw.text((middle, top + height + gap // 4), tiles[index][1], fill=INK, font=font, anchor="ma")
            left += widths[column] + gap
        top += height + caption + gap
    return np.asarray(sheet, dtype=np.uint8)


def _fitted(rgb: NDArray[np.uint8], longest: int) -> Image.Image:
    picture = Image.fromarray(np.ascontiguousarray(rgb))
    scale = longest / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.LANCZOS)
