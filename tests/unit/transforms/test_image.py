from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from segany.core.errors import ImageError
from segany.transforms.image import read_image, read_mask
from segany.transforms.resize import ImageTransform, resize_longest_side

RGB = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def test_files_arrays_and_pil_agree(tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.png")
    for source in (
        tmp_path / "a.png",
        str(tmp_path / "a.png"),
        RGB,
        Image.fromarray(RGB),
        torch.from_numpy(RGB),
    ):
        assert (read_image(source) == RGB).all()


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(RGB).save(tmp_path / "turned.png", exif=exif)
    assert (read_image(tmp_path / "turned.png") == np.rot90(RGB, -1)).all()


def test_grey_alpha_palette_and_deep_images(tmp_path: Path) -> None:
    grey = RGB[..., 0]
    assert (read_image(grey) == grey[..., None]).all()
    assert (read_image(grey[..., None]) == grey[..., None]).all()
    alpha = np.dstack([RGB, np.full(grey.shape, 7, np.uint8)])
    assert (read_image(alpha) == RGB).all()
    deep = grey.astype(np.uint16) * 257
    Image.fromarray(deep).save(tmp_path / "deep.png")
    assert (read_image(tmp_path / "deep.png") == grey[..., None]).all()
    assert (read_image(deep) == grey[..., None]).all()
    assert (read_image(RGB / 255.0) == RGB).all()
    palette = Image.fromarray(RGB).convert("P")
    assert (read_image(palette) == np.array(palette.convert("RGB"))).all()


def test_one_pixel_thin_and_single_pixel() -> None:
    assert read_image(RGB[:1]).shape == (1, 30, 3)
    assert read_image(RGB[:1, :1]).shape == (1, 1, 3)
    pixels, frame = ImageTransform(64, 16, (0, 0, 0), (1, 1, 1))(np.zeros((1, 4000, 3), np.uint8))
    assert pixels.shape == (3, 64, 64)
    assert frame.resized_hw == (1, 64)


def bad_images(folder: Path) -> dict[str, tuple[Any, str]]:
    Image.fromarray(RGB).save(folder / "whole.jpg", quality=95)
    (folder / "cut.jpg").write_bytes((folder / "whole.jpg").read_bytes()[:300])
    (folder / "text.png").write_text("<html>404</html>")
    (folder / "empty.jpg").touch()
    Image.fromarray(np.zeros((300, 300), np.uint8)).save(folder / "bomb.png")
    nan = RGB / 255.0
    nan[0, 0, 0] = np.nan
    return {
        "missing": (folder / "none.jpg", "found nothing"),
        "folder": (folder, "found a folder"),
        "truncated": (folder / "cut.jpg", "cannot be decoded"),
        "not an image": (folder / "text.png", "cannot be decoded"),
        "empty file": (folder / "empty.jpg", "cannot be decoded"),
        "float 0-255": (RGB.astype(np.float32), "in 0–1"),
        "nan": (nan, "in 0–1"),
        "signed": (RGB.astype(np.int32), "got int32"),
        "channels first": (np.zeros((3, 20, 30), np.uint8), "channels last"),
        "five channels": (np.zeros((20, 30, 5), np.uint8), "channels last"),
        "one axis": (np.zeros(20, np.uint8), "(H, W)"),
        "no pixels": (np.zeros((0, 30, 3), np.uint8), "at least one pixel"),
        "a list": ([[1, 2]], "got list"),
        "none": (None, "got NoneType"),
    }


BAD = (
    "missing", "folder", "truncated", "not an image", "empty file", "float 0-255", "nan", "signed",
    "channels first", "five channels", "one axis", "no pixels", "a list", "none",
)  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_images_say_what_was_expected_what_came_and_what_to_do(name: str, tmp_path: Path) -> None:
    source, came = bad_images(tmp_path)[name]
    with pytest.raises(ImageError) as caught:
        read_image(source)
    message = str(caught.value)
    assert came in message
    assert "expected" in message or "must" in message
    assert message.rstrip().endswith(".") and message.count(".") >= 1


def test_huge_images_are_refused_before_decoding(tmp_path: Path) -> None:
    bad_images(tmp_path)
    with pytest.raises(ImageError, match=r"at most 50,000 pixels.*90,000.*raise max_pixels"):
        read_image(tmp_path / "bomb.png", max_pixels=50_000)


def test_masks_keep_their_values(tmp_path: Path) -> None:
    labels = np.arange(600, dtype=np.uint16).reshape(20, 30) * 100
    Image.fromarray(labels).save(tmp_path / "labels.png")
    assert (read_mask(tmp_path / "labels.png") == labels).all()
    Image.fromarray(labels > 5000).save(tmp_path / "bits.png")
    assert read_mask(tmp_path / "bits.png").dtype == np.bool_
    Image.fromarray(np.repeat(RGB[..., :1], 3, 2)).save(tmp_path / "grey.png")
    assert (read_mask(tmp_path / "grey.png") == RGB[..., 0]).all()
    Image.fromarray(RGB).save(tmp_path / "colour.png")
    with pytest.raises(ImageError, match="one number per pixel"):
        read_mask(tmp_path / "colour.png")


def test_transform_normalises_then_pads() -> None:
    pixels, frame = ImageTransform(64, 16, (100, 110, 120), (50, 50, 50))(RGB)
    assert frame.resized_hw == (43, 64)
    assert (pixels[:, 43:] == 0).all()
    expected = (resize_longest_side(RGB, 64)[5, 7].astype(np.float32) - [100, 110, 120]) / 50
    assert torch.allclose(pixels[:, 5, 7], torch.tensor(expected, dtype=torch.float32))


def test_resize_is_pil_bilinear_antialiased() -> None:
    expected = np.asarray(Image.fromarray(RGB).resize((15, 10), Image.Resampling.BILINEAR))
    assert (resize_longest_side(RGB, 15) == expected).all()
