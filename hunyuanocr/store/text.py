"""Text that every database accepts."""

from __future__ import annotations


def clean_text(text: str) -> str:
    """Return the text with U+FFFD for NUL, which PostgreSQL refuses, and for unpaired surrogates, which no database accepts."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "surrogatepass").decode("utf-8", "replace")
