"""Detection of the file type by content."""

from __future__ import annotations

from hunyuanocr.config import ImageSettings
from hunyuanocr.errors import EmptyInput, ImageTooLarge, UnsupportedMedia

_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


def sniff(data: bytes) -> str | None:
    """Return the file type by its first bytes: one of `pictures.KINDS`, "PDF", or None. Names and headers are ignored."""
    starts = (
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
    for start, kind in starts:
        if data.startswith(start):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    if data[4:8] == b"ftyp" and (data[8:12] in _HEIF_BRANDS or any(brand in data[16:64] for brand in _HEIF_BRANDS)):
        return "HEIC"
    return "PDF" if b"%PDF-" in data[:1024] else None  # PDF readers accept up to 1 KiB before the header


def kind_of(data: bytes, settings: ImageSettings) -> str:
    """Return the type of an upload. Raise EmptyInput, ImageTooLarge (bytes) or UnsupportedMedia."""
    if not data:
        raise EmptyInput("The file is empty.")
    if len(data) > settings.max_bytes:
        raise ImageTooLarge(f"The file has {len(data)} bytes; the limit is {settings.max_bytes}.")
    kind = sniff(data)
    if kind is None:
        raise UnsupportedMedia("The file is neither a supported image nor a PDF.")
    return kind
