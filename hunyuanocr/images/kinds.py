"""What a file is, by its first bytes."""

from __future__ import annotations

from hunyuanocr.config import ImageSettings
from hunyuanocr.errors import EmptyInput, ImageTooLarge, UnsupportedMedia

_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


def sniff(data: bytes) -> str | None:
    """The type by the first bytes, never by name or header: one of `pictures.KINDS`, "PDF", or None."""
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


def kind_of(data: bytes, settings: ImageSettings) -> str:
    """The type of an upload within the limit of bytes. Raises EmptyInput, ImageTooLarge, UnsupportedMedia."""
    if not data:
        raise EmptyInput("The file is empty.")
    if len(data) > settings.max_bytes:
        raise ImageTooLarge(f"The file has {len(data)} bytes; the limit is {settings.max_bytes}.")
    kind = sniff(data)
    if kind is None:
        raise UnsupportedMedia("The file is no picture and no PDF that can be read here.")
    return kind
