"""Receipts as a camera sees them: drawn, lit, and full of the sensor's noise."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont


def receipt(total: str = "36.80", size: tuple[int, int] = (960, 720), letters: int = 18, ink: int = 40) -> np.ndarray:
    """Grey levels, float32 [h, w]: a white slip on a grey desk."""
    width, height = size
    image = Image.new("L", size, 110)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(letters)
    draw.rectangle((width // 4, 30, width * 3 // 4, height - 30), fill=225)
    prices = np.random.default_rng(3)
    y = 50
    while y < height - 100:
        draw.text((width // 4 + 30, y), f"ITEM {prices.integers(1000, 9999)}  {prices.integers(1, 99)}.50", fill=ink, font=font)
        y += int(letters * 1.6)
    draw.text((width // 4 + 30, y), f"TOTAL {total}", fill=ink, font=font)
    return np.asarray(image.filter(ImageFilter.GaussianBlur(0.7)), np.float32)


def shot(scene: np.ndarray, seed: int, noise: float = 4.0, gain: float = 1.0, offset: float = 0.0, quality: int = 80) -> bytes:
    """A JPEG of it."""
    grain = np.random.default_rng(seed).normal(0, noise, scene.shape)
    out = io.BytesIO()
    Image.fromarray(np.clip(scene * gain + offset + grain, 0, 255).astype(np.uint8)).convert("RGB").save(
        out, "JPEG", quality=quality
    )
    return out.getvalue()
