"""Checks of the file structure before decoding.

The time of decoders is linear in the pixels, but not in other parts: a JPEG of 30 MB may contain 400,000 scans of the whole
image, a TIFF of 600 KB a directory that refers to the same half megabyte 2,000 times, a GIF a comment that is copied per block.
Legitimate files are far below all limits here.
"""

from __future__ import annotations

import re
import struct
from contextlib import suppress
from dataclasses import dataclass

from hunyuanocr.errors import DocumentTooComplex, UnreadableImage, UnsupportedCompression

_JPEG_MARKER = re.compile(rb"\xff[\x01-\xfe]")
_JPEG_AFTER_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # neither a stuffed byte nor a restart marker
_JPEG_BARE = frozenset((0x01, *range(0xD0, 0xD9)))  # markers without a length
_JPEG_SCAN, _JPEG_END = 0xDA, 0xD9
_JPEG_UNSUPPORTED = frozenset((0xC3, 0xC5, 0xC6, 0xC7, 0xCB, 0xCD, 0xCE, 0xCF))  # frame headers
_MAX_SEGMENTS = 4096  # a color profile has up to 255, a depth map some hundred
_FREE_SCANS = 20  # always allowed; a progressive JPEG has about ten
_MAX_SCANNED_PIXELS = 2_000_000_000  # in all scans; takes 1 to 2 seconds
_MAX_PNG_CHUNKS = 65_536
_MAX_GIF_EXTENSIONS = 1_000_000  # bytes before the first frame
_MAX_RLE_BYTES = 4_000_000  # decoded in Python, 0.4 s per megabyte
_MAX_ENTRIES = 4096  # of a TIFF directory
_MAX_VALUES = 65_536  # of an entry (strips or tiles); an A4 page at 600 dpi in strips of one row has 7,016
_TIFF_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_BYTE_TYPES = (1, 2, 6, 7)
_COPY, _MASK = 1, 4  # bits of NewSubfileType (254): a copy with lower resolution, a transparency mask
_OLD_COPY = 2  # value of SubfileType (255)
_SPARE_DIRECTORIES = 64  # of copies and masks, besides one for each page
_COMPRESSIONS = frozenset((1, 2, 3, 4, 5, 6, 7, 8, 32771, 32773, 32946, 34925, 50000, 50001))  # that Pillow decodes
_COMPRESSION_NAMES = {
    32766: "NeXT", 32809: "ThunderScan", 33003: "JPEG 2000", 33005: "JPEG 2000", 34661: "JBIG", 34676: "SGI LogLuv",
    34677: "SGI LogLuv", 34712: "JPEG 2000", 34715: "JBIG2", 34887: "LERC", 34892: "lossy JPEG of DNG", 50002: "JPEG XL",
    52546: "JPEG XL",
}  # fmt: skip
_LAYOUT = (258, 273, 279, 324, 325)  # bits of the samples; offsets and sizes of strips and tiles
_SUBDIRECTORIES = (34665, 34853, 40965)  # EXIF, GPS, interoperability: Pillow reads them too


def check_png(data: bytes) -> None:
    """Raise DocumentTooComplex for a PNG with too many chunks."""
    at = 8
    for _ in range(_MAX_PNG_CHUNKS):
        if at + 8 > len(data) or data[at + 4 : at + 8] == b"IEND":  # data after the end is not read
            return
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    raise DocumentTooComplex(f"The PNG has more than {_MAX_PNG_CHUNKS} chunks.")


def check_gif(data: bytes) -> None:
    """Raise DocumentTooComplex for a GIF with too many extension bytes before its first frame."""
    at = 13 + (3 * 2 ** ((data[10] & 7) + 1) if len(data) > 10 and data[10] & 0x80 else 0)
    start = at
    while data[at : at + 1] == b"\x21":
        at += 2
        while at < len(data) and data[at]:
            at += 1 + data[at]
            if at - start > _MAX_GIF_EXTENSIONS:
                raise DocumentTooComplex("The GIF has too much data before its first frame.")
        at += 1


def check_bmp(data: bytes) -> None:
    """Raise DocumentTooComplex for a large BMP with run-length encoding."""
    if len(data) > _MAX_RLE_BYTES and int.from_bytes(data[30:34], "little") in (1, 2) and data[14:18] != b"\x0c\0\0\0":
        raise DocumentTooComplex("The BMP is run-length encoded and too large for this encoding.")


def jpeg_scans(data: bytes) -> tuple[int, bool]:
    """Return the number of scans of a JPEG, and whether it has an end marker.

    Raise DocumentTooComplex for too many segments, UnsupportedCompression for a process that libjpeg does not decode.
    """
    at = 2
    scans = 0
    for _ in range(_MAX_SEGMENTS):
        match = _JPEG_MARKER.search(data, at)
        if match is None:
            return scans, False
        at, marker = match.end(), data[match.end() - 1]
        if marker == _JPEG_END:
            return scans, True
        if marker in _JPEG_BARE:
            continue
        if marker in _JPEG_UNSUPPORTED:
            raise UnsupportedCompression("The JPEG is lossless or hierarchical, which is not supported.")
        at += int.from_bytes(data[at : at + 2], "big")
        if marker == _JPEG_SCAN:
            scans += 1
            after = _JPEG_AFTER_SCAN.search(data, at)
            if after is None:
                return scans, False
            at = after.start()
    raise DocumentTooComplex(f"The JPEG has more than {_MAX_SEGMENTS} segments.")


def check_scans(scans: int, width: int, height: int) -> None:
    """Raise DocumentTooComplex for a JPEG with too many scans for its size."""
    if scans > max(_FREE_SCANS, _MAX_SCANNED_PIXELS / max(1, width * height)):
        raise DocumentTooComplex(f"The JPEG of {width} × {height} pixels is stored in {scans} scans.")


@dataclass(frozen=True)
class TiffPage:
    """A directory of a TIFF. `buffer_bytes` is the size of its largest strip or tile."""

    number: int
    buffer_bytes: int
    orientation: int  # as in EXIF
    compression: int  # tag 259
    reduced: bool  # a copy with lower resolution, or a mask: not a page of its own


def tiff_pages(data: bytes, max_pages: int) -> list[TiffPage]:
    """Return the pages of a TIFF or BigTIFF (TIFF 6.0, section 2), at most `max_pages` + 1, without reduced copies.

    Raise DocumentTooComplex for excessive directories, UnreadableImage for truncated ones.
    """
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    directories: list[TiffPage] = []
    pages: list[TiffPage] = []
    try:
        (at,) = struct.unpack_from(order + "Q", data, 8) if big else struct.unpack_from(order + "I", data, 4)
        while at and len(pages) <= max_pages:
            if len(directories) > 2 * max_pages + _SPARE_DIRECTORIES:
                raise DocumentTooComplex(f"The TIFF has more than {len(directories) - 1} directories.")
            page, at = _tiff_page(data, at, (order, big), len(directories))
            directories.append(page)
            pages += [] if page.reduced else [page]
    except struct.error as e:
        raise UnreadableImage("The TIFF is incomplete.") from e
    return pages or directories[: max_pages + 1]


def check_compression(page: TiffPage) -> None:
    """Raise UnsupportedCompression for a page that Pillow cannot decode though it is not damaged."""
    if page.compression not in _COMPRESSIONS:
        name = _COMPRESSION_NAMES.get(page.compression, "unknown")
        raise UnsupportedCompression(f"The TIFF uses the compression {page.compression} ({name}), which is not supported.")


def _tiff_page(data: bytes, at: int, form: tuple[str, bool], page: int, depth: int = 0) -> tuple[TiffPage, int]:
    """Return the directory at `at`, which has the number `page`, and the offset of the next directory (0: none).

    `form` is the byte order of `struct`, and whether the file is a BigTIFF.
    """
    order, big = form
    count_form, entry_form, next_form = ("Q", "HHQ", "Q") if big else ("H", "HHI", "I")
    entry_bytes, inline = (20, 8) if big else (12, 4)
    (count,) = struct.unpack_from(order + count_form, data, at)
    at += struct.calcsize(order + count_form)
    if count > _MAX_ENTRIES:
        raise DocumentTooComplex(f"A directory of the TIFF has {count} entries.")
    values: dict[int, int] = {}
    external_bytes = 0
    for offset in range(at, at + count * entry_bytes, entry_bytes):
        tag, kind, number = struct.unpack_from(order + entry_form, data, offset)
        size = _TIFF_BYTES.get(kind, 0) * number
        if size > len(data):  # damaged; Pillow ignores the rest of it
            continue
        if kind not in _BYTE_TYPES and number > _MAX_VALUES:
            raise DocumentTooComplex(f"An entry of the TIFF has {number} values.")
        value_at = offset + entry_bytes - inline
        if size > inline:
            external_bytes += size
            (value_at,) = struct.unpack_from(order + next_form, data, value_at)
            if depth == 0 and tag in _LAYOUT and value_at + size > len(data):
                raise UnreadableImage("The TIFF is incomplete.")
        if kind in (3, 4, 16) and value_at < 2**62:
            values[tag] = struct.unpack_from(order + {3: "H", 4: "I", 16: "Q"}[kind], data, value_at)[0]
    if external_bytes > len(data):  # entries share their bytes; decoders read each separately
        raise DocumentTooComplex("The directory of the TIFF is larger than the file.")
    for tag in _SUBDIRECTORIES:
        if tag in values and values[tag] < len(data) and depth < 2:
            with suppress(struct.error):  # Pillow ignores damaged ones too
                _tiff_page(data, values[tag], form, page, depth + 1)
    (following,) = struct.unpack_from(order + next_form, data, at + count * entry_bytes)
    reduced = bool(values.get(254, 0) & (_COPY | _MASK)) or values.get(255) == _OLD_COPY
    return TiffPage(page, _tiff_buffer(values), values.get(274, 1), values.get(259, 1), reduced), following


def _tiff_buffer(values: dict[int, int]) -> int:
    """Return the bytes of a tile (tags 322 × 323) or strip (278 rows of 256 pixels) with its samples (277) and bits (258)."""
    width, height = values.get(256, 0), values.get(257, 0)
    pixels = values[322] * values[323] if 322 in values and 323 in values else width * min(height, values.get(278, height))
    return pixels * values.get(277, 1) * max(1, values.get(258, 8) // 8)
