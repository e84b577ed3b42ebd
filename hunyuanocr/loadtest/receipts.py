"""Synthetic receipts, each one different, so that no cache can answer."""

from __future__ import annotations

import io
import random

from PIL import Image, ImageDraw, ImageFont

INSTRUCTION = "extract total amount"
_GOODS = ("Milk", "Bread", "Apples", "Tea", "Rice", "Soap", "Eggs", "Juice")


def receipt(rng: random.Random, width: int = 384) -> tuple[bytes, str]:
    """Return a JPEG and the total that is printed on it, such as '36.80'."""
    goods = rng.sample(_GOODS, rng.randint(2, 5))
    prices = [rng.randint(100, 9999) for _ in goods]
    total = f"{sum(prices) / 100:.2f}"
    rows = ["CORNER SHOP", "2026-03-14", *(f"{name}  {price / 100:.2f}" for name, price in zip(goods, prices, strict=True))]
    rows.append(f"Total: {total}")
    image = Image.new("RGB", (width, 24 + 44 * len(rows)), "white")
    pen = ImageDraw.Draw(image)
    font = ImageFont.load_default(26)
    for n, row in enumerate(rows):
        pen.text((20, 12 + 44 * n), row, fill="black", font=font)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=88)
    return out.getvalue(), total
