"""Synthetic shops, addresses, phone numbers, people and times, composed from parts of the lexicon."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from functools import partial

from synthesis import lexicon_en as en
from synthesis import lexicon_zh as zh
from synthesis.document import Language


def shop(rng: random.Random, language: Language, variant: str) -> str:
    """Return a shop's name, in Chinese often with its branch in brackets."""
    if language == "en":
        stem = f"{rng.choice(en.STEMS_A)} {rng.choice(en.STEMS_B)}" if rng.random() < 0.8 else f"{rng.choice(en.LAST)}'s"
        name = f"{stem} {rng.choice(en.SHOP_KINDS[variant])}"
        return name.upper() if rng.random() < 0.5 else name
    stem = rng.choice(zh.STEMS_A) + rng.choice(zh.STEMS_B)
    city = rng.choice(zh.CITIES) if rng.random() < 0.3 else ""
    name = city + stem + rng.choice(zh.SHOP_KINDS[variant])
    if rng.random() < 0.35:
        place = (
            rng.choice(zh.ROADS) + rng.choice(("路", "街", ""))
            if rng.random() < 0.6
            else rng.choice(zh.DISTRICTS) + rng.choice(zh.PLACES)
        )
        left, right = rng.choice(("（）", "()"))
        name += f"{left}{place}{rng.choice(zh.BRANCH_KINDS)}{right}"
    return name


def hospital(rng: random.Random, language: Language) -> str:
    """Return the name of a hospital or clinic."""
    if language == "en":
        return f"{rng.choice(en.TOWNS)} {rng.choice(en.HOSPITAL_KINDS)}"
    city = rng.choice(zh.CITIES)
    if rng.random() < 0.2:
        return f"{city}{rng.choice(zh.STEMS_A)}{rng.choice(zh.STEMS_B)}{rng.choice(zh.PRIVATE_HOSPITALS)}"
    town = "市" if rng.random() < 0.8 else ""
    district = rng.choice(zh.DISTRICTS) + "区" if rng.random() < 0.4 else ""
    return city + town + district + rng.choice(zh.HOSPITAL_KINDS)


def address(rng: random.Random, language: Language) -> str:
    """Return a street address."""
    number = rng.randint(1, 999)
    if language == "en":
        unit = f"{rng.choice(('Unit', 'No.', 'Lot', '#'))} {rng.randint(1, 60)}, " if rng.random() < 0.4 else ""
        street = f"{rng.choice(en.STREETS)} {rng.choice(en.STREET_KINDS)}"
        return f"{unit}{number} {street}, {rng.choice(en.TOWNS)} {rng.randint(10000, 99999)}"
    city = f"{rng.choice(zh.CITIES)}市" if rng.random() < 0.7 else ""
    tail = f"{rng.choice(zh.ROADS)}{rng.choice(zh.PLACES)}{rng.randint(1, 6)}层" if rng.random() < 0.3 else ""
    return f"{city}{rng.choice(zh.DISTRICTS)}区{rng.choice(zh.ROADS)}{rng.choice(zh.ROAD_KINDS)}{number}号{tail}"


def random_digits(rng: random.Random, count: int) -> str:
    """Return a string of random digits."""
    return "".join(str(rng.randint(0, 9)) for _ in range(count))


def phone(rng: random.Random, language: Language) -> str:
    """Return a phone number in a common format."""
    digits = partial(random_digits, rng)
    if language == "en":
        forms: tuple[str, ...] = (
            f"0{rng.randint(2, 9)}-{digits(4)} {digits(4)}",
            f"({rng.randint(201, 989)}) {rng.randint(200, 999)}-{digits(4)}",
            f"+{rng.choice((44, 60, 65, 1))} {digits(4)} {digits(4)}",
            f"0{rng.randint(2, 9)}-{digits(7)}",
        )
    else:
        forms = (
            f"0{rng.randint(10, 29)}-{rng.randint(2, 8)}{digits(7)}",
            f"1{rng.choice('3578')}{digits(9)}",
            f"400-{digits(3)}-{digits(4)}",
            f"0{rng.randint(311, 998)}-{rng.randint(2, 8)}{digits(6)}",
            f"{rng.randint(2, 8)}{digits(7)}",
        )
    return rng.choice(forms)


def tax_number(rng: random.Random, language: Language) -> str:
    """Return a synthetic tax number."""
    if language == "en":
        return f"{rng.randint(10**8, 10**9 - 1)}"
    region, letter = f"9{rng.randint(1, 9)}{rng.randint(100000, 999999)}", rng.choice("ABHKMNQX")
    return f"{region}{letter}{rng.randint(10**8, 10**9 - 1)}"


def person(rng: random.Random, language: Language) -> str:
    """Return a person's full name."""
    if language == "en":
        return f"{rng.choice(en.FIRST)} {rng.choice(en.LAST)}"
    return rng.choice(zh.SURNAMES) + "".join(rng.choice(zh.GIVEN) for _ in range(rng.choice((1, 2, 2))))


def clerk(rng: random.Random, language: Language) -> str:
    """Return a cashier: a number or a name."""
    if rng.random() < 0.5:
        return f"{rng.randint(1, 9999):04d}" if rng.random() < 0.6 else f"{rng.randint(1, 99):02d}"
    return person(rng, language) if language == "zh" else rng.choice(en.FIRST)


def moment(rng: random.Random) -> datetime:
    """Return a time in opening hours on a day of 2018–2027."""
    day = datetime(2018, 1, 1) + timedelta(days=rng.randrange(3650))
    return day.replace(hour=rng.randint(7, 22), minute=rng.randint(0, 59), second=rng.randint(0, 59))


def written(when: datetime, form: str) -> str:
    """Return a date in a strftime format; {m} and {d} are month and day without a leading zero."""
    return when.strftime(form).replace("{m}", str(when.month)).replace("{d}", str(when.day))


def serial(rng: random.Random, when: datetime) -> str:
    """Return a receipt number: digits, digits after the date, or letters and digits."""
    tail = f"{rng.randint(1, 99999):05d}"
    forms = (
        when.strftime("%Y%m%d") + tail,
        when.strftime("%y%m%d%H%M%S") + tail[:2],
        tail,
        f"{rng.choice(('A', 'B', 'S', 'CS', 'TD', 'NO'))}{tail}",
        f"{rng.randint(100, 999)}-{tail}",
        f"{rng.randint(10**9, 10**10 - 1)}",
    )
    return rng.choice(forms)
