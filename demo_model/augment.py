"""Augmentations of the demo's receipts: light, wear, compression. They do not move text."""

from __future__ import annotations

import random

import cv2
import numpy as np
from numpy.typing import NDArray

from synthesis import augment

Image = NDArray[np.uint8]

# Degradations that do not move text, so that its coordinates stay valid.
WEAR = ("thermal_fade", "fold", "crumple", "shadow", "glare", "low_light", "defocus", "motion", "jpeg")


def photographed(image: Image, rng: random.Random) -> Image:
    """Apply slight noise, slight blur and mild compression, each with some probability."""
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
    """Apply one or two degradations of WEAR; return the image and their names. Those of ALTERNATIVES are not combined."""
    first, second = rng.sample(WEAR, 2)
    clash = any({first, second} <= group for group in augment.ALTERNATIVES)
    chosen = {first} if clash or rng.random() < 0.6 else {first, second}
    names = tuple(name for name in augment.ORDER if name in chosen)
    generator, points = np.random.default_rng(rng.getrandbits(32)), np.zeros((0, 2))
    for name in names:
        image, points = augment.ORDER[name](image, points, generator)
    return np.ascontiguousarray(image), names
