from __future__ import annotations

import warnings
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


TURNED = {
    1: RGB,
    2: RGB[:, ::-1],
    3: RGB[::-1, ::-1],
    4: RGB[::-1],
    5: RGB.transpose(1, 0, 2),
    6: np.rot90(RGB, -1),
    7: RGB[::-1, ::-1].transpose(1, 0, 2),
    8: np.rot90(RGB, 1),
    9: RGB,
}
"""What a person sees, by EXIF orientation."""


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("kind", ["png", "tiff"])
def test_exif_orientation_is_applied_once(orientation: int, kind: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"turned.{kind}"
    Image.fromarray(RGB).save(path, exif=exif)
    assert np.array_equal(read_image(path), TURNED[orientation])
    with Image.open(path) as picture:
        assert np.array_equal(read_image(picture), TURNED[orientation])


def test_damaged_metadata_does_not_spoil_a_photo(tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.png", exif=b"Exif\x00\x00garbage")
    assert np.array_equal(read_image(tmp_path / "a.png"), RGB)


def test_transparent_palette_entries_are_laid_on_white(tmp_path: Path) -> None:
    palette = Image.fromarray(np.array([[0, 1]], np.uint8), mode="L").convert("P")
    palette.putpalette([200, 0, 0, 0, 100, 0])
    palette.save(tmp_path / "a.png", transparency=b"\x00\xff")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(tmp_path / "a.png").tolist() == [[[255, 255, 255], [0, 100, 0]]]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr", "HSV", "LAB"])
def test_every_colour_mode_reads_as_pil_shows_it(mode: str) -> None:
    rgb = Image.fromarray(np.repeat(RGB, 30, axis=0))
    if mode == "LAB":
        from PIL import ImageCms

        to_lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
        picture = ImageCms.applyTransform(rgb, to_lab)
        assert picture is not None
    else:
        picture = rgb.convert(mode)
    read = read_image(picture)
    assert read.shape == (600, 30, 3) and read.flags.writeable
    assert np.array_equal(read, np.asarray(picture.convert("RGB")))


def test_deep_values_are_scaled_to_the_nearest() -> None:
    deep = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    nearest = np.round(deep / 257.0).astype(np.uint8)
    for given in (deep, deep.astype(">u2"), Image.fromarray(deep), Image.fromarray(deep.astype(np.int32))):
        assert np.array_equal(read_image(given)[..., 2], nearest)


def test_bits_and_half_precision() -> None:
    bits = RGB[..., 0] > 100
    assert np.array_equal(read_image(bits)[..., 1], bits * 255)
    assert (
        read_image(torch.full((2, 2, 3), 0.5, dtype=torch.bfloat16, requires_grad=True)).tolist()
        == [[[128] * 3] * 2] * 2
    )


def test_arrays_may_be_views() -> None:
    assert np.array_equal(read_image(RGB[::-1, ::2, ::-1]), RGB[::-1, ::2, ::-1])
    assert read_image(RGB[..., ::-1]).flags.c_contiguous


def test_large_photos_do_not_meet_the_decoders_own_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.png")
    Image.fromarray(RGB[..., 0] > 9).save(tmp_path / "mask.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(tmp_path / "a.png").shape == RGB.shape
        assert read_mask(tmp_path / "mask.png").shape == RGB.shape[:2]
    assert Image.MAX_IMAGE_PIXELS == 100
    with pytest.raises(Image.DecompressionBombError):
        Image.open(tmp_path / "a.png")


def test_files_are_closed(tmp_path: Path) -> None:
    frames = [Image.fromarray(RGB), Image.fromarray(RGB[::-1])]
    frames[0].save(tmp_path / "many.tiff", save_all=True, append_images=frames[1:])
    (tmp_path / "cut.tiff").write_bytes((tmp_path / "many.tiff").read_bytes()[:900])
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        assert np.array_equal(read_image(tmp_path / "many.tiff"), RGB)
        with pytest.raises(ImageError):
            read_image(tmp_path / "cut.tiff")


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


def _png_bytes(folder: Path) -> bytes:
    Image.fromarray(RGB).save(folder / "whole.png")
    return (folder / "whole.png").read_bytes()


def bad_images(folder: Path) -> dict[str, tuple[Any, str]]:
    Image.fromarray(RGB).save(folder / "whole.jpg", quality=95)
    (folder / "cut.jpg").write_bytes((folder / "whole.jpg").read_bytes()[:300])
    (folder / "text.png").write_text("<html>404</html>")
    (folder / "empty.jpg").touch()
    (folder / "cut.png").write_bytes(_png_bytes(folder)[:-400])
    (folder / "phone.heic").write_bytes(b"\x00\x00\x00\x18ftypheic" + bytes(64))
    Image.fromarray(np.full((4, 4), 70000, np.int32)).save(folder / "deep.tiff")
    Image.fromarray(np.full((4, 4), 9.0, np.float32)).save(folder / "float.tiff")
    Image.fromarray(np.zeros((300, 300), np.uint8)).save(folder / "bomb.png")
    nan = RGB / 255.0
    nan[0, 0, 0] = np.nan
    return {
        "missing": (folder / "none.jpg", "found nothing"),
        "folder": (folder, "found a folder"),
        "truncated": (folder / "cut.jpg", "cannot be decoded"),
        "truncated png": (folder / "cut.png", "cannot be decoded"),
        "heic": (folder / "phone.heic", "HEIC"),
        "too deep": (folder / "deep.tiff", "holds 70000…70000"),
        "float file": (folder / "float.tiff", "holds 9…9"),
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


ADVICE = ("Check", "open it", "Divide", "Convert", "Transpose", "Open it", "Rescale")

BAD = (
    "missing", "folder", "truncated", "truncated png", "heic", "too deep", "float file", "not an image",
    "empty file", "float 0-255", "nan", "signed", "channels first", "five channels", "one axis", "no pixels",
    "a list", "none",
)  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_images_say_what_was_expected_what_came_and_what_to_do(name: str, tmp_path: Path) -> None:
    source, came = bad_images(tmp_path)[name]
    with pytest.raises(ImageError) as caught:
        read_image(source)
    message = str(caught.value)
    assert came in message
    assert "expected" in message or "must" in message
    assert message.endswith(".") and any(word in message for word in ADVICE)
    if isinstance(source, Path):
        assert str(source) in message


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
    with pytest.raises(ImageError, match=r"one whole number per pixel.*colour\.png has colours.*grey PNG"):
        read_mask(tmp_path / "colour.png")


def test_masks_of_every_kind_come_back_as_numbers(tmp_path: Path) -> None:
    labels = (RGB[..., 0] % 5).astype(np.uint8)
    palette = Image.fromarray(labels).convert("P")
    palette.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9])
    palette.putdata(labels.ravel().tolist())
    palette.save(tmp_path / "palette.png")
    Image.fromarray(labels).convert("LA").save(tmp_path / "alpha.png")
    Image.fromarray(labels.astype(np.float32)).save(tmp_path / "float.tiff")
    Image.fromarray(labels.astype(np.int32) * 100_000).save(tmp_path / "wide.tiff")
    for name, scale in (("palette.png", 1), ("alpha.png", 1), ("float.tiff", 1), ("wide.tiff", 100_000)):
        mask = read_mask(tmp_path / name)
        assert mask.dtype.kind in "ui" and mask.dtype.isnative and mask.flags.writeable
        assert np.array_equal(mask, labels.astype(np.int64) * scale), name


def test_masks_are_not_turned(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(RGB[..., 0]).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(read_mask(tmp_path / "a.png"), RGB[..., 0])


@pytest.mark.parametrize("value", [0.5, float("nan"), float("inf"), 3e9])
def test_masks_of_fractions_are_refused(value: float, tmp_path: Path) -> None:
    Image.fromarray(np.full((3, 3), value, np.float32)).save(tmp_path / "a.tiff")
    with pytest.raises(ImageError, match="fractions or numbers out of range"):
        read_mask(tmp_path / "a.tiff")


def test_masks_in_print_colours_are_refused(tmp_path: Path) -> None:
    Image.fromarray(RGB).convert("CMYK").save(tmp_path / "a.tiff")
    with pytest.raises(ImageError, match="is CMYK"):
        read_mask(tmp_path / "a.tiff")


def test_transform_normalises_then_pads() -> None:
    pixels, frame = ImageTransform(64, 16, (100, 110, 120), (50, 50, 50))(RGB)
    assert frame.resized_hw == (43, 64)
    assert (pixels[:, 43:] == 0).all()
    expected = (resize_longest_side(RGB, 64)[5, 7].astype(np.float32) - [100, 110, 120]) / 50
    assert torch.allclose(pixels[:, 5, 7], torch.tensor(expected, dtype=torch.float32))


def test_resize_is_pil_bilinear_antialiased() -> None:
    expected = np.asarray(Image.fromarray(RGB).resize((15, 10), Image.Resampling.BILINEAR))
    assert (resize_longest_side(RGB, 15) == expected).all()


@pytest.mark.parametrize("size", [(90, 140), (140, 90), (200, 3), (3, 200), (77, 64)])
def test_a_photo_resized_in_bands_is_the_same_to_one_level(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A photo of noise, the hardest one; most pixels agree exactly."""
    rgb = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    whole = resize_longest_side(rgb, 48)
    monkeypatch.setattr("segany.transforms.resize.BAND_PIXELS", 500)
    banded = resize_longest_side(rgb, 48)
    apart = np.abs(banded.astype(int) - whole)
    assert banded.shape == whole.shape and apart.max() <= 1 and (apart == 0).mean() > 0.8
    around = np.zeros((size[0] + 5, size[1] + 7, 3), np.uint8)
    around[2:-3, 3:-4] = rgb
    assert np.array_equal(resize_longest_side(around[2:-3, 3:-4], 48), banded), "a view will do"
