"""Decode image files into small upright pixels. The memory for decoding is estimated from the header and reserved first.

JPEG, PNG, BMP, GIF (first frame) and TIFF (pages) are decoded by Pillow; WebP (first frame) by OpenCV, because the decoder of
Pillow needs 16 bytes per pixel and holds the GIL; HEIC by libheif; AVIF (first frame) by the libavif in Pillow.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from hunyuanocr.config import ImageSettings
from hunyuanocr.cpu_count import usable_cpus
from hunyuanocr.errors import ImageTooLarge, TooManyPages, UnreadableImage
from hunyuanocr.images.cancellation import Cancellation
from hunyuanocr.images.incomplete import MAX_MISSING, JpegImage, jpeg_stream, load_partial
from hunyuanocr.images.memory import DecodingMemory
from hunyuanocr.images.orientation import orientation_of, upright
from hunyuanocr.images.raster import BAND_BYTES, BAND_PIXELS, ArrayRaster, PillowRaster, Raster, reduced
from hunyuanocr.images.structure import (
    check_bmp,
    check_compression,
    check_gif,
    check_png,
    check_scans,
    jpeg_scans,
    tiff_pages,
)
from hunyuanocr.malloc import trim_memory

Mode = Literal["RGB", "L"]

_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2, "I;16N": 2}  # bytes per pixel in Pillow; 4 in other modes
_LARGE = 32_000_000  # bytes; after larger images free memory is returned to the system
_COEFFICIENT_BYTES = 2  # libjpeg stores those of the whole image if it has several scans
_WEBP_BYTES, _HEIC_BYTES, _AVIF_BYTES = 6, 5, 10  # per pixel, measured, including buffers of the decoder
_ALPHA_BYTES, _AVIF_ALPHA_BYTES = 8, 13  # with alpha; 8 with more than 8 bits too


class Decoded(NamedTuple):
    """Pixels, width and height of the upright original, and whether the file ends before the image does."""

    pixels: NDArray[np.uint8]
    width: int
    height: int
    incomplete: bool = False


# Plugin classes are called directly, because `Image.open` adds the pixel limit of Pillow.
_PILLOW: dict[str, Callable[[io.BytesIO], ImageFile.ImageFile]] = {
    "JPEG": JpegImage,
    "PNG": PngImagePlugin.PngImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
}
_CHECKS: dict[str, Callable[[bytes], None]] = {"PNG": check_png, "GIF": check_gif, "BMP": check_bmp}
KINDS = (*_PILLOW, "WebP", "HEIC", "AVIF")


@dataclass(frozen=True)
class _Opened:
    """An image with parsed header: stored size, orientation, bytes needed for decoding, and the decode function."""

    width: int
    height: int
    orientation: int
    needed: int
    decode: Callable[[], Raster]
    close: Callable[[], None]  # frees the decoded pixels


def picture_pages(
    data: bytes, kind: str, settings: ImageSettings, memory: DecodingMemory, cancellation: Cancellation
) -> Iterator[Decoded]:
    """Yield the pages of an image file (only a TIFF has more than one), decoded during iteration. Blocking.

    Raise ImageTooLarge, TooManyPages, DocumentTooComplex, DecodingBusy, WorkCancelled, and exceptions of decoders.
    """
    if kind != "TIFF":
        yield picture(data, kind, settings, memory, cancellation, long_side=settings.long_side)
        return
    found = tiff_pages(data, settings.max_pages)
    if len(found) > settings.max_pages:
        raise TooManyPages(f"The TIFF has more than {settings.max_pages} pages.")
    for page in found:
        cancellation.check()
        check_compression(page)
        with _PILLOW[kind](io.BytesIO(data)) as image:  # opened for each page, because closing frees the pixels
            image.seek(page.number)
            turned = 1 if page.orientation == 1 else 2  # Pillow rotates the whole image, which needs a copy
            opened = _opened_pillow(image, _size(image.size, settings), extra=page.buffer_bytes, orientation=1, copies=turned)
            yield _decoded(opened, memory, cancellation, settings.long_side, "RGB")


def picture(
    data: bytes,
    kind: str,
    settings: ImageSettings,
    memory: DecodingMemory,
    cancellation: Cancellation,
    *,
    long_side: int,
    mode: Mode = "RGB",
) -> Decoded:
    """Decode one image (not TIFF), scaled down to `long_side` (longer side): uint8 [h, w, 3], or [h, w] for mode L."""
    if kind == "WebP":
        return _decoded(_opened_webp(data, settings), memory, cancellation, long_side, mode)
    if kind in ("HEIC", "AVIF"):
        opened = _opened_heic(data, settings) if kind == "HEIC" else _opened_avif(data, settings)
        return _decoded(opened, memory, cancellation, long_side, mode)
    _CHECKS.get(kind, _unchecked)(data)
    scans, has_end = jpeg_scans(data) if kind == "JPEG" else (0, True)
    stream, extra = jpeg_stream(data) if kind == "JPEG" else (io.BytesIO(data), 0)
    with _PILLOW[kind](stream) as image:
        width, height = _size(image.size, settings)
        check_scans(scans, width, height)
        extra += _coefficients(image) if scans > 1 else 0
        if isinstance(image, JpegImage):
            image.has_end = has_end
            # Decodes at ½, ¼ or ⅛ of the size if that is enough.
            image.draft("L" if mode == "L" else None, fit(width, height, long_side, mode))
        copies = 3 if kind == "BMP" and image.info.get("compression") else 1
        opened = _opened_pillow(image, (width, height), extra=extra, orientation=orientation_of(image), copies=copies)
        return _decoded(opened, memory, cancellation, long_side, mode)


def fit(width: float, height: float, long_side: int, mode: Mode = "RGB") -> tuple[int, int]:
    """Return columns and rows of the image scaled down to `long_side` (longer side); at least 1 × 1, never upscaled.

    A page (RGB) 3 to 40 times as long as wide may be longer, so that its letters stay readable: its shorter side is a third of
    `long_side`, as far as it has no more pixels than a square page.
    """
    ratio = max(width, height) / min(width, height)
    longer = min(ratio / 3, ratio**0.5) if 3 < ratio <= 40 and mode == "RGB" else 1.0
    scale = min(1.0, long_side * longer / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _decoded(opened: _Opened, memory: DecodingMemory, cancellation: Cancellation, long_side: int, mode: Mode) -> Decoded:
    pixels = opened.width * opened.height
    band = BAND_BYTES * min(pixels, max(BAND_PIXELS, opened.width))
    columns, rows = fit(opened.width, opened.height, long_side, mode)
    with memory.reserved(opened.needed + band + 3 * columns * rows, cancellation):
        raster = opened.decode()
        missing = raster.missing
        if missing is not None and missing > MAX_MISSING:
            raise UnreadableImage(f"The file ends early: {missing:.0%} of the image is missing.")
        small = reduced(raster, (columns, rows), mode)
        opened.close()
        if opened.needed > _LARGE:
            trim_memory()  # the next image may use another arena; takes some milliseconds
        if opened.orientation == 1:
            return Decoded(small, opened.width, opened.height, missing is not None)
        turned, width, height = upright(Image.fromarray(small), opened.orientation, opened.width, opened.height)
        return Decoded(np.array(turned), width, height, missing is not None)


def _unchecked(data: bytes) -> None:
    return


def _nothing() -> None:
    return


def _size(size: tuple[int, int], settings: ImageSettings) -> tuple[int, int]:
    width, height = size
    if width * height > settings.max_pixels:
        raise ImageTooLarge(f"The image has {width} × {height} pixels; the limit is {settings.max_pixels} in total.")
    return width, height


def _opened_pillow(image: ImageFile.ImageFile, size: tuple[int, int], *, extra: int, orientation: int, copies: int) -> _Opened:
    """`size`: full size before scaled decoding; `extra`: bytes needed in addition to `copies` of the image."""
    width, height = size
    columns, rows = image.size
    needed = columns * rows * _BYTES.get(image.mode, 4) * copies + extra

    def decode() -> Raster:
        missing = load_partial(image)
        return PillowRaster(image, missing)

    return _Opened(width, height, orientation, needed, decode, image.close)


def _coefficients(image: ImageFile.ImageFile) -> int:
    """Return the bytes of all coefficients of a JPEG; `layer` has the sampling factors of each component."""
    sampling = [(across, down) for _, across, down, _ in getattr(image, "layer", [])]
    if not sampling:
        return 0
    max_sampling = max(across for across, _ in sampling) * max(down for _, down in sampling)
    samples: float = image.size[0] * image.size[1] * sum(across * down for across, down in sampling) / max_sampling
    return round(samples) * _COEFFICIENT_BYTES


def _opened_webp(data: bytes, settings: ImageSettings) -> _Opened:
    with WebPImagePlugin.WebPImageFile(io.BytesIO(data)) as image:  # nothing is decoded yet
        width, height = _size(image.size, settings)
        orientation = orientation_of(image)
        needed = width * height * (_WEBP_BYTES if image.mode == "RGB" else _ALPHA_BYTES)

    def decode() -> Raster:
        import cv2  # noqa: PLC0415 -- needs 40 MB, only for WebP

        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if pixels is None or pixels.shape[:2] != (height, width):
            raise ValueError("not decodable")
        return ArrayRaster(pixels, bgr=True)

    return _Opened(width, height, orientation, needed, decode, _nothing)


def _opened_heic(data: bytes, settings: ImageSettings) -> _Opened:
    from pi_heif import open_heif  # noqa: PLC0415

    found: Any = open_heif(data, convert_hdr_to_8bit=True)
    image: Any = found[found.primary_index]
    width, height = _size(image.size, settings)
    deep = image.mode != "RGB" or int(image.info.get("bit_depth", 8)) > 8

    def decode() -> Raster:
        pixels = np.asarray(image.data)
        columns, rows = _size(image.size, settings)  # the size is certain only after decoding
        channels = len(image.mode)
        shown = pixels.reshape(rows, image.stride)[:, : columns * channels]
        return ArrayRaster(shown.reshape(rows, columns, channels) if channels > 1 else shown)

    def close() -> None:
        nonlocal found, image
        found = image = None

    return _Opened(width, height, 1, width * height * (_ALPHA_BYTES if deep else _HEIC_BYTES), decode, close)


def _opened_avif(data: bytes, settings: ImageSettings) -> _Opened:
    """Open an AVIF with the decoder of Pillow, not with its plugin, which would parse all EXIF entries."""
    from PIL import _avif  # noqa: PLC0415

    decoder: Any = _avif.AvifDecoder(data, "auto", usable_cpus())
    size, _, mode, _, _, orientation, _ = decoder.get_info()
    width, height = _size(size, settings)

    def decode() -> Raster:
        pixels = np.frombuffer(decoder.get_frame(0)[0], np.uint8)
        return ArrayRaster(pixels.reshape(height, width, len(mode)) if len(mode) > 1 else pixels.reshape(height, width))

    def close() -> None:
        nonlocal decoder
        decoder = None

    needed = width * height * (_AVIF_ALPHA_BYTES if mode.endswith("A") else _AVIF_BYTES)
    return _Opened(width, height, orientation, needed, decode, close)
