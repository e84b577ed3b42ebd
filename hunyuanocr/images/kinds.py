"""Detection of the file type by content."""

from __future__ import annotations

import re

from hunyuanocr.config import ImageSettings
from hunyuanocr.errors import EmptyInput, ImageTooLarge, UnsupportedMedia

_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_AVIF_BRANDS = (b"avif", b"avis")
_STARTS = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"BM", "BMP"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
)
_MAX_JUNK = 1024  # bytes before the header, as PDF readers accept them
_BLANK = re.compile(rb"(?:\xef\xbb\xbf|\xff\xfe|\xfe\xff)?[\t\n\r ]{0,1024}")  # byte order mark, line ends
# JPEG and PNG start with bytes that no text contains, so text may precede them: the headers of a part or of a frame.
_TEXT = re.compile(rb"(?:\xef\xbb\xbf|\xff\xfe|\xfe\xff)?[\0\t\n\r -~]{1,1024}?(?=\xff\xd8\xff|\x89PNG\r\n\x1a\n)")


def sniff(data: bytes) -> str | None:
    """Return the file type by its first bytes: one of `pictures.KINDS`, "PDF", or None. Names and headers are ignored."""
    return _located(data)[0]


def kind_of(data: bytes, settings: ImageSettings) -> tuple[str, bytes]:
    """Return the type of an upload, and its data without junk before the header.

    Raise EmptyInput, ImageTooLarge (bytes) or UnsupportedMedia.
    """
    if not data:
        raise EmptyInput("The file is empty.")
    if len(data) > settings.max_bytes:
        raise ImageTooLarge(f"The file has {len(data)} bytes; the limit is {settings.max_bytes}.")
    kind, start = _located(data)
    if kind is None:
        raise UnsupportedMedia("The file is neither a supported image nor a PDF.")
    return kind, data[start:]  # the same object where nothing precedes it


def _located(data: bytes) -> tuple[str | None, int]:
    """Return the file type and the offset of its header."""
    kind = _kind_at(data, 0)
    if kind is not None:
        return kind, 0
    if b"%PDF-" in data[:_MAX_JUNK]:
        return "PDF", 0  # the PDF library skips the junk itself
    blank, text = _BLANK.match(data), _TEXT.match(data)
    start = text.end() if text is not None else blank.end() if blank is not None else 0
    kind = _kind_at(data, start) if start else None
    return (None, 0) if kind == "BMP" else (kind, start)  # two letters are no proof inside of a text


def _kind_at(data: bytes, at: int) -> str | None:
    head = data[at : at + 64]
    for start, kind in _STARTS:
        if head.startswith(start):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    if head[4:8] != b"ftyp":
        return None
    major, brands = head[8:12], {head[i : i + 4] for i in range(16, len(head), 4)}
    if major in _AVIF_BRANDS or (major not in _HEIF_BRANDS[:6] and not brands.isdisjoint(_AVIF_BRANDS)):
        return "AVIF"
    return "HEIC" if major in _HEIF_BRANDS or not brands.isdisjoint(_HEIF_BRANDS) else None
