"""Lists whose names are separated by blanks or 有 only: "merchant date total", "金额有日期"."""

from __future__ import annotations

import re

from hunyuanocr.fields.catalogue import KNOWN, lookup, normalise_key

_HAN = re.compile(r"[一-鿿]")
_MAX_WORDS = 24
# Names that the last word of a compound may be: "customer phone" is one field, "total date" are two.
_ATTRIBUTES = frozenset(
    ("date", "time", "number", "no", "name", "address", "phone", "tel", "id", "type", "method", "rate", "code", "email")
)
_NAMES = frozenset(normalise_key(word) for f in KNOWN.values() for word in (f.name, *f.en, *f.asked))
_STARTS_A_LIST = frozenset(("total", "total amount", "amount", "date", "time"))


def split_at_blanks(phrase: str) -> list[str]:
    """Return the names of a list without commas, or nothing if the phrase is no such list."""
    words = phrase.split()
    if "有" in phrase and not phrase.startswith("有") and len(halves := re.split(r"有", phrase)) > 1 and all(map(lookup, halves)):
        return [half.strip() for half in halves]
    if not 1 < len(words) <= _MAX_WORDS:
        return []
    return _cover(words)


def _cover(words: list[str]) -> list[str]:
    """Return the fewest known names that the words consist of: "invoice number date total" are three."""
    best: list[list[str] | None] = [[]]
    for end in range(1, len(words) + 1):
        covers = [
            [*cover, name]
            for start in range(max(0, end - 4), end)
            if (cover := best[start]) is not None and _is_name(name := " ".join(words[start:end]))
        ]
        best.append(min(covers, key=len, default=None))
    cover = best[-1] or []
    if len(cover) == 2 and (cover[0].lower() not in _STARTS_A_LIST or _compound(cover)):
        return []
    return cover


def _compound(cover: list[str]) -> bool:
    first, second = (name.lower() for name in cover)
    return second in _ATTRIBUTES and not (first.endswith(("total", "amount")) and second in ("date", "time"))


def _is_name(words: str) -> bool:
    return normalise_key(words) in _NAMES or (_HAN.search(words) is not None and lookup(words) is not None)
