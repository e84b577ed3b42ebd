"""Which way up a picture was taken, from the one tag of its EXIF that says so; the rest of the EXIF is not looked into."""

from __future__ import annotations

import re
import struct

from PIL import Image

_ORIENTATION = 0x0112  # EXIF 2.3, a SHORT in the first directory
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
    """EXIF orientation 1…8 of an opened picture; 1 where it has none, or a broken one: that must not cost the picture."""
    info = image.info
    exif = info.get("exif")
    profile = info.get("Raw profile type exif")  # as ImageMagick wrote it into PNG
    if exif is None and isinstance(profile, str):
        try:
            exif = bytes.fromhex("".join(profile.split("\n")[3:]))
        except ValueError:
            exif = None
    found = _of_exif(exif) if isinstance(exif, bytes) else None
    if found is None:
        xmp = info.get("XML:com.adobe.xmp") or info.get("xmp")
        words = xmp.decode("latin-1") if isinstance(xmp, bytes) else xmp
        match = _XMP.search(words) if isinstance(words, str) else None
        found = None if match is None else int(match[1])
    return 1 if found is None else found


def _of_exif(exif: bytes) -> int | None:
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return None
    try:
        (at,) = struct.unpack_from(order + "I", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, at)
        for place in range(at + 2, at + 2 + 12 * min(count, _MAX_ENTRIES), 12):
            tag, kind = struct.unpack_from(order + "HH", tiff, place)
            if tag == _ORIENTATION:
                (value,) = struct.unpack_from(order + ("I" if kind == 4 else "H"), tiff, place + 8)
                return int(value) if 1 <= value <= 8 else None
    except struct.error:
        return None
    return None


def upright(flat: Image.Image, orientation: int, width: int, height: int) -> tuple[Image.Image, int, int]:
    """Turn the picture as `orientation` says; `width` and `height` of the original change places where it is turned by 90°."""
    turn = _UPRIGHT.get(orientation)
    if turn is None:
        return flat, width, height
    if turn.value >= Image.Transpose.ROTATE_90 and turn is not Image.Transpose.ROTATE_180:
        width, height = height, width
    return flat.transpose(turn), width, height
