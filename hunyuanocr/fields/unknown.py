"""Names that are neither in the catalogue nor printed on the page: a null for them does not say that the page lacks the value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hunyuanocr.chinese import to_simplified
from hunyuanocr.fields.catalogue import is_misspelt, normalise_key, suggest
from hunyuanocr.types import Field, FieldSpec, Line, ResultWarning

_MAX_NAME = 60  # characters of a name in a message


def mark_unknown(
    fields: Sequence[Field], specs: Sequence[FieldSpec], lines: Sequence[Line], *, only_misspelt: bool = False
) -> tuple[Field, ...]:
    """Return the fields, those without a value whose name is unknown with the reason and suggestions.

    `only_misspelt`: for a language model, which understands names outside the catalogue: only names that resemble a known one.
    """
    return tuple(
        replace(field, reason="unknown_field", suggestions=suggest(spec.key))
        if _is_unknown(field, spec, lines) and (not only_misspelt or is_misspelt(spec.key))
        else field
        for field, spec in zip(fields, specs, strict=True)
    )


def unknown_field_warnings(fields: Sequence[Field]) -> tuple[ResultWarning, ...]:
    """Return one warning that names all unknown fields, or none."""
    unknown = [field for field in fields if field.reason == "unknown_field"]
    if not unknown:
        return ()
    names = ", ".join(f"'{field.key[:_MAX_NAME]}' (try {' or '.join(field.suggestions)})" for field in unknown)
    return (ResultWarning("unknown_field", f"Names that are neither known nor printed on the page: {names}."),)


def _is_unknown(field: Field, spec: FieldSpec, lines: Sequence[Line]) -> bool:
    return spec.name is None and field.value is None and field.rows is None and not is_printed(spec.key, lines)


def is_printed(name: str, lines: Sequence[Line]) -> bool:
    """Return whether a line contains the name: its letters and digits, at the boundaries of words if it is Latin."""
    simplified = to_simplified(name)
    if not simplified.isascii():
        key = normalise_key(simplified)
        return bool(key) and any(key in normalise_key(to_simplified(line.text)) for line in lines)
    name = "".join(filter(str.isalnum, simplified.lower()))
    return bool(name) and any(_has_words(line.text.lower(), name) for line in lines)


def _has_words(text: str, name: str) -> bool:
    """Return whether the letters of the name are in the text, whole words of it: PatientCode is Patient code."""
    at = [i for i, c in enumerate(text) if c.isalnum()]
    letters = "".join(text[i] for i in at)
    start = letters.find(name)
    while start >= 0:
        before, after = text[at[start] - 1 : at[start]], text[at[start + len(name) - 1] + 1 :][:1]
        if not _is_latin(before) and not _is_latin(after):
            return True
        start = letters.find(name, start + 1)
    return False


def _is_latin(c: str) -> bool:
    return c.isascii() and c.isalnum()
