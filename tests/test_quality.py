"""Blur, glare and low resolution give warnings; good pictures give none."""

from __future__ import annotations

import io
import logging
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from hunyuanocr import image_quality
from hunyuanocr.config import ImageSettings
from hunyuanocr.image_quality import assess, sharpness
from hunyuanocr.images import open_pages

RECEIPTS = Path(__file__).parent.parent.parent / "shared/data/sroie-dev"


def receipt(paper: int = 200, size: tuple[int, int] = (600, 900)) -> Image.Image:
    image = Image.new("RGB", size, (paper,) * 3)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(26)
    for n in range(18):
        draw.text((40, 30 + 46 * n), f"Article number {n:02d}        {n}.{n}0", fill=(30, 30, 30), font=font)
    return image


def codes(image: Image.Image) -> list[str]:
    pixels = np.asarray(image)
    return [notice.code for notice in assess(pixels, pixels.shape[1], pixels.shape[0])]


def spot(image: Image.Image, box: tuple[int, int, int, int], soft: float = 12) -> Image.Image:
    light = Image.new("L", image.size, 0)
    ImageDraw.Draw(light).ellipse(box, fill=255)
    return Image.composite(Image.new("RGB", image.size, "white"), image, light.filter(ImageFilter.GaussianBlur(soft)))


def test_a_sharp_receipt_gets_no_notice() -> None:
    assert codes(receipt()) == []
    assert codes(receipt(paper=255)) == []


@pytest.mark.parametrize("contrast", [1.0, 0.4])
def test_blur_is_reported_whatever_the_contrast(contrast: float) -> None:
    image = receipt().point(lambda v: int(200 - (200 - v) * contrast))
    assert "blurry" not in codes(image)
    assert "blurry" not in codes(image.filter(ImageFilter.GaussianBlur(0.8)))
    assert "blurry" in codes(image.filter(ImageFilter.GaussianBlur(3.5)))


def test_motion_blur_is_reported_although_one_direction_stays_sharp() -> None:
    pixels = np.asarray(receipt()).astype(float)
    moved = np.mean([np.roll(pixels, shift, axis=1) for shift in range(12)], axis=0).astype(np.uint8)
    assert "blurry" in codes(Image.fromarray(moved))


def test_glare_is_reported() -> None:
    assert "glare" in codes(spot(receipt(), (200, 300, 420, 560)))


def test_a_white_table_or_white_paper_is_no_glare() -> None:
    on_table = Image.new("RGB", (800, 1100), "white")
    on_table.paste(receipt(), (100, 100))
    assert "glare" not in codes(on_table)
    assert "glare" not in codes(spot(receipt(paper=245), (200, 300, 420, 560)))
    on_dark = Image.new("RGB", (800, 1100), (60, 50, 40))
    on_dark.paste(receipt(paper=255), (100, 100))
    assert "glare" not in codes(on_dark)


def test_few_pixels_are_reported_but_not_of_a_cut_out_line_or_one_pixel() -> None:
    assert codes(receipt().resize((150, 225))).count("low_resolution") == 1
    assert "low_resolution" not in codes(receipt().crop((30, 30, 500, 60)))
    assert codes(Image.new("RGB", (1, 1))) == []
    assert "low_resolution" not in codes(receipt())


def test_blank_pages_are_neither_blurred_nor_mirrored() -> None:
    for shade in (0, 128, 255):
        assert codes(Image.new("RGB", (500, 500), (shade,) * 3)) == []


def test_a_notice_names_its_page() -> None:
    pixels = np.asarray(receipt().filter(ImageFilter.GaussianBlur(4)))
    assert assess(pixels, 600, 900, 3)[0].page == 3


A4 = (1654, 2339)  # at 200 dpi


def sheet(*, size: tuple[int, int] = A4, text: str = "", rules: int = 0, dots: int = 0) -> Image.Image:
    """White paper with one line of text, thin rules or dots at its middle."""
    image = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(image)
    if text:
        draw.text((200, 300), text, fill="black", font=ImageFont.load_default(40))
    for n in range(rules):
        draw.line((100, 300 + 600 * n, size[0] - 100, 300 + 600 * n), fill="black", width=1)
    for n in range(dots):
        draw.point((size[0] // 2 + 6 * n, size[1] // 2), fill="black")
    return image


def gradient(*, down: bool) -> Image.Image:
    ramp = np.linspace(0, 255, 1200).astype(np.uint8)
    grey = np.repeat(ramp[:, None], 900, 1) if down else np.repeat(ramp[None], 900, 0)
    return Image.fromarray(grey).convert("RGB")


NEARLY_EMPTY = {
    "one line": sheet(text="Page intentionally left blank"),
    "one rule": sheet(rules=1),
    "thin rules": sheet(rules=3),
    "one dot": sheet(dots=1),
    "dots": sheet(dots=40),
    "black": Image.new("RGB", A4, "black"),
    "gradient": gradient(down=True),
    "gradient across": gradient(down=False),
    "row": Image.new("RGB", (3000, 1), "white"),
    "column": Image.new("RGB", (1, 3000), "white"),
    "row of dots": Image.fromarray(np.tile(np.array([0, 255], np.uint8), 1500)[None]).convert("RGB"),
}


def png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


@pytest.mark.parametrize("name", NEARLY_EMPTY)
def test_a_clean_nearly_empty_page_is_read_without_a_notice(name: str) -> None:
    (page,) = open_pages(png(NEARLY_EMPTY[name]), ImageSettings(long_side=4096))
    assert {notice.code for notice in page.notices} <= {"low_resolution"}


def test_one_such_page_does_not_cost_the_other_pages_of_a_pdf() -> None:
    out = io.BytesIO()
    receipt().save(out, "PDF", resolution=200, save_all=True, append_images=[NEARLY_EMPTY["one line"], receipt()])
    pages = open_pages(out.getvalue(), ImageSettings())
    assert [(page.index, page.notices) for page in pages] == [(0, ()), (1, ()), (2, ())]


def test_the_blur_of_a_single_line_is_measured_against_its_own_contrast() -> None:
    line = sheet(text="Page intentionally left blank, on purpose")
    sharp, soft = (sharpness(np.asarray(image)[..., 1]) for image in (line, line.filter(ImageFilter.GaussianBlur(4))))
    assert sharp is not None
    assert sharp > 0.5
    assert soft is not None
    assert soft < 0.12
    assert codes(line.filter(ImageFilter.GaussianBlur(4))) == ["blurry"]


@given(
    st.integers(1, 1600),
    st.integers(1, 1600),
    st.integers(0, 255),
    st.lists(st.tuples(st.integers(0, 999), st.integers(0, 999), st.integers(1, 40), st.integers(1, 1600), st.integers(0, 255))),
    st.booleans(),
)
@example(1600, 1600, 255, [(0, 600, 1, 1600, 0)], False)
def test_measures_of_sparse_pages_stay_in_their_range(
    width: int, height: int, paper: int, marks: list[tuple[int, int, int, int, int]], upright: bool
) -> None:
    grey = np.full((height, width), paper, np.uint8)
    for x, y, thick, long, shade in marks:  # rules, bars, dots
        grey[y : y + thick, x : x + long] = shade
    grey = grey.T if upright else grey
    sharp = sharpness(grey)
    assert sharp is None or 0.0 <= sharp <= 1.0
    assert 0.0 <= image_quality.glare(grey) <= 1.0


@pytest.mark.parametrize("error", [ZeroDivisionError, MemoryError, ValueError, RuntimeWarning])
def test_a_measure_that_fails_never_costs_the_page(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(grey: object) -> float:
        raise error("a measure with a fault")

    monkeypatch.setattr(image_quality, "sharpness", fails)
    with caplog.at_level(logging.ERROR):
        (page,) = open_pages(png(receipt()), ImageSettings())
    assert page.pixels.shape == (900, 600, 3)
    assert page.notices == ()
    assert "could not be measured" in caplog.text


@pytest.mark.receipts
@pytest.mark.skipif(not RECEIPTS.is_dir(), reason="the shared receipts (../shared/data/sroie-dev) are not here")
def test_scans_rarely_warn_and_the_same_scans_blurred_do() -> None:
    pages = [open_pages(path.read_bytes(), ImageSettings())[0] for path in sorted(RECEIPTS.glob("*.jpg"))[::4]]
    assert sum(bool(page.notices) for page in pages) <= 1
    blurred = [Image.fromarray(page.pixels).filter(ImageFilter.GaussianBlur(4)) for page in pages]
    assert sum("blurry" in codes(image) for image in blurred) >= len(blurred) - 1
