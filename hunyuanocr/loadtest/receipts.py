"""Pictures of text; synthetic receipts, each one different, so that no cache can answer."""

from __future__ import annotations

import io
import random
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

INSTRUCTION = "extract total amount"
_GOODS = ("Milk", "Bread", "Apples", "Tea", "Rice", "Soap", "Eggs", "Juice")


def draw_text(
    rows: Sequence[str], *, font_size: int = 40, width: int = 480, margin: int = 24, spacing: float = 1.7, form: str = "PNG"
) -> bytes:
    """Return a picture of rows of black text on white paper; `spacing`: distance between rows in font sizes."""
    pitch = int(spacing * font_size)
    image = Image.new("RGB", (width, 2 * margin + pitch * len(rows)), "white")
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(font_size)
    for n, row in enumerate(rows):
        pen.text((margin, margin + pitch * n), row, fill="black", font=font)
    out = io.BytesIO()
    image.save(out, form, quality=88)
    return out.getvalue()


def receipt(rng: random.Random, width: int = 384) -> tuple[bytes, str]:
    """Return a JPEG and the total that is printed on it, such as '36.80'."""
    goods = rng.sample(_GOODS, rng.randint(2, 5))
    prices = [rng.randint(100, 9999) for _ in goods]
    total = f"{sum(prices) / 100:.2f}"
    rows = ["CORNER SHOP", "2026-03-14", *(f"{name}  {price / 100:.2f}" for name, price in zip(goods, prices, strict=True))]
    rows.append(f"Total: {total}")
    return draw_text(rows, font_size=26, width=width, margin=12, form="JPEG"), total
