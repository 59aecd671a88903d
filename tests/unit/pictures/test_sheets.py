"""Cut-outs, contact sheets, plots and saving."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segany.core.errors import OptionError
from segany.pictures.cutout import cut_out
from segany.pictures.grid import PAPER, contact_sheet
from segany.pictures.plots import bar_plot, line_plot
from segany.pictures.save import save_picture
from segany.transforms.image import read_image, read_mask


def test_cutout_keeps_the_object_and_only_the_object() -> None:
    rgb = np.arange(30 * 40 * 3, dtype=np.uint32).astype(np.uint8).reshape(30, 40, 3)
    mask = np.zeros((30, 40), dtype=bool)
    mask[10:20, 5:15] = True
    mask[12, 7] = False
    cut = cut_out(rgb, mask)
    assert cut.shape == (10, 10, 4)
    assert (cut[..., :3] == rgb[10:20, 5:15]).all()
    assert (cut[..., 3] == np.where(mask[10:20, 5:15], 255, 0)).all()
    assert cut_out(rgb, mask, crop=False).shape == (30, 40, 4)
    assert cut_out(rgb, mask, margin=3).shape == (16, 16, 4)


def test_feather_softens_the_edge() -> None:
    mask = np.zeros((40, 40), dtype=bool)
    mask[10:30, 10:30] = True
    cut = cut_out(np.zeros((40, 40, 3), np.uint8), mask, feather=2.0, crop=False)
    edge = cut[20, :, 3].astype(int)
    assert edge[20] == 255 and edge[0] == 0
    assert ((edge > 0) & (edge < 255)).sum() >= 6


@pytest.mark.parametrize(
    ("mask", "options", "message"),
    [
        (np.zeros((4, 4), bool), {}, "at least one pixel"),
        (np.ones((4, 5), bool), {}, "height and width"),
        (np.ones((4, 4), bool), {"feather": -1.0}, "0 or more"),
        (np.ones((4, 4), bool), {"feather": float("nan")}, "0 or more"),
        (np.ones((4, 4), bool), {"margin": -2}, "0 or more"),
    ],
)
def test_cutout_refuses(mask: np.ndarray, options: dict[str, float], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        cut_out(np.zeros((4, 4, 3), np.uint8), mask, **options)  # type: ignore[arg-type]


def test_contact_sheet_shows_every_tile_once() -> None:
    colors = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    sizes = [(20, 40), (40, 20), (30, 30)]
    tiles = [(np.full((*size, 3), color, np.uint8), "") for size, color in zip(sizes, colors, strict=True)]
    sheet = contact_sheet(tiles, columns=2, tile_side=100, gap=10)
    for color, (height, width) in zip(colors, sizes, strict=True):
        shown = (sheet == color).all(axis=-1).sum()
        assert shown == round(100 * 100 * min(height, width) / max(height, width))
    assert tuple(sheet[0, 0]) == PAPER
    captioned = contact_sheet([(pixels, "a name") for pixels, _ in tiles], columns=2, tile_side=100, gap=10)
    assert captioned.shape[0] > sheet.shape[0]


def test_contact_sheet_needs_pictures() -> None:
    with pytest.raises(OptionError, match="at least one picture"):
        contact_sheet([])


def test_plots_write_pictures(tmp_path: Path) -> None:
    series = {"one": [0.1, 0.5], "two": [0.4, 0.2]}
    line = line_plot(
        tmp_path / "deep" / "line.png", [1, 3], series, title="t", x_label="x", y_label="y", y_range=(0, 1)
    )
    bars = bar_plot(tmp_path / "bars.png", ["a", "b"], series)
    for path in (line, bars):
        assert read_image(path).std() > 5
    vector = line_plot(tmp_path / "line.svg", [1, 3], series)
    assert "<svg" in vector.read_text(encoding="utf-8")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bars.png", "deep", "line.svg"]


def test_saved_pictures_read_back(tmp_path: Path) -> None:
    mask = np.eye(5, dtype=bool)
    assert (read_mask(save_picture(tmp_path / "new" / "m.png", mask)) == mask * 255).all()
    rgb = np.random.default_rng(0).integers(0, 255, (6, 7, 3), dtype=np.uint8)
    assert (read_image(save_picture(tmp_path / "p.png", rgb)) == rgb).all()


@pytest.mark.parametrize("name", ["out.gifx", "out", "out.jpg"])
def test_unsuitable_names_are_refused_and_leave_nothing(tmp_path: Path, name: str) -> None:
    with pytest.raises(OptionError, match=r"\.png"):
        save_picture(tmp_path / name, np.zeros((3, 3, 4), np.uint8))
    assert not list(tmp_path.iterdir())
