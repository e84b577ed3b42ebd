"""Line items and their sums in cents, so that every receipt adds up."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from synthesis import lexicon_en as en
from synthesis import lexicon_zh as zh
from synthesis.document import Language

NOTES = (1, 500, 1000, 2000, 5000, 10000)  # cash payments: the exact sum, or notes of 5, 10 … 100
DIGITS = "零壹贰叁肆伍陆柒捌玖"
UNITS = ("", "拾", "佰", "仟")


@dataclass(frozen=True)
class Item:
    """A line item. `quantity` is as printed ("2", "0.526"); `price` and `amount` are in cents."""

    name: str
    quantity: str
    price: int
    amount: int
    unit: str = ""
    note: str = ""


@dataclass(frozen=True)
class Sums:
    """Cents. total = items − discount + service + fee + tax − rounding; paid − change = total."""

    items: int
    discount: int = 0
    service: int = 0
    fee: int = 0
    tax: int = 0
    rounding: int = 0
    total: int = 0
    paid: int = 0
    change: int = 0


def _zh_name(rng: random.Random, variant: str) -> tuple[str, float]:
    if variant == "restaurant":
        return _dish(rng)
    if variant == "pharmacy":
        name, price, (pack, _) = rng.choice(zh.DRUGS)
        return name if rng.random() < 0.4 else f"{name} {pack}", price
    if rng.random() < 0.15:
        return rng.choice(zh.MIXED)
    if variant == "retail":
        return rng.choice(zh.RETAIL)
    name, price, sizes = rng.choice(zh.GOODS)
    brand = rng.choice(zh.GOODS_BRANDS) if rng.random() < 0.6 else ""
    return brand + name + (rng.choice(("", " ")) + rng.choice(sizes) if rng.random() < 0.6 else ""), price


def _dish(rng: random.Random) -> tuple[str, float]:
    roll = rng.random()
    if roll < 0.1:
        return rng.choice(zh.MIXED_DISHES)
    if roll < 0.5:
        food, price = rng.choice(zh.FOODS)
        return rng.choice(zh.COOKS) + food + rng.choice(("", "", "", "(大)", "（小份）", "(例)")), price
    return rng.choice(zh.DISHES)


def _en_name(rng: random.Random, variant: str) -> tuple[str, float]:
    if variant == "pharmacy":
        name, price, (pack, _) = rng.choice(en.DRUGS)
        return f"{name} {pack}", price
    name, price = rng.choice({"restaurant": en.MENU, "retail": en.RETAIL}.get(variant, en.GOODS))
    return (name.upper() if rng.random() < 0.3 else name), price


def _price(rng: random.Random, typical: float) -> int:
    cents = round(typical * 100 * rng.uniform(0.6, 1.7))
    step = rng.choice((100, 50, 10, 10, 1)) if cents > 200 else 10
    return max(step, cents // step * step)


def item(rng: random.Random, language: Language, variant: str) -> Item:
    """Create a line item; in food shops some are sold by weight."""
    if variant in {"supermarket", "convenience"} and rng.random() < 0.15:
        name, typical = rng.choice(zh.FRESH if language == "zh" else en.FRESH)
        price, grams = _price(rng, typical), rng.randint(80, 2600)
        return Item(name, f"{grams / 1000:.3f}", price, (price * grams + 500) // 1000, unit="kg")
    name, typical = (_zh_name if language == "zh" else _en_name)(rng, variant)
    price, count = _price(rng, typical), rng.choices((1, 2, 3, 4, 6, 10, 12), (60, 20, 8, 5, 3, 2, 2))[0]
    return Item(name, str(count), price, price * count)


def basket(rng: random.Random, language: Language, variant: str) -> tuple[Item, ...]:
    """Create one to twelve different items."""
    count = rng.choices(range(1, 13), (5, 9, 12, 13, 12, 10, 8, 6, 5, 3, 2, 2))[0]
    found: dict[str, Item] = {}
    while len(found) < count:
        one = item(rng, language, variant)
        found.setdefault(one.name, one)
    return tuple(found.values())


def add_up(rng: random.Random, language: Language, variant: str, items: Sequence[Item]) -> Sums:
    """Calculate discount, service, tax, rounding, payment and change for these items."""
    subtotal = sum(one.amount for one in items)
    discount = int(subtotal * rng.choice((0.05, 0.1, 0.12, 0.2))) if rng.random() < 0.35 else 0
    base = subtotal - discount
    dines, zh_ = variant == "restaurant", language == "zh"
    service = base // 10 if dines and rng.random() < (0.15 if zh_ else 0.35) else 0
    fee = rng.choice((50, 100, 200, 300, 500)) if dines and not service and rng.random() < 0.2 else 0
    rate = rng.choice((0.06, 0.08, 0.09, 0.075, 0.2)) if not zh_ and rng.random() < 0.55 else 0.0
    tax = round((base + service) * rate)
    due = base + service + fee + tax
    rounding = due % 10 if rng.random() < 0.2 and due > 100 else 0
    total = due - rounding
    note = rng.choice([n for n in NOTES if n * 6 > total] or NOTES[-1:])
    paid = total if rng.random() < 0.45 else -(-total // note) * note
    return Sums(subtotal, discount, service, fee, tax, rounding, total, paid, paid - total)


def in_words(cents: int) -> str:
    """Return an amount in Chinese capital numerals: 3680 → 叁拾陆元捌角整."""
    yuan, jiao, fen = cents // 100, cents // 10 % 10, cents % 10
    text, digits = "", str(yuan)
    for place, digit in zip(range(len(digits) - 1, -1, -1), digits, strict=True):
        if digit != "0":
            text += DIGITS[int(digit)] + UNITS[place % 4]
        elif text and not text.endswith("零"):
            text += "零"
        if place == 4:
            text = text.rstrip("零") + "万"
    text = text.rstrip("零") + "元" if yuan else ""
    if jiao:
        text += DIGITS[jiao] + "角"
    elif fen and text:
        text += "零"
    return text + (DIGITS[fen] + "分" if fen else "整")
