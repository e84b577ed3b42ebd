"""The orientation of an image from its EXIF or XMP tag. No other metadata is parsed."""

from __future__ import annotations

import re
import struct

from PIL import Image

_ORIENTATION = 0x0112  # EXIF 2.3: a SHORT in the first directory
_XMP = re.compile(r'tiff:Orientation(?:="|>)([1-8])')
_MAX_ENTRIES = 4096
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def orientation_of(image: Image.Image) -> int:
    """Return the EXIF orientation 1…8 of an opened image; 1 if the tag is missing or invalid."""
    info = image.info
    exif = info.get("exif")
    profile = info.get("Raw profile type exif")  # written into PNG by ImageMagick
    if exif is None and isinstance(profile, str):
        try:
            exif = bytes.fromhex("".join(profile.split("\n")[3:]))
        except ValueError:
            exif = None
    orientation = _exif_orientation(exif) if isinstance(exif, bytes) else None
    if orientation is None:
        xmp = info.get("XML:com.adobe.xmp") or info.get("xmp")
        text = xmp.decode("latin-1") if isinstance(xmp, bytes) else xmp
        match = _XMP.search(text) if isinstance(text, str) else None
        orientation = None if match is None else int(match[1])
    return 1 if orientation is None else orientation


def _exif_orientation(exif: bytes) -> int | None:
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return None
    try:
        (at,) = struct.unpack_from(order + "I", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, at)
        for offset in range(at + 2, at + 2 + 12 * min(count, _MAX_ENTRIES), 12):
            tag, kind = struct.unpack_from(order + "HH", tiff, offset)
            if tag == _ORIENTATION:
                (value,) = struct.unpack_from(order + ("I" if kind == 4 else "H"), tiff, offset + 8)
                return int(value) if 1 <= value <= 8 else None
    except struct.error:
        return None
    return None


def upright(flat: Image.Image, orientation: int, width: int, height: int) -> tuple[Image.Image, int, int]:
    """Apply an EXIF orientation. Return the image and the original's `width` and `height`, swapped for rotations by 90°."""
    transpose = _UPRIGHT.get(orientation)
    if transpose is None:
        return flat, width, height
    if transpose.value >= Image.Transpose.ROTATE_90 and transpose is not Image.Transpose.ROTATE_180:
        width, height = height, width
    return flat.transpose(transpose), width, height
