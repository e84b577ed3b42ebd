"""Bytes → upright RGB pages: the type is sniffed, limits are checked before anything is decoded, damage is an error of ours.

JPEG, PNG, BMP, GIF (first frame), WebP, TIFF (pages) and HEIC through Pillow's decoders, PDF (pages) through PDFium.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pypdfium2 as pdfium
from numpy.typing import NDArray
from pi_heif import HeifImageFile
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from hunyuanocr.config import ImageSettings
from hunyuanocr.errors import (
    EmptyInput,
    HunyuanOcrError,
    ImageTooLarge,
    PasswordProtected,
    TooManyPages,
    UnreadableImage,
    UnsupportedMedia,
)
from hunyuanocr.quality import look
from hunyuanocr.types import Page

# Plugin classes are called directly: `Image.open` would add Pillow's own pixel limit (a warning, then an error) to ours.
_DECODERS: dict[str, Callable[[io.BytesIO], ImageFile.ImageFile]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "WebP": WebPImagePlugin.WebPImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "HEIC": HeifImageFile,
}
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_ORIENTATION = 0x0112  # EXIF tag
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_PDFIUM = threading.Lock()  # PDFium is not thread-safe, not even across documents


def open_pages(data: bytes, settings: ImageSettings) -> tuple[Page, ...]:
    """Decode `data` into upright RGB pages (uint8 [h, w, 3]), scaled down so that the longer side fits `settings.long_side`.

    Blocking; safe to call from several threads. Warnings about blur, glare and low resolution go into `Page.notices`.
    Raises EmptyInput, UnsupportedMedia, UnreadableImage, PasswordProtected, ImageTooLarge, TooManyPages.
    """
    kind = _kind(data, settings)
    with _damage_is_ours(kind):
        drawn = _pdf_pages(data, settings) if kind == "PDF" else _picture_pages(data, kind, settings)
        return tuple(
            Page(pixels, width, height, index, look(pixels, width, height, index))
            for index, (pixels, width, height) in enumerate(drawn)
        )


def _kind(data: bytes, settings: ImageSettings) -> str:
    if not data:
        raise EmptyInput("The file is empty.")
    if len(data) > settings.max_bytes:
        raise ImageTooLarge(f"The file has {len(data)} bytes; the limit is {settings.max_bytes}.")
    kind = sniff(data)
    if kind is None:
        raise UnsupportedMedia("The file is no picture and no PDF that can be read here.")
    return kind


def glance(data: bytes, settings: ImageSettings, long_side: int) -> tuple[NDArray[np.uint8], int, int] | None:
    """A cheap look at a picture: grey (uint8 [h, w]), scaled down to `long_side`, with the upright original's width and height.

    None for a document (PDF, TIFF). Blocking; safe to call from several threads. Raises what `open_pages` does.
    """
    kind = _kind(data, settings)
    if kind in ("PDF", "TIFF"):
        return None
    with _damage_is_ours(kind), _DECODERS[kind](io.BytesIO(data)) as image:
        width, height = _size(image, settings)
        small = _fit(width, height, long_side)
        image.draft("L", small)
        image.load()
        grey = image if image.mode == "L" else _rgb(image).convert("L")
        if grey.size != small:
            grey = grey.resize(small, Image.Resampling.BOX)
        turned, width, height = _upright(grey, _orientation(image), width, height)
        return np.asarray(turned), width, height


def open_all(pictures: Sequence[bytes], settings: ImageSettings) -> tuple[Page, ...]:
    """The pages of several pictures as those of one document: numbered through, and together within `settings.max_pages`."""
    pages: list[Page] = []
    for data in pictures:
        found = open_pages(data, settings)
        if len(pages) + len(found) > settings.max_pages:
            raise TooManyPages(f"The pictures have more than {settings.max_pages} pages.")
        before = len(pages)
        pages += [_numbered(page, before + page.index) for page in found]
    return tuple(pages)


def _numbered(page: Page, index: int) -> Page:
    return replace(page, index=index, notices=tuple(replace(n, page=index) for n in page.notices))


def sniff(data: bytes) -> str | None:
    """The type by the first bytes, never by name or header: a key of the decoders, "PDF", or None."""
    starts = (
        (b"\xff\xd8\xff", "JPEG"), (b"\x89PNG\r\n\x1a\n", "PNG"), (b"BM", "BMP"), (b"GIF87a", "GIF"), (b"GIF89a", "GIF"),
        (b"II*\0", "TIFF"), (b"MM\0*", "TIFF"), (b"II+\0", "TIFF"), (b"MM\0+", "TIFF"),
    )  # fmt: skip
    for start, kind in starts:
        if data.startswith(start):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    if data[4:8] == b"ftyp" and (data[8:12] in _HEIF_BRANDS or any(brand in data[16:64] for brand in _HEIF_BRANDS)):
        return "HEIC"
    return "PDF" if b"%PDF-" in data[:1024] else None  # readers accept junk of up to 1 KiB before the header


@contextmanager
def _damage_is_ours(kind: str) -> Iterator[None]:
    """Decoders raise nearly every class there is on damaged bytes; whatever it is, the file cannot be read."""
    try:
        yield
    except HunyuanOcrError:
        raise
    except Exception as e:
        raise UnreadableImage(f"The {kind} cannot be decoded ({type(e).__name__}: {str(e)[:120]}).") from e


Drawn = tuple[NDArray[np.uint8], int, int]  # pixels, and the original's width and height


def _picture_pages(data: bytes, kind: str, settings: ImageSettings) -> Iterator[Drawn]:
    with _DECODERS[kind](io.BytesIO(data)) as image:
        yield _picture(image, settings)
        if kind != "TIFF":
            return
        for number in range(1, settings.max_pages + 1):
            try:
                image.seek(number)
            except EOFError:
                return
            if number == settings.max_pages:
                raise TooManyPages(f"The TIFF has more than {settings.max_pages} pages.")
            yield _picture(image, settings)


def _picture(image: ImageFile.ImageFile, settings: ImageSettings) -> Drawn:
    width, height = _size(image, settings)
    small = _fit(width, height, settings.long_side)
    image.draft(None, small)  # a JPEG is decoded at ½, ¼ or ⅛ of its size where that is still large enough
    image.load()
    flat = _rgb(image)
    if flat.size != small:
        flat = flat.resize(small, Image.Resampling.BOX)  # BOX averages areas: nothing aliases
    turned, width, height = _upright(flat, _orientation(image), width, height)
    return np.asarray(turned), width, height


def _upright(flat: Image.Image, orientation: int, width: int, height: int) -> tuple[Image.Image, int, int]:
    turn = _UPRIGHT.get(orientation)
    if turn is None:
        return flat, width, height
    if turn.value >= Image.Transpose.ROTATE_90 and turn is not Image.Transpose.ROTATE_180:
        width, height = height, width
    return flat.transpose(turn), width, height


def _size(image: ImageFile.ImageFile, settings: ImageSettings) -> tuple[int, int]:
    width, height = image.size
    if width * height > settings.max_pixels:
        raise ImageTooLarge(f"The picture has {width} × {height} pixels; the limit is {settings.max_pixels} in all.")
    return width, height


def _fit(width: float, height: float, long_side: int) -> tuple[int, int]:
    scale = min(1.0, long_side / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _orientation(image: ImageFile.ImageFile) -> int:
    """EXIF orientation 1…8. Broken EXIF must not cost the picture, and Pillow reports it in many ways, warnings among them."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except (OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, Warning):
        return 1


def _rgb(image: Image.Image) -> Image.Image:
    """Any mode → RGB; what is transparent becomes white paper."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode[0] in "IF":  # 16 and 32 bits a sample
        return Image.fromarray(_eight_bits(np.asarray(image))).convert("RGB")
    if "transparency" in image.info or image.mode in {"RGBA", "RGBa", "LA", "La", "PA"}:
        seen = image.convert("RGBA")
        white = Image.new("RGBA", seen.size, "white")
        return Image.alpha_composite(white, seen).convert("RGB")
    return image.convert("RGB")


def _eight_bits(samples: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Grey samples of more than 8 bits → 8 bits. The range is told from the values: 0…1, 0…255 or 0…65535."""
    grey = np.nan_to_num(samples.astype(np.float32))
    high = float(grey.max(initial=0.0))
    factor = 1 / 257 if samples.dtype == np.uint16 or high > 255 else 255.0 if high <= 1 and samples.dtype.kind == "f" else 1.0
    eight: NDArray[np.uint8] = np.clip(np.rint(grey * factor), 0, 255).astype(np.uint8)
    return eight


def _pdf_pages(data: bytes, settings: ImageSettings) -> list[Drawn]:
    with _PDFIUM:
        try:
            document = pdfium.PdfDocument(data)
        except pdfium.PdfiumError as e:
            # PDFium keeps the error of an earlier document, so the code alone proves nothing.
            if getattr(e, "err_code", None) == pdfium.raw.FPDF_ERR_PASSWORD and b"/Encrypt" in data:
                raise PasswordProtected("The PDF asks for a password.") from e
            raise
        try:
            if len(document) > settings.max_pages:
                raise TooManyPages(f"The PDF has {len(document)} pages; the limit is {settings.max_pages}.")
            if len(document) == 0:
                raise UnreadableImage("The PDF has no pages.")
            document.init_forms()  # so that filled-in form fields are drawn
            return [_pdf_page(document, number, settings) for number in range(len(document))]
        finally:
            document.close()


def _pdf_page(document: pdfium.PdfDocument, number: int, settings: ImageSettings) -> Drawn:
    """Draw one page at the size at which it is read; its "original" is the page at `settings.pdf_dpi`."""
    page = document[number]
    try:
        points = page.get_size()
        if not all(0 < side < float("inf") for side in points):
            raise UnreadableImage(f"Page {number + 1} of the PDF has no area.")
        width, height = (max(1, round(side * settings.pdf_dpi / 72)) for side in points)
        fits = min(1.0, settings.long_side / max(width, height), (settings.max_pixels / (width * height)) ** 0.5)
        bitmap = page.render(scale=settings.pdf_dpi / 72 * fits, rev_byteorder=True)
        pixels: NDArray[np.uint8] = np.array(bitmap.to_numpy()[..., :3])  # a copy: the bitmap's memory goes with it
        bitmap.close()
        return pixels, width, height
    finally:
        page.close()
