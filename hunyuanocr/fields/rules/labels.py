"""The labels on a page: parts of lines that are words of the catalogue, or of a client's own field."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from rapidfuzz import fuzz, process

from hunyuanocr.chinese import to_simplified
from hunyuanocr.fields.catalogue import KNOWN, is_generic
from hunyuanocr.fields.folding import fold
from hunyuanocr.fields.layout import Layout, TextSegment
from hunyuanocr.fields.rules.label_inference import infer_field
from hunyuanocr.fields.rules.label_words import Weights, label_key, label_starts, label_table, starts, weighted
from hunyuanocr.fields.values.dates import find_dates
from hunyuanocr.fields.values.money import find_money
from hunyuanocr.fields.values.span import to_halfwidth
from hunyuanocr.types import FieldSpec, FieldType, Line

_SEPARATORS = ":=;|#."
_CODES = r"\b(?:rm|myr|rmb|cny|usd|sgd|eur|gbp|chf|pln|idr|rp|try|vnd|thb|jpy|krw|twd|hkd|brl)\b"
CURRENCY_WORDS = re.compile(_CODES + r"|[¥￥$€£]|[(（][元円][)）]|[大小]写", re.IGNORECASE)
_CODE = re.compile(_CODES)
_CONFUSABLE = str.maketrans("0158i", "olsbl")  # T0TAL, TOTAI: letters and digits that OCR confuses
_BRACKET = re.compile(r"\s?[(\[【][^()\[\]\d]{1,20}[)\]】]")
# After the title of a document: the word before its number.
_NUMBER_SIGN = re.compile(
    r"(?:\s[a-z]{2,12}){0,2}\s?(?:\([^()]{1,20}\)\s?)?\b(?:n[ro]?|num|number|numero|nummer)\b[.:o]{0,3}(?=\s?[a-z]{0,4}[-/]?\d)"
    r"|\s?#(?=\s?\w*\d)"
)
_MIN_SIMILARITY = 84.0  # per cent of equal letters: one wrong letter in seven


@dataclass(frozen=True)
class Label:
    """A label on the page. `quality` is its certainty, 0 … 1: 1 for a word before a colon, or alone in its box."""

    cell: TextSegment
    fields: Weights
    quality: float
    colon: bool = False


# Labels that resemble those of the total and the date.
_ALWAYS_FUZZY = {"total_amount", "subtotal", "paid_amount", "change", "print_date"}


def asked_literally(spec: FieldSpec) -> bool:
    """Return whether a label with exactly the requested words precedes all synonyms: Balance due, but not total amount."""
    return spec.type is not FieldType.ROWS and (spec.name is None or not is_generic(spec.key))


@lru_cache(maxsize=64)
def _fuzzy_keys(languages: tuple[str, ...], fields: frozenset[str]) -> Mapping[str, str]:
    """Return the labels of the fields that may be misread, by their letters without those that OCR confuses."""
    keys = (key for key, found in label_table(languages).items() if len(key) >= 4 and fields & found.keys())
    return {key.translate(_CONFUSABLE): key for key in keys}


class LabelFinder:
    """Finds the labels of the known fields and of the client's own fields."""

    def __init__(self, specs: Sequence[FieldSpec], languages: tuple[str, ...] = ()) -> None:
        known = label_table(languages)
        own = weighted((f"?{spec.key}", (spec.key.replace("_", " "),)) for spec in specs if asked_literally(spec))
        self.words: Mapping[str, Weights] = known
        self._starts = label_starts(languages)
        self._fuzzy = _fuzzy_keys(languages, frozenset(_ALWAYS_FUZZY | {spec.name for spec in specs if spec.name}))
        if own:
            self.words = {**known, **{key: {**known.get(key, {}), **fields} for key, fields in own.items()}}
            lengths = starts(own)
            both = {start: sorted({*own, *self._starts.get(start, ())}, reverse=True) for start, own in lengths.items()}
            self._starts = {**self._starts, **both}
            self._fuzzy = {**self._fuzzy, **{key.translate(_CONFUSABLE): key for key in own if len(key) >= 4}}

    def find(self, layout: Layout) -> list[Label]:
        """Return all labels in reading order."""
        labels = []
        for row in layout.rows:
            for before, cell in zip((None, *row), row, strict=False):
                found = list(self._in_line(layout, cell))
                if not found and before is not None:
                    found = self._stretched(layout, before, cell)
                first = found[0] if found and found[0].cell.start == cell.start else None
                # A word before other words (Total excl. of GST) may be the start of a longer label, misread or reworded.
                if first is None or (first.quality < 0.7 and (first.cell.text.isascii() or len(first.cell.text) < 3)):
                    whole = self._fuzzy_label(layout, cell, alone=cell is row[-1])
                    found = whole + [label for label in found if not whole or label.cell.start >= whole[0].cell.end]
                labels += _bilingual(layout, found)
        return labels

    def _in_line(self, layout: Layout, cell: TextSegment) -> Iterator[Label]:
        """Yield words of the catalogue at the start of a line, after a gap or before a colon; the longest first."""
        text = fold(to_simplified(to_halfwidth(layout.lines[cell.line].text)))
        letters = [i for i, c in enumerate(text) if c.isalnum()]
        key_of_line = "".join(text[i] for i in letters)
        position = 0
        while position < len(letters):
            step = 1
            for length in self._lengths(key_of_line[position : position + 2]) if _opens(text, letters[position]) else ():
                last = position + length - 1
                fields = self.words.get(key_of_line[position : last + 1]) if last < len(letters) else None
                if fields is None or self._continues(text[letters[last] + 1 :]):
                    continue
                start, end = letters[position], letters[last] + 1
                if (quality := _quality(text, start, end)) > 0:
                    if bracket := _BRACKET.match(text[end:]):  # 商户名称(MERCHANT NAME)：, 合计(元)
                        end += bracket.end()
                    elif (number := _NUMBER_SIGN.match(text[end:])) and _numbered(fields):  # Rechnung (380) Nr. 471102
                        end, quality = end + number.end(), max(quality, 0.9)
                    colon = text[end:].lstrip(" )）")[:1] in (":", "=")
                    yield Label(layout.segment(cell.line, start, end), fields, quality, colon)
                    step = sum(i < end for i in letters[position:])
                    break
            position += step

    def _lengths(self, start: str) -> Sequence[int]:
        """Return the lengths of the labels that begin with these two letters, or are the first of them: K, in a laboratory."""
        lengths = self._starts.get(start, ())
        return (*lengths, 1) if start[:1] in self.words else lengths

    def _stretched(self, layout: Layout, before: TextSegment, cell: TextSegment) -> list[Label]:
        """Return a label whose characters are printed so far apart that they are two lines: 名 称：, 合 计."""
        first = label_key(before.text)
        end = next((i for i, c in enumerate(to_halfwidth(cell.text)) if c == ":"), len(cell.text))
        last = label_key(cell.text[:end])
        if len(first) != 1 or first.isascii() or not 1 <= len(last) <= 2 or (fields := self.words.get(first + last)) is None:
            return []
        colon = end < len(cell.text)
        return [Label(layout.segment(cell.line, cell.start, cell.start + end), fields, 1.0 if colon else 0.9, colon)]

    def _continues(self, rest: str) -> bool:
        """Return whether Chinese characters before a colon make it another label: 医疗机构|类型: is not 医疗机构."""
        between = re.match(r"[\u4e00-\u9fff]{1,4}(?=\s?[:：])", rest)
        return between is not None and not any(between[0][n:] in self.words for n in range(len(between[0])))

    def _fuzzy_label(self, layout: Layout, cell: TextSegment, *, alone: bool) -> list[Label]:
        """Return the start of a line, up to its colon or first value, as a label if it resembles or implies a known one.

        `alone`: no segment is to its right, which makes a label less certain.
        """
        end = _phrase_end(layout.lines[cell.line])
        key = label_key(CURRENCY_WORDS.sub(" ", layout.lines[cell.line].text[:end]))
        if not 2 <= len(key) <= 40:
            return []
        colon = to_halfwidth(layout.lines[cell.line].text)[end:].lstrip()[:1] == ":"
        best = process.extractOne(key.translate(_CONFUSABLE), self._fuzzy.keys(), scorer=fuzz.ratio, score_cutoff=_MIN_SIMILARITY)
        near = self.words[self._fuzzy[best[0]]] if best is not None else {}
        inferred = infer_field(layout.lines[cell.line].text[:end]) if len(key) <= 24 else None
        if best is not None and (inferred is None or inferred in near):  # "Total charges" is not a misread "Total change"
            return [Label(layout.segment(cell.line, 0, end), near, 0.9 * best[1] / 100, colon)]
        quality = 0.9 if colon or not alone or end < len(layout.lines[cell.line].text) else 0.5
        return [Label(layout.segment(cell.line, 0, end), {inferred: 0.7}, quality, colon)] if inferred else []


def _bilingual(layout: Layout, found: Sequence[Label]) -> list[Label]:
    """Join bilingual labels of one line: 金额(AMOUNT), 日期/Date, 合计 TOTAL."""
    joined: list[Label] = []
    for label in found:
        last = joined[-1] if joined else None
        gap = layout.lines[label.cell.line].text[last.cell.end : label.cell.start] if last else "?"
        marked = gap.strip() in ("/", "(", "（", "[") and bool(gap.strip())
        same = last is not None and not gap.strip() and bool(last.fields.keys() & label.fields.keys())
        if last is not None and (marked or same):
            cell = layout.segment(label.cell.line, last.cell.start, label.cell.end)
            joined[-1] = Label(cell, {**label.fields, **last.fields}, max(label.quality, last.quality), label.colon)
        else:
            joined.append(label)
    return joined


def _opens(text: str, start: int) -> bool:
    """Return whether a word may begin here: at the start, after a sign or a gap, or where the script changes."""
    if start == 0 or not text[start - 1].isalnum():
        return True
    before, here = text[start - 1], text[start]
    return before.isascii() != here.isascii() or (not here.isascii() and ":" in text[start : start + 8])


def _quality(text: str, start: int, end: int) -> float:
    """Return the quality of a label: 0 inside another word, 1 alone or before a colon."""
    rest = text[end:]
    after = rest.lstrip(" )）]】")
    chinese = not text[end - 1].isascii()
    latin = text[end - 1].isascii() and text[end - 1].isalpha()
    glued = rest[:1]
    if latin and glued.isascii() and glued.isalpha() and not rest.startswith("rm"):
        return 0.0
    if (text[end - 1].isdigit() and glued.isdigit()) or (latin and re.match(r"-\w|@", rest)):  # INV-20931, sales@…
        return 0.0
    if not after or after[0] in _SEPARATORS:
        quality = 1.0
    elif (
        after[0].isdigit()
        or after[0] in "¥￥$€£₩฿₫₺-(（"
        or after.startswith("rm")
        or _CODE.match(after)
        or (chinese and after[0].isascii())
    ):
        quality = 0.9
    elif rest[:1].isspace():
        quality = 0.7 if chinese else 0.5
    else:
        quality = 0.45  # directly before the next word: 合计壹拾元, 日期二〇二六年
    before = text[:start].rstrip(" ([（【*")[-1:]
    inside = before.isalpha() and not (after and after[0] in _SEPARATORS)  # after a value a new label may begin
    if inside and chinese and _prefixed(text[:start]):
        return 0.0
    if latin and end - start <= 2 and not after.startswith(":"):
        return 0.0  # "No 12, Jalan …" is an address
    if end - start == 1 and not (after[:1] in (":", "") or rest[:1].isspace()):
        return 0.0
    return quality * (0.4 if inside else 1.0)


def _numbered(fields: Weights) -> bool:
    return any(name in KNOWN and KNOWN[name].type is FieldType.IDENTIFIER for name in fields)


def _prefixed(before: str) -> bool:
    """Return whether the text before a Chinese label belongs to the same word: 重打|日期 differs from 日期."""
    return before.isalpha() and len(before) <= 4


def _phrase_end(line: Line) -> int:
    """Return the end of the words before the value: at the colon, the first amount or date; 0 if the value comes first."""
    plain = to_halfwidth(line.text)
    values = [span.start for span, _ in find_money(line.text)[:1]] + [span.start for span, _ in find_dates(line.text)[:1]]
    if plain.find(":") > 0:
        return min([plain.find(":"), *(v for v in values if v > 0)])
    return min(values, default=len(line.text))


def field_type(name: str, specs: Sequence[FieldSpec]) -> FieldType:
    """Return the type of a label's field; the name of a client's own field starts with "?"."""
    if name.startswith("?"):
        return next((spec.type for spec in specs if spec.key == name[1:]), FieldType.TEXT)
    return KNOWN[name].type
