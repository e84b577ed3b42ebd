"""Reads the lexicons' compact tables: entries parted by ";", columns by ":", choices by "|"."""

from __future__ import annotations


def words(text: str) -> tuple[str, ...]:
    """Entries parted by ";"."""
    return tuple(" ".join(entry.split()) for entry in text.split(";") if entry.strip())


def priced(text: str) -> tuple[tuple[str, float], ...]:
    """(name, typical price) from "name:price" entries."""
    return tuple((name, float(price)) for name, price in (entry.rsplit(":", 1) for entry in words(text)))


def stocked(text: str) -> tuple[tuple[str, float, tuple[str, ...]], ...]:
    """(name, typical price, choices) from "name:price:choice|choice" entries."""
    rows = (entry.rsplit(":", 2) for entry in words(text))
    return tuple((name, float(price), tuple(choices.split("|"))) for name, price, choices in rows)
