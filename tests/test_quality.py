"""Blur, glare and low resolution are told; good pictures stay without a word."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from hunyuanocr.config import ImageSettings
from hunyuanocr.images import open_pages
from hunyuanocr.quality import look

RECEIPTS = Path(__file__).parent.parent.parent / "shared/data/sroie-dev"


def receipt(paper: int = 200, size: tuple[int, int] = (600, 900)) -> Image.Image:
    image = Image.new("RGB", size, (paper,) * 3)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(26)
    for n in range(18):
        draw.text((40, 30 + 46 * n), f"Article number {n:02d}        {n}.{n}0", fill=(30, 30, 30), font=font)
    return image


def codes(image: Image.Image) -> list[str]:
    pixels = np.asarray(image)
    return [notice.code for notice in look(pixels, pixels.shape[1], pixels.shape[0])]


def spot(image: Image.Image, box: tuple[int, int, int, int], soft: float = 12) -> Image.Image:
    light = Image.new("L", image.size, 0)
    ImageDraw.Draw(light).ellipse(box, fill=255)
    return Image.composite(Image.new("RGB", image.size, "white"), image, light.filter(ImageFilter.GaussianBlur(soft)))


def test_a_sharp_receipt_gets_no_notice() -> None:
    assert codes(receipt()) == []
    assert codes(receipt(paper=255)) == []


@pytest.mark.parametrize("contrast", [1.0, 0.4])
def test_blur_is_told_whatever_the_contrast(contrast: float) -> None:
    image = receipt().point(lambda v: int(200 - (200 - v) * contrast))
    assert "blurry" not in codes(image)
    assert "blurry" not in codes(image.filter(ImageFilter.GaussianBlur(0.8)))
    assert "blurry" in codes(image.filter(ImageFilter.GaussianBlur(3.5)))


def test_motion_blur_is_told_although_one_direction_stays_sharp() -> None:
    pixels = np.asarray(receipt()).astype(float)
    moved = np.mean([np.roll(pixels, shift, axis=1) for shift in range(12)], axis=0).astype(np.uint8)
    assert "blurry" in codes(Image.fromarray(moved))


def test_glare_is_told() -> None:
    assert "glare" in codes(spot(receipt(), (200, 300, 420, 560)))


def test_a_white_table_or_white_paper_is_no_glare() -> None:
    on_table = Image.new("RGB", (800, 1100), "white")
    on_table.paste(receipt(), (100, 100))
    assert "glare" not in codes(on_table)
    assert "glare" not in codes(spot(receipt(paper=245), (200, 300, 420, 560)))
    on_dark = Image.new("RGB", (800, 1100), (60, 50, 40))
    on_dark.paste(receipt(paper=255), (100, 100))
    assert "glare" not in codes(on_dark)


def test_few_pixels_are_told_but_not_of_a_cut_out_line_or_one_pixel() -> None:
    assert codes(receipt().resize((150, 225))).count("low_resolution") == 1
    assert "low_resolution" not in codes(receipt().crop((30, 30, 500, 60)))
    assert codes(Image.new("RGB", (1, 1))) == []
    assert "low_resolution" not in codes(receipt())


def test_blank_pages_are_neither_blurred_nor_mirrored() -> None:
    for shade in (0, 128, 255):
        assert codes(Image.new("RGB", (500, 500), (shade,) * 3)) == []


def test_a_notice_names_its_page() -> None:
    pixels = np.asarray(receipt().filter(ImageFilter.GaussianBlur(4)))
    assert look(pixels, 600, 900, 3)[0].page == 3


@pytest.mark.receipts
@pytest.mark.skipif(not RECEIPTS.is_dir(), reason="the shared receipts (../shared/data/sroie-dev) are not here")
def test_scans_rarely_warn_and_the_same_scans_blurred_do() -> None:
    pages = [open_pages(path.read_bytes(), ImageSettings())[0] for path in sorted(RECEIPTS.glob("*.jpg"))[::4]]
    assert sum(bool(page.notices) for page in pages) <= 1
    blurred = [Image.fromarray(page.pixels).filter(ImageFilter.GaussianBlur(4)) for page in pages]
    assert sum("blurry" in codes(image) for image in blurred) >= len(blurred) - 1
