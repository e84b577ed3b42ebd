"""What happens to the demo's receipts between printer and reader: light, wear, compression; every character keeps its place."""

from __future__ import annotations

import random

import cv2
import numpy as np
from numpy.typing import NDArray

from synthesis import augment

Image = NDArray[np.uint8]

# Degradations of the renderer that move nothing, so that the truth of places stays as it is.
WEAR = ("thermal_fade", "fold", "crumple", "shadow", "glare", "low_light", "defocus", "motion", "jpeg")


def photographed(image: Image, rng: random.Random) -> Image:
    """An ordinary picture of a clean receipt: a little noise, a little blur, mild compression, each sometimes."""
    if rng.random() < 0.3:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 0.8)).astype(np.uint8)
    if rng.random() < 0.3:
        noise = np.random.default_rng(rng.getrandbits(32)).standard_normal(image.shape[:2], dtype=np.float32)
        image = np.clip(image + (noise * rng.uniform(1, 6))[..., None], 0, 255).astype(np.uint8)
    if rng.random() < 0.5:
        _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, rng.randint(45, 95)])
        image = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    return image


def worn(image: Image, rng: random.Random) -> tuple[Image, tuple[str, ...]]:
    """(picture, names) after one or two degradations of WEAR, in the renderer's order; those of ALTERNATIVES never meet."""
    first, second = rng.sample(WEAR, 2)
    clash = any({first, second} <= group for group in augment.ALTERNATIVES)
    chosen = {first} if clash or rng.random() < 0.6 else {first, second}
    names = tuple(name for name in augment.ORDER if name in chosen)
    generator, points = np.random.default_rng(rng.getrandbits(32)), np.zeros((0, 2))
    for name in names:
        image, points = augment.ORDER[name](image, points, generator)
    return np.ascontiguousarray(image), names
