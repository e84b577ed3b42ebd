"""Values of generated pages: amounts, dates, numbers, names and addresses, as each language prints them."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hunyuanocr.fields.catalogue import KNOWN
from hunyuanocr.types import FieldType
from synthesis.ranker import dates
from synthesis.ranker.words import (
    CHINESE,
    CURRENCIES,
    CURRENCY_SUFFIXES,
    EAST_ASIAN,
    FIRMS,
    FIRST_NAMES,
    HAN,
    LAST_NAMES,
    VALUES,
    cased,
    drawn,
    filled,
    invented,
    noun,
)

_COMMA = ("de", "fr", "es", "it", "nl", "pl", "pt", "tr")
_KIND_FIRST = ("vi", "it", "fr", "es")  # languages that may print the kind of a firm before its name
_FIRMS = ("merchant", "seller", "hospital", "bank_name")
_PARTIES = ("buyer", "sender", "recipient", "party_name")  # a firm or a person


@dataclass(frozen=True)
class Style:
    """How a page prints numbers, dates and letters."""

    language: str
    comma: bool  # the decimal mark
    thousands: str
    whole: bool  # amounts without decimals
    currency: str
    case: int  # of labels, see `words.cased`
    date: int  # see `dates.printed_date`

    @classmethod
    def draw(cls, rng: random.Random, language: str) -> Style:
        """Return a style that is usual in the language."""
        comma = language in _COMMA or (language == "id" and rng.random() < 0.3)
        return cls(
            language=language,
            comma=comma,
            thousands=rng.choice([".", "", " "] if comma else [",", ",", ""]),
            whole=language in ("ja", "ko", "vi") or (language == "id" and comma),
            currency=rng.choice(CURRENCIES[language]),
            case=rng.randint(0, 3),
            date=rng.randrange(dates.FORMS),
        )


class Values:
    """Draws values for one page."""

    def __init__(self, rng: random.Random, style: Style) -> None:
        self.rng, self.style, self.language = rng, style, style.language
        self._of_types: Mapping[FieldType, Callable[[], str]] = {
            FieldType.MONEY: self.amount,
            FieldType.DATE: self.date,
            FieldType.TIME: self.time,
            FieldType.DATETIME: self.moment,
            FieldType.PHONE: self.phone,
            FieldType.NAME: self.person,
            FieldType.ADDRESS: self.address_line,
            FieldType.IDENTIFIER: self.code,
            FieldType.PERCENT: self.percent,
            FieldType.QUANTITY: self.quantity,
        }

    def money(self, amount: float, *, sign: bool | None = None) -> str:
        """Return an amount as printed; `sign`: with the currency, by default sometimes."""
        style, rng = self.style, self.rng
        text = f"{abs(amount) * 100:,.0f}" if style.whole else f"{abs(amount):,.2f}"
        text = text.replace(",", "T").replace(".", "," if style.comma else ".").replace("T", style.thousands)
        text = "-" + text if amount < 0 else text
        if not style.currency or not (rng.random() < 0.7 if sign is None else sign):
            return text
        if style.currency in CURRENCY_SUFFIXES and rng.random() < 0.8:
            return text + rng.choice(["", " "]) + style.currency
        return style.currency + rng.choice(["", " ", ""]) + text

    def amount(self) -> str:
        """Return a random amount."""
        return self.money(self.rng.uniform(*self.rng.choice([(1, 50), (10, 999), (1, 9)])))

    def date(self) -> str:
        """Return a date, mostly in the page's own form."""
        form = self.style.date if self.rng.random() < 0.7 else self.rng.randrange(dates.FORMS)
        return dates.printed_date(self.rng, self.language, form)

    def time(self) -> str:
        """Return a time of the day."""
        h, m, s = self.rng.randint(0, 23), self.rng.randint(0, 59), self.rng.randint(0, 59)
        forms = [f"{h:02}:{m:02}", f"{h:02}:{m:02}:{s:02}", f"{h:02}:{m:02}:{s:02}"]
        if self.language in ("en", "id"):
            half = drawn(self.rng, "half_day")
            forms += [f"{(h % 12) or 12}:{m:02}{half}", f"{(h % 12) or 12:02}:{m:02}:{s:02}{half}"]
        if self.language == "fr":
            forms.append(f"{h}h{m:02}")
        return self.rng.choice(forms)

    def moment(self) -> str:
        """Return a date and a time."""
        return f"{self.date()} {self.time()}"

    def percent(self) -> str:
        """Return a rate in per cent."""
        return drawn(self.rng, "percent")

    def quantity(self) -> str:
        """Return a number with or without a unit."""
        return decimal(self.rng, 90, self.rng.randint(0, 2)) + drawn(self.rng, "unit_of_quantity")

    def phone(self) -> str:
        """Return a telephone number."""
        if self.language in CHINESE and self.rng.random() < 0.8:
            return drawn(self.rng, "phone_zh")
        return drawn(self.rng, "phone_en" if self.language == "en" and self.rng.random() < 0.6 else "phone_other")

    def code(self) -> str:
        """Return a number of a document, an order, a terminal …"""
        rng = self.rng
        letters = "^" * rng.randint(1, 3)
        forms = [
            "_" * rng.randint(3, 12),
            letters + "_" * rng.randint(3, 9),
            f"{letters}__-_____",
            "____/___",
            f"{letters}-____-____",
            "{series}-______",
        ]
        return filled(rng, rng.choice(forms))

    def tax_number(self) -> str:
        """Return a tax number; without valid check digits."""
        return drawn(self.rng, "tax_number_zh" if self.language in CHINESE else "tax_number_other")

    def iban(self) -> str:
        """Return an IBAN; without valid check digits."""
        text = drawn(self.rng, "iban")
        return text if self.rng.random() < 0.7 else text.replace(" ", "")

    def person(self) -> str:
        """Return the name of a person."""
        rng = self.rng
        if self.language in EAST_ASIAN and rng.random() < 0.85:
            return drawn(rng, "surname_han") + "".join(rng.choices(HAN, k=rng.randint(1, 2)))
        first, last = rng.choice(FIRST_NAMES), rng.choice(LAST_NAMES)
        name = rng.choice([f"{first} {last}", f"{first} {last}", first, f"{first[0]}. {last}"])
        return cased(name, rng.choice([0, 0, 1]))

    def firm(self) -> str:
        """Return the name of a shop or a firm."""
        rng, kinds = self.rng, FIRMS.get(self.language, FIRMS["en"])
        if self.language in (*EAST_ASIAN, "th") and rng.random() < 0.85:
            length = rng.randint(2, 8)
            name = self._hangul(length) if self.language == "ko" else "".join(rng.choices(HAN, k=length))
            return name + rng.choice(kinds)
        name = " ".join(self._word_of_firm() for _ in range(rng.randint(1, 3)))
        if rng.random() < 0.65:
            first = self.language in _KIND_FIRST and rng.random() < 0.4
            name = f"{rng.choice(kinds)} {name}" if first else f"{name} {rng.choice(kinds)}"
        if rng.random() < 0.15:
            name += drawn(rng, "firm_end")
        return cased(name, 1) if rng.random() < 0.5 else name

    def _hangul(self, length: int) -> str:
        return "".join(invented(self.rng, "ko")[0] for _ in range(length))

    def _word_of_firm(self) -> str:
        rng = self.rng
        words = [invented(rng, "en").capitalize(), noun(rng, "en").capitalize(), rng.choice(LAST_NAMES), rng.choice(FIRST_NAMES)]
        return rng.choice([*words, "The"])

    def address(self) -> list[str]:
        """Return one to three lines of an address."""
        rng = self.rng
        if self.language in EAST_ASIAN:
            return [drawn(rng, "address_han") + (drawn(rng, "building_han") if rng.random() < 0.3 else "")]
        district = [drawn(rng, "district")] if rng.random() < 0.25 else []
        return [drawn(rng, "street"), *district, drawn(rng, "town")]

    def address_line(self) -> str:
        """Return an address in one line."""
        return " ".join(self.address())

    def of(self, field: str) -> str:
        """Return a value for a field of the catalogue."""
        if field in VALUES:
            return drawn(self.rng, field)
        if field == "tax_number":
            return self.tax_number()
        if field == "iban":
            return self.iban()
        if field in _FIRMS or (field in _PARTIES and self.rng.random() < 0.5):
            return self.firm()
        if field in _PARTIES:
            return self.person()
        return self._of_types.get(KNOWN[field].type, self.other)()

    def other(self) -> str:
        """Return a value of any form."""
        rng, draw = self.rng, self.rng.random()
        if draw < 0.15:
            return filled(rng, "_" * rng.randint(1, 5))
        if draw < 0.32:
            return drawn(rng, "sign") + decimal(rng, 300, rng.randint(1, 2)) + drawn(rng, "unit")
        if draw < 0.5:
            return self.code()
        if draw < 0.62:
            return rng.choice([self.date, self.time, self.phone])()
        if draw < 0.72:
            return self.person()
        words = [rng.choice([invented, noun])(rng, self.language) for _ in range(rng.randint(1, 3))]
        return "".join(words) if self.language in CHINESE else cased(" ".join(words), rng.randint(0, 3))


def decimal(rng: random.Random, highest: float, places: int) -> str:
    """Return a random number from 0 to `highest` with this many decimal places."""
    return f"{rng.uniform(0, highest):.{places}f}"
