"""Image files as cameras, scanners and other programs write them: cut short, with junk before them, of many kinds."""

from __future__ import annotations

import io
import struct

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from hunyuanocr import images
from hunyuanocr.config import ImageSettings
from hunyuanocr.errors import DocumentTooComplex, TooManyPages, UnreadableImage, UnsupportedCompression
from hunyuanocr.images import open_pages
from hunyuanocr.types import Page

SETTINGS = ImageSettings()


def receipt() -> Image.Image:
    image = Image.new("RGB", (400, 600), (250, 249, 247))
    draw = ImageDraw.Draw(image)
    for y in range(4, 596, 12):
        draw.text((8, y), f"Line {y} total 12.30", fill=(10, 20, 30))
    return image


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def codes(page: Page) -> set[str]:
    return {notice.code for notice in page.notices}


# Files that end early

JPEGS: dict[str, dict[str, object]] = {
    "baseline": {},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_rows": 1},
}


@pytest.mark.parametrize("options", JPEGS.values(), ids=JPEGS)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_jpeg_without_its_end_marker_is_read_with_a_warning(mode: str, options: dict[str, object]) -> None:
    data = encoded(receipt().convert(mode), "JPEG", **options)
    (whole,) = open_pages(data, SETTINGS)
    assert "incomplete_image" not in codes(whole)
    for ending in (data[:-2], data[:-1], data[:-2] + bytes(5000)):  # the last one: a buffer that was not filled
        (page,) = open_pages(ending, SETTINGS)
        assert "incomplete_image" in codes(page)
        assert np.abs(page.pixels.astype(int) - whole.pixels).max() <= 2


def test_a_jpeg_that_lacks_a_tenth_is_read_and_one_that_lacks_a_third_is_refused() -> None:
    data = encoded(receipt(), "JPEG")
    (whole,), (page,) = open_pages(data, SETTINGS), open_pages(data[: len(data) * 9 // 10], SETTINGS)
    assert codes(page) == {"incomplete_image"}
    assert (page.pixels[:500] == whole.pixels[:500]).all()
    with pytest.raises(UnreadableImage, match=r"3\d% of the image is missing"):
        open_pages(data[: len(data) * 2 // 3], SETTINGS)


def test_a_scaled_down_jpeg_and_the_camera_thumbnail_are_cut_likewise() -> None:
    data = encoded(receipt().resize((2000, 3000)), "JPEG")
    (page,) = open_pages(data[:-900], ImageSettings(long_side=700))
    assert (page.height, codes(page)) == (3000, {"incomplete_image"})
    assert images.load_gray_thumbnail(data[:-2], SETTINGS, 300) is not None
    with pytest.raises(UnreadableImage):
        images.load_gray_thumbnail(data[: len(data) // 2], SETTINGS, 300)


def test_a_cut_jpeg_that_got_an_end_marker_is_warned_about_and_a_gray_picture_is_not() -> None:
    data = encoded(receipt(), "JPEG")
    (page,) = open_pages(data[: len(data) * 9 // 10] + b"\xff\xd9", SETTINGS)
    assert "incomplete_image" in codes(page)
    for gray in (Image.new("RGB", (90, 90), (128, 128, 128)), Image.new("L", (90, 90), 90)):
        assert "incomplete_image" not in codes(open_pages(encoded(gray, "JPEG"), SETTINGS)[0])


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_other_formats_are_read_up_to_where_they_end(kind: str) -> None:
    data = encoded(receipt(), kind)
    assert "incomplete_image" not in codes(open_pages(data, SETTINGS)[0])
    (page,) = open_pages(data[: len(data) * 9 // 10], SETTINGS)
    assert "incomplete_image" in codes(page)
    there = slice(80, None) if kind == "BMP" else slice(None, 520)  # a BMP starts with its last row
    assert (page.pixels[there] == np.asarray(receipt())[there]).all()
    with pytest.raises(UnreadableImage, match="missing"):
        open_pages(data[: len(data) * 2 // 3], SETTINGS)


def test_only_the_page_that_is_cut_has_the_warning() -> None:
    pages = images.open_documents((encoded(receipt(), "PNG"), encoded(receipt(), "JPEG")[:-2]), SETTINGS)
    assert [[n.page for n in page.notices if n.code == "incomplete_image"] for page in pages] == [[], [1]]


# Junk before the header


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WebP", "TIFF", "AVIF"])
@pytest.mark.parametrize("junk", [b"\r\n", b"\xef\xbb\xbf", b"\xff\xfe\r\n"], ids=["CRLF", "UTF-8 BOM", "UTF-16 BOM"])
def test_junk_before_the_header_is_skipped(kind: str, junk: bytes) -> None:
    data = encoded(receipt(), kind)
    (page,), (plain,) = open_pages(junk + data, SETTINGS), open_pages(data, SETTINGS)
    assert (page.pixels == plain.pixels).all()
    assert images.sniff(junk + data) == images.sniff(data)


def test_headers_before_a_jpeg_are_skipped_up_to_a_kilobyte() -> None:
    data = encoded(receipt(), "JPEG")
    part = b"--frame\r\nContent-Type: image/jpeg\r\n\r\n"
    assert len(open_pages(part + data, SETTINGS)) == 1
    assert images.load_gray_thumbnail(part + data, SETTINGS, 300) is not None
    assert images.sniff(b"x" * 1024 + data) == "JPEG"
    assert images.sniff(b"x" * 1025 + data) is None


@pytest.mark.parametrize("other", [b"PK\x03\x04\x14\0\0\0", b"ID3\x03\0\0", b"\0\0\0\x18ftypmp42", b"\x7fELF\x02"])
def test_a_picture_inside_another_file_is_not_taken_for_the_file(other: bytes) -> None:
    assert images.sniff(other + encoded(receipt(), "JPEG")) is None


def test_two_letters_after_a_blank_are_no_bmp() -> None:
    assert images.sniff(b"\r\nBMW invoices") is None


# Compression


def tiff_with(tag: int, value: int) -> bytes:
    """A small TIFF whose SHORT entry `tag` has `value`."""
    data = bytearray(encoded(Image.new("RGB", (20, 20)), "TIFF"))
    (at,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, at)
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        if struct.unpack_from("<H", data, entry)[0] == tag:
            struct.pack_into("<HII", data, entry + 2, 3, 1, value)
    return bytes(data)


@pytest.mark.parametrize(("compression", "name"), [(34712, "JPEG 2000"), (34661, "JBIG"), (50002, "JPEG XL"), (999, "unknown")])
def test_an_unsupported_tiff_compression_is_named_and_not_called_damage(compression: int, name: str) -> None:
    with pytest.raises(UnsupportedCompression, match=name) as refusal:
        open_pages(tiff_with(259, compression), SETTINGS)
    assert "damaged" not in refusal.value.message + refusal.value.hint


def test_unsupported_pixels_of_a_tiff_a_bmp_and_a_jpeg_are_not_called_damage() -> None:
    bmp = bytearray(encoded(Image.new("RGB", (9, 9)), "BMP"))
    bmp[30:34] = struct.pack("<I", 4)  # a JPEG in a BMP, for printers
    lossless = encoded(Image.new("L", (9, 9)), "JPEG").replace(b"\xff\xc0", b"\xff\xc3")
    for data in (tiff_with(262, 32803), bytes(bmp), lossless):  # 32803: a color filter array
        with pytest.raises(UnsupportedCompression):
            open_pages(data, SETTINGS)


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "packbits", "tiff_adobe_deflate", "jpeg", "lzma", "zstd"])
def test_supported_tiff_compressions_are_read_and_damage_stays_damage(compression: str) -> None:
    data = encoded(receipt(), "TIFF", compression=compression)
    assert len(open_pages(data, SETTINGS)) == 1
    with pytest.raises(UnreadableImage):
        open_pages(data[: len(data) // 3], SETTINGS)


# Reduced copies in a TIFF


def tiff_of(*subfiles: int, tag: int = 254) -> bytes:
    """A TIFF with one directory for each value of NewSubfileType; the brightness of each is its number × 20."""
    frames = [Image.new("L", (30, 30), 20 * n) for n in range(len(subfiles))]
    infos = [{tag: value} for value in subfiles]
    out = io.BytesIO()
    for frame, info in zip(frames, infos, strict=True):
        frame.encoderinfo = {"tiffinfo": info}
    frames[0].save(out, "TIFF", save_all=True, append_images=frames[1:], tiffinfo=infos[0])
    return out.getvalue()


def shades(data: bytes, **settings: int) -> list[int]:
    return [int(page.pixels[9, 9, 0]) for page in open_pages(data, ImageSettings(**settings))]


def test_reduced_copies_and_masks_in_a_tiff_are_no_pages() -> None:
    assert shades(tiff_of(0, 1, 0, 1, 4, 2)) == [0, 40, 100]  # 1: copy, 4: mask, 2: page of a document
    assert shades(tiff_of(1, 2, 3, tag=255)) == [0, 40]  # the old tag: 2 is a copy, 3 a page
    assert shades(tiff_of(1, 0)) == [20], "the copy comes first"
    assert shades(tiff_of(1, 1)) == [0, 20], "copies of nothing are what there is"


def test_reduced_copies_do_not_count_as_pages_and_their_number_is_limited() -> None:
    assert shades(tiff_of(0, 1, 1, 1, 0), max_pages=2) == [0, 80]
    with pytest.raises(TooManyPages):
        open_pages(tiff_of(0, 1, 0, 0), ImageSettings(max_pages=2))
    circle = bytearray(tiff_of(1))
    (at,) = struct.unpack_from("<I", circle, 4)
    (count,) = struct.unpack_from("<H", circle, at)
    struct.pack_into("<I", circle, at + 2 + 12 * count, at)
    with pytest.raises(DocumentTooComplex):
        open_pages(bytes(circle), SETTINGS)


# AVIF


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_avif_is_read_upright(mode: str) -> None:
    upright = receipt().convert(mode)
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(upright.transpose(Image.Transpose.ROTATE_90), "AVIF", exif=exif, quality=95)
    assert images.sniff(data) == "AVIF"
    (page,) = open_pages(data, SETTINGS)
    assert (page.width, page.height) == upright.size
    assert np.abs(page.pixels.astype(int) - np.asarray(upright.convert("RGB"))).mean() < 3


def test_avif_of_ten_bits_and_an_animated_one_are_read() -> None:
    done, deep = cv2.imencode(".avif", np.full((40, 50, 3), 512, np.uint16), [cv2.IMWRITE_AVIF_DEPTH, 10])
    assert done
    assert abs(int(open_pages(deep.tobytes(), SETTINGS)[0].pixels[9, 9, 0]) - 128) <= 2
    frames = [Image.new("RGB", (40, 40), color) for color in ("red", "blue")]
    (page,) = open_pages(encoded(frames[0], "AVIF", save_all=True, append_images=frames[1:]), SETTINGS)
    assert page.pixels[9, 9].argmax() == 0


# Transparency


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
@pytest.mark.parametrize(("ink", "ground"), [("white", 0), ("#ffe14d", 0), ("black", 255), ("#a01010", 255)])
def test_text_on_transparency_lies_on_the_ground_that_contrasts(mode: str, ink: str, ground: int) -> None:
    image = Image.new("RGBA", (300, 100), (0, 0, 0, 0))
    ImageDraw.Draw(image).text((10, 20), "TOTAL 12.30", fill=ink, font_size=40)
    (page,) = open_pages(encoded(image.convert(mode), "PNG"), SETTINGS)
    assert tuple(page.pixels[2, 2]) == (ground,) * 3
    assert np.ptp(np.asarray(Image.fromarray(page.pixels).convert("L")).astype(int)) > 100


def test_a_white_receipt_cut_out_of_its_photo_lies_on_white() -> None:
    image = receipt().convert("RGBA")
    image.paste((0, 0, 0, 0), (0, 0, 60, 600))
    (page,) = open_pages(encoded(image, "PNG"), SETTINGS)
    assert tuple(page.pixels[5, 5]) == (255, 255, 255)


# More than eight bits


@pytest.mark.parametrize(("kind", "dtype"), [("PNG", np.uint16), ("TIFF", np.uint16), ("TIFF", np.int32)])
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_values_of_fewer_bits_in_a_wider_file_fill_the_range(kind: str, dtype: type, bits: int) -> None:
    ramp: NDArray[np.generic] = np.linspace(0, 2**bits - 1, 256).astype(dtype)[None].repeat(10, 0)
    (page,) = open_pages(encoded(Image.fromarray(ramp), kind), SETTINGS)
    assert np.abs(page.pixels[5, :, 0].astype(int) - np.arange(256)).max() <= 1


def test_large_integers_are_not_all_white() -> None:
    ramp = np.linspace(0, 2_000_000, 256).astype(np.int32)[None].repeat(10, 0)
    (page,) = open_pages(encoded(Image.fromarray(ramp), "TIFF"), SETTINGS)
    assert np.abs(page.pixels[5, :, 0].astype(int) - np.arange(256)).max() <= 1
