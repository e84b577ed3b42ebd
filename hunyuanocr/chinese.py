"""Conversion of traditional to simplified Chinese characters, one by one, so that positions in a text are unchanged."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files


def _load() -> Mapping[int, int]:
    rows = files(__package__).joinpath("traditional.tsv").read_text(encoding="utf-8").splitlines()
    columns = [row.split("\t") for row in rows if not row.startswith("#")]
    return str.maketrans("".join(a for a, _ in columns), "".join(b for _, b in columns))


_SIMPLIFIED = _load()


def to_simplified(text: str) -> str:
    """Return the text with simplified characters; the length is unchanged."""
    return text if text.isascii() else text.translate(_SIMPLIFIED)
