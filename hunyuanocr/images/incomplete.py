"""Images whose file ends early: decode the rows that are there and measure how many are missing.

A camera or an upload that stops early often loses only the end marker. Such a picture is read with a warning. Where more than
`MAX_MISSING` of the rows is missing, the file is refused: totals and stamps are in the lower part of receipts and invoices, so a
new photo helps more than a partial answer.
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, JpegImagePlugin

MAX_MISSING = 0.25  # share of the rows
_MIN_GRAY = 0.05  # share of the rows at the bottom that are gray although the file has an end marker
_ROWS = 64  # examined at a time
_PARTIAL = ("PNG", "BMP", "TIFF")  # formats of which Pillow stores the rows decoded before the end of the data


class JpegImage(JpegImagePlugin.JpegImageFile):
    """A JPEG plugin that decodes files without an end marker, and does not read the resolution from EXIF.

    For the resolution Pillow would parse all EXIF entries.
    """

    has_end = True  # whether the file has an end marker
    _end_added = False

    def _read_dpi_from_exif(self) -> None:
        return

    def load_read(self, read_bytes: int) -> bytes:
        """Return the next bytes; after the last ones an end marker, once. libjpeg fills missing blocks with gray."""
        data: bytes = self.fp.read(read_bytes) if self.fp is not None else b""
        if data or self._end_added:
            return data
        self._end_added = True
        return b"\xff\xd9"


def jpeg_stream(data: bytes) -> tuple[io.BytesIO, int]:
    """Return a JPEG without trailing zero bytes (a buffer that was not filled), and the bytes that the copy needs."""
    used = data.rstrip(b"\0") if data.endswith(b"\0") else data
    return io.BytesIO(used), 0 if used is data else len(used)


def load_partial(image: ImageFile.ImageFile) -> float | None:
    """Decode `image`. Return None if it is complete, otherwise the share of rows that are missing, 0…1.

    Raise the exceptions of decoders.
    """
    from_bottom = _is_bottom_up(image)
    try:
        image.load()
    except OSError as e:
        if image.format not in _PARTIAL or not str(e).startswith("image file is truncated") or image.info.get("interlace"):
            raise
        image.tile = []  # nothing else is decoded; rows that were not reached are zero
        return _filled_rows(image, (0,), top=from_bottom) / image.size[1]
    if not isinstance(image, JpegImage):
        return None
    gray = _filled_rows(image, (127, 128), top=False) / image.size[1]
    return gray if not image.has_end or _MIN_GRAY <= gray < 1 else None


def _is_bottom_up(image: ImageFile.ImageFile) -> bool:
    args = image.tile[0].args if image.tile else None
    return isinstance(args, tuple) and len(args) == 3 and args[2] == -1


def _filled_rows(image: Image.Image, values: tuple[int, ...], *, top: bool) -> int:
    """Return the number of rows at the bottom (or top) of which all samples have one of `values`."""
    width, height = image.size
    for start in range(0, height, _ROWS):
        end = min(height, start + _ROWS)
        area = (0, start, width, end) if top else (0, height - end, width, height - start)
        samples: NDArray[np.generic] = np.asarray(image.crop(area))
        filled: NDArray[np.bool_] = np.logical_and.reduce(np.isin(samples, values).reshape(end - start, -1), axis=1)
        ordered = filled if top else filled[::-1]
        if not ordered.all():
            return start + int(ordered.argmin())
    return height
