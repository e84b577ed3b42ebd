"""Bytes → pages: formats, orientation, modes, limits, damage."""

from __future__ import annotations

import io
import random
import struct
import threading
import zlib

import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageDraw

from hunyuanocr import images
from hunyuanocr.config import ImageSettings
from hunyuanocr.errors import (
    DocumentTooComplex,
    EmptyInput,
    ImageTooLarge,
    PasswordProtected,
    TooManyPages,
    UnreadableImage,
    UnsupportedMedia,
)
from hunyuanocr.images import open_pages
from tests.attacks.hostile import CATALOGUE, chunk, pdf

SETTINGS = ImageSettings()
WIDTH, HEIGHT = 120, 80


def picture() -> Image.Image:
    """Red top-left quarter, green top-right, blue bottom-left, white bottom-right: every turn and flip shows."""
    image = Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, WIDTH // 2 - 1, HEIGHT // 2 - 1), fill=(200, 0, 0))
    draw.rectangle((WIDTH // 2, 0, WIDTH, HEIGHT // 2 - 1), fill=(0, 200, 0))
    draw.rectangle((0, HEIGHT // 2, WIDTH // 2 - 1, HEIGHT), fill=(0, 0, 200))
    return image


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    if kind == "HEIC":
        pillow_heif.from_pillow(image).save(out, quality=95)
    else:
        image.save(out, kind, **options)
    return out.getvalue()


def quarters(pixels: np.ndarray) -> list[str]:
    """The colours at the middles of the four quarters: r, g, b or w."""
    rows, columns = pixels.shape[:2]
    seen = []
    for y in (rows // 4, rows * 3 // 4):
        for x in (columns // 4, columns * 3 // 4):
            bright = pixels[y, x] > 100
            seen.append(
                {(1, 0, 0): "r", (0, 1, 0): "g", (0, 0, 1): "b", (1, 1, 1): "w"}.get(
                    (int(bright[0]), int(bright[1]), int(bright[2])), "?"
                )
            )
    return seen


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "GIF", "WebP", "TIFF", "HEIC", "AVIF"])
def test_every_picture_format(kind: str) -> None:
    (page,) = open_pages(encode(picture(), kind), SETTINGS)
    assert (page.width, page.height, page.index) == (WIDTH, HEIGHT, 0)
    assert page.pixels.shape == (HEIGHT, WIDTH, 3)
    assert page.pixels.dtype == np.uint8
    assert quarters(page.pixels) == ["r", "g", "b", "w"]


def test_pdf_is_drawn_at_the_set_resolution() -> None:
    data = encode(picture(), "PDF", resolution=72)  # one pixel is one point
    (page,) = open_pages(data, ImageSettings(pdf_dpi=144))
    assert (page.width, page.height) == (2 * WIDTH, 2 * HEIGHT)
    assert quarters(page.pixels) == ["r", "g", "b", "w"]


def test_large_pdf_page_is_never_drawn_large() -> None:
    data = encode(picture(), "PDF", resolution=1)  # 120 × 80 inches
    (page,) = open_pages(data, ImageSettings(pdf_dpi=600, long_side=512))
    assert (page.width, page.height) == (72_000, 48_000)
    assert max(page.pixels.shape) <= 513


@pytest.mark.parametrize("kind", ["TIFF", "PDF"])
def test_pages_keep_their_order(kind: str) -> None:
    colours = ["red", "lime", "blue"]
    first, *rest = [Image.new("RGB", (40, 30), c) for c in colours]
    pages = open_pages(encode(first, kind, save_all=True, append_images=rest), SETTINGS)
    assert [p.index for p in pages] == [0, 1, 2]
    assert [int(p.pixels[10, 10].argmax()) for p in pages] == [0, 1, 2]


def test_gif_gives_its_first_frame_only() -> None:
    frames = [Image.new("RGB", (30, 30), c) for c in ("red", "blue")]
    (page,) = open_pages(encode(frames[0], "GIF", save_all=True, append_images=frames[1:]), SETTINGS)
    assert tuple(page.pixels[5, 5]) == (255, 0, 0)


STORED = {  # what a camera stores for each EXIF orientation so that the upright picture is picture()
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WebP"])
def test_exif_orientation(kind: str, orientation: int) -> None:
    turn = STORED[orientation]
    stored = picture() if turn is None else picture().transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    (page,) = open_pages(encode(stored, kind, exif=exif), SETTINGS)
    assert (page.width, page.height) == (WIDTH, HEIGHT)
    assert quarters(page.pixels) == ["r", "g", "b", "w"]


def test_boxes_map_back_after_downscale_and_exif() -> None:
    upright = Image.new("RGB", (2000, 1000), "white")
    ImageDraw.Draw(upright).rectangle((1200, 300, 1599, 499), fill="black")
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(upright.transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif, quality=95)
    (page,) = open_pages(data, ImageSettings(long_side=500))
    assert (page.width, page.height) == (2000, 1000)
    assert page.pixels.shape == (250, 500, 3)
    ys, xs = np.nonzero(page.pixels[..., 0] < 128)
    left, top, right, bottom = xs.min(), ys.min(), xs.max() + 1, ys.max() + 1
    box = page.to_original([(left, top), (right, top), (right, bottom), (left, bottom)])
    assert np.abs(np.array(box) - [(1200, 300), (1600, 300), (1600, 500), (1200, 500)]).max() <= 4  # one small pixel


def test_small_picture_is_not_enlarged() -> None:
    (page,) = open_pages(encode(picture(), "PNG"), ImageSettings(long_side=4096))
    assert page.pixels.shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "PA"])
def test_what_is_transparent_becomes_white(mode: str) -> None:
    image = Image.new("RGBA", (20, 20), (0, 0, 0, 0))
    ImageDraw.Draw(image).rectangle((0, 0, 9, 19), fill=(10, 10, 10, 255))
    kind = "TIFF" if mode == "PA" else "PNG"
    data = encode(image.convert(mode) if mode != "PA" else image, kind)
    (page,) = open_pages(data, SETTINGS)
    assert page.pixels[10, 15].min() == 255
    assert page.pixels[10, 2].max() < 40


def test_grey_png_with_a_transparent_level() -> None:
    image = Image.new("L", (20, 20), 0)
    image.paste(90, (0, 0, 10, 20))
    (page,) = open_pages(encode(image, "PNG", transparency=0), SETTINGS)
    assert tuple(page.pixels[10, 15]) == (255, 255, 255)
    assert tuple(page.pixels[10, 2]) == (90, 90, 90)


def test_sixteen_bits_keep_their_brightness() -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16)[None].repeat(10, 0)
    for kind in ("PNG", "TIFF"):
        (page,) = open_pages(encode(Image.fromarray(ramp), kind), SETTINGS)
        assert np.abs(page.pixels[5, :, 0].astype(int) - np.arange(256)).max() <= 1


def test_dark_sixteen_bits_stay_dark() -> None:
    dark = np.full((9, 9), 200, np.uint16)
    dark[0, 0] = 60_000  # without it these could be values of eight bits
    (page,) = open_pages(encode(Image.fromarray(dark), "PNG"), SETTINGS)
    assert page.pixels[1:].max() <= 1


def test_float_tiff() -> None:
    ramp = np.linspace(0, 1, 100, dtype=np.float32)[None].repeat(10, 0)
    (page,) = open_pages(encode(Image.fromarray(ramp), "TIFF"), SETTINGS)
    assert page.pixels[5, 0, 0] == 0
    assert page.pixels[5, -1, 0] == 255


@pytest.mark.parametrize(("mode", "kind"), [("CMYK", "JPEG"), ("CMYK", "TIFF"), ("L", "JPEG"), ("1", "PNG"), ("1", "TIFF")])
def test_other_modes(mode: str, kind: str) -> None:
    image = Image.new("RGB", (40, 20), "white")
    image.paste((0, 0, 0), (0, 0, 20, 20))
    (page,) = open_pages(encode(image.convert(mode), kind), SETTINGS)
    assert page.pixels[10, 5].max() < 60
    assert page.pixels[10, 35].min() > 200


def test_one_pixel_is_a_page() -> None:
    (page,) = open_pages(encode(Image.new("RGB", (1, 1), "red"), "PNG"), SETTINGS)
    assert page.pixels.shape == (1, 1, 3)


def test_a_hair_of_a_picture_keeps_one_pixel() -> None:
    (page,) = open_pages(encode(Image.new("RGB", (9000, 1), "red"), "PNG"), SETTINGS)
    assert page.pixels.shape == (1, 2048, 3)


# Refusals


def bomb_png(width: int, height: int) -> bytes:
    rows = zlib.compress(bytes(1000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) + chunk(b"IDAT", rows)


def test_empty() -> None:
    with pytest.raises(EmptyInput):
        open_pages(b"", SETTINGS)


@pytest.mark.parametrize("data", [b"hello, I am text named .jpg", b"\x00" * 100, b"<svg xmlns=''/>", b"PK\x03\x04zip", b"\xff"])
def test_no_picture(data: bytes) -> None:
    with pytest.raises(UnsupportedMedia):
        open_pages(data, SETTINGS)


def test_too_many_bytes_before_anything_else() -> None:
    with pytest.raises(ImageTooLarge, match="bytes"):
        open_pages(b"\x00" * 2000, ImageSettings(max_bytes=1000))


def test_bomb_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(ImageTooLarge, match="30000"):  # the body is damaged: decoding it would be another error
        open_pages(bomb_png(30_000, 30_000), SETTINGS)


def test_the_pixel_limit_is_ours_and_not_pillows() -> None:
    just_under = ImageSettings(max_pixels=200_000_000, long_side=256)  # Pillow warns from 89 million on
    (page,) = open_pages(encode(Image.new("1", (10_000, 10_000), 1), "PNG"), just_under)
    assert (page.width, page.height) == (10_000, 10_000)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "GIF", "WebP", "TIFF", "HEIC", "AVIF"])
def test_pixel_limit_for_every_format(kind: str) -> None:
    with pytest.raises(ImageTooLarge):
        open_pages(encode(picture(), kind), ImageSettings(max_pixels=WIDTH * HEIGHT - 1))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "GIF", "WebP", "TIFF", "HEIC", "AVIF", "PDF"])
def test_truncated(kind: str) -> None:
    noisy = Image.fromarray(np.random.default_rng(1).integers(0, 255, (90, 90, 3), dtype=np.uint8))
    data = encode(noisy, kind)
    with pytest.raises(UnreadableImage):
        open_pages(data[: len(data) // 2], SETTINGS)


@pytest.mark.parametrize("kind", ["TIFF", "PDF"])
def test_too_many_pages(kind: str) -> None:
    leaf = Image.new("1", (8, 8))
    data = encode(leaf, kind, save_all=True, append_images=[leaf] * 500)
    with pytest.raises(TooManyPages):
        open_pages(data, SETTINGS)
    few = encode(leaf, kind, save_all=True, append_images=[leaf] * 2)
    assert len(open_pages(few, ImageSettings(max_pages=3))) == 3
    with pytest.raises(TooManyPages):
        open_pages(few, ImageSettings(max_pages=2))


def test_pdf_with_a_password() -> None:
    leaf = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 72 72]>>"
    lock = b"<</Filter/Standard/V 1/R 2/P -4/O<%s>/U<%s>>>" % (b"11" * 32, b"22" * 32)
    data = pdf([*CATALOGUE, leaf, lock], b"/Encrypt 4 0 R/ID[<00><00>]")
    with pytest.raises(PasswordProtected):
        open_pages(data, SETTINGS)


@pytest.mark.parametrize("box", [b"[0 0 1 100000]", b"[0 0 0 0]"])
def test_odd_pdf_pages_are_drawn_small(box: bytes) -> None:
    data = pdf([*CATALOGUE, b"<</Type/Page/Parent 2 0 R/MediaBox%s>>" % box], b"")
    (page,) = open_pages(data, SETTINGS)
    assert max(page.pixels.shape) <= 2049


@pytest.mark.parametrize(("size", "expected"), [((600, 10200), (497, 8444)), ((10200, 600), (8444, 497)), ((400, 9), (400, 9))])
def test_a_long_page_keeps_readable_letters(size: tuple[int, int], expected: tuple[int, int]) -> None:
    (page,) = open_pages(encode(Image.new("RGB", size, "white"), "PNG"), SETTINGS)
    assert page.pixels.shape[1::-1] == expected


def test_a_long_pdf_page_keeps_readable_letters() -> None:
    (page,) = open_pages(pdf([*CATALOGUE, b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 226 3842]>>"], b""), SETTINGS)
    assert max(abs(a - b) for a, b in zip(page.pixels.shape[:2], (8444, 497), strict=True)) <= 1


def test_pdf_without_pages() -> None:
    with pytest.raises(UnreadableImage):
        open_pages(pdf([CATALOGUE[0], b"<</Type/Pages/Kids[]/Count 0>>"], b""), SETTINGS)


# Damage and threads


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "GIF", "WebP", "TIFF", "HEIC", "AVIF", "PDF"])
def test_mutated_bytes_never_raise_anything_else(kind: str) -> None:
    rng = random.Random(kind)
    whole = encode(picture(), kind)
    decoder = images.ImageDecoder(ImageSettings(max_pixels=1_000_000, long_side=256))
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(rng.choice((1, 4, 30))):
            data[rng.randrange(len(data))] = rng.randrange(256)
        if rng.random() < 0.3:
            data = data[: rng.randrange(1, len(data))]
        try:
            pages = decoder.open_pages(bytes(data))
        except (UnreadableImage, UnsupportedMedia, ImageTooLarge, TooManyPages, PasswordProtected, DocumentTooComplex):
            continue
        assert all(p.pixels.ndim == 3 and p.pixels.dtype == np.uint8 for p in pages)
    decoder.close()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "HEIC", "GIF", "BMP", "WebP"])
def test_a_glance_is_small_grey_and_upright(kind: str) -> None:
    big = picture().resize((1200, 800))
    exif = Image.Exif()
    if kind == "JPEG":
        exif[0x0112] = 6
    seen = images.load_gray_thumbnail(encode(big, kind, exif=exif), SETTINGS, 300)
    assert seen is not None
    grey, width, height = seen
    assert (width, height) == ((800, 1200) if kind == "JPEG" else (1200, 800))
    assert (grey.shape, str(grey.dtype)) == ((300, 200) if kind == "JPEG" else (200, 300), "uint8")
    white = grey[250, 50] if kind == "JPEG" else grey[150, 250]  # turned to the right, the white quarter is at the left below
    assert white > 200 > grey.mean()


def test_a_glance_at_a_document_sees_nothing_and_at_damage_an_error() -> None:
    assert images.load_gray_thumbnail(encode(picture(), "PDF"), SETTINGS, 300) is None
    with pytest.raises(UnreadableImage):
        images.load_gray_thumbnail(b"\xff\xd8\xff broken", SETTINGS, 300)
    with pytest.raises(ImageTooLarge):
        images.load_gray_thumbnail(encode(picture(), "PNG"), ImageSettings(max_pixels=100), 300)


def test_several_pictures_are_pages_of_one_document() -> None:
    pdf = encode(picture(), "PDF", save_all=True, append_images=[picture()])
    pages = images.open_documents((encode(picture(), "PNG"), pdf, encode(picture(), "JPEG")), SETTINGS)
    assert [page.index for page in pages] == [0, 1, 2, 3]
    assert all(notice.page == page.index for page in pages for notice in page.notices)
    assert any(page.notices for page in pages[1:]), "so small a picture is warned about, by its own number"
    with pytest.raises(TooManyPages):
        images.open_documents((pdf, pdf), ImageSettings(max_pages=3))


def test_many_threads() -> None:
    sources = {kind: encode(picture(), kind) for kind in ("JPEG", "PDF", "HEIC", "TIFF")}
    wrong: list[object] = []

    decoder = images.ImageDecoder(SETTINGS)

    def work() -> None:
        for _ in range(10):
            for data in sources.values():
                seen = quarters(decoder.open_pages(data)[0].pixels)
                if seen != ["r", "g", "b", "w"]:
                    wrong.append(seen)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    decoder.close()
    assert wrong == []


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_exif_does_not_cost_the_picture() -> None:
    data = encode(picture(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f nonsense")
    (page,) = open_pages(data, SETTINGS)
    assert quarters(page.pixels) == ["r", "g", "b", "w"]


def test_sniffing_ignores_junk_before_a_pdf() -> None:
    assert images.sniff(b"\n\n junk %PDF-1.7") == "PDF"
    assert images.sniff(b"x" * 2000 + b"%PDF-1.7") is None
