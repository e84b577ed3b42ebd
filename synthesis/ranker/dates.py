"""Dates of generated pages, in the forms of each language."""

from __future__ import annotations

import random

from synthesis.ranker.words import DATES, EAST_ASIAN, MONTHS, cased

FORMS = 8  # forms of dates among which a page chooses
_WITH_NAME = 6  # this form and the following ones have the name of the month; in English also the one before
_POINTS = ("de", "pl", "tr")  # languages that print points between the numbers


def printed_date(rng: random.Random, language: str, form: int) -> str:
    """Return a random date from 2005 to 2027, as printed; `form` is from 0 to FORMS - 1."""
    y, m, d = rng.randint(2005, 2027), rng.randint(1, 12), rng.randint(1, 28)
    if language in EAST_ASIAN:
        forms = DATES[language]
        return forms[form % len(forms)].format(y=y, m=m, d=d, yy=f"{y % 100:02}", roc=y - 1911, reiwa=max(y - 2018, 1))
    if form >= _WITH_NAME or (form == _WITH_NAME - 1 and language == "en"):
        return _with_name(rng, language, y, m, d)
    mark = "." if language in _POINTS else rng.choice("/-./")
    year = f"{y % 100:02}" if rng.random() < 0.3 else str(y)
    if language == "en" and rng.random() < 0.5:
        return f"{m}{mark}{d}{mark}{year}" if rng.random() < 0.4 else f"{m:02}{mark}{d:02}{mark}{year}"
    return f"{y}-{m:02}-{d:02}" if form == 0 else f"{d:02}{mark}{m:02}{mark}{year}"


def _with_name(rng: random.Random, language: str, y: int, m: int, d: int) -> str:
    name = MONTHS.get(language, MONTHS["en"])[m - 1]
    if rng.random() < 0.5:
        name = name[:3] + rng.choice(["", "."])
    name = cased(name, rng.choice([0, 1, 0]))
    forms = DATES["de"] if language == "de" else DATES["en"] if language == "en" and rng.random() < 0.5 else DATES["other"]
    return rng.choice(forms).format(name=name, y=y, m=m, d=d, yy=f"{y % 100:02}")
