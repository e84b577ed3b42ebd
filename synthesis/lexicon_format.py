"""Parse the compact tables of the lexicons: entries separated by ";", columns by ":", choices by "|"."""

from __future__ import annotations


def words(text: str) -> tuple[str, ...]:
    """Return the entries, which are separated by ";"."""
    return tuple(" ".join(entry.split()) for entry in text.split(";") if entry.strip())


def priced(text: str) -> tuple[tuple[str, float], ...]:
    """Return (name, typical price) of "name:price" entries."""
    return tuple((name, float(price)) for name, price in (entry.rsplit(":", 1) for entry in words(text)))


def stocked(text: str) -> tuple[tuple[str, float, tuple[str, ...]], ...]:
    """(name, typical price, choices) from "name:price:choice|choice" entries."""
    rows = (entry.rsplit(":", 2) for entry in words(text))
    return tuple((name, float(price), tuple(choices.split("|"))) for name, price, choices in rows)
