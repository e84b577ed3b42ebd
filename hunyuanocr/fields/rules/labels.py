"""The labels on a page: which pieces of which lines are words of the catalogue, or of a field that the client made up."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rapidfuzz import fuzz, process

from hunyuanocr.fields.catalogue import KNOWN, normalise_key
from hunyuanocr.fields.layout import Layout, TextSegment
from hunyuanocr.fields.rules.label_inference import infer_field, to_simplified
from hunyuanocr.fields.values.dates import find_dates
from hunyuanocr.fields.values.money import find_money
from hunyuanocr.fields.values.span import to_halfwidth
from hunyuanocr.types import FieldSpec, FieldType, Line

_SEPARATORS = ":=;|#."
CURRENCY_WORDS = re.compile(r"\b(?:rm|myr|rmb|cny|usd|sgd)\b|[¥￥$]|[(（]元[)）]|[大小]写", re.IGNORECASE)
_LOOK_ALIKE = str.maketrans("0158i", "olsbl")  # T0TAL, TOTAI: letters and digits that readers take for one another
_BRACKET = re.compile(r"\s?[(\[【][^()\[\]\d]{1,20}[)\]】]")
_FUZZY = 84.0  # share of equal letters, per cent: one wrong letter in seven

Weights = Mapping[str, float]  # field name → how strongly the word means it, 0 … 1


@dataclass(frozen=True)
class Label:
    """A label on the page. `quality` says how sure it is one: 1 for a word followed by a colon or alone in its box."""

    cell: TextSegment
    fields: Weights
    quality: float
    colon: bool = False


def _weights(words: Iterable[tuple[str, Sequence[str]]]) -> dict[str, dict[str, float]]:
    table: dict[str, dict[str, float]] = {}
    for name, printed in words:
        for rank, word in enumerate(printed):
            if key := normalise_key(word):
                table.setdefault(key, {}).setdefault(name, 1 - 0.3 * rank / len(printed))
    return table


def _starts(words: Iterable[str]) -> dict[str, list[int]]:
    """The lengths of the words that begin with the same two letters, longest first."""
    lengths: dict[str, set[int]] = {}
    for word in words:
        lengths.setdefault(word[:2], set()).add(len(word))
    return {start: sorted(found, reverse=True) for start, found in lengths.items()}


_KNOWN_LABELS = _weights((name, field.printed_labels) for name, field in KNOWN.items())
_KNOWN_STARTS = _starts(_KNOWN_LABELS)
_ALWAYS_FUZZY = {"total_amount", "subtotal", "paid_amount", "change", "print_date"}  # what the total and the date are told from


class LabelFinder:
    """Finds the labels of the known fields and of those that are asked for by words of their own."""

    def __init__(self, wanted: Sequence[FieldSpec]) -> None:
        own = _weights((f"?{spec.key}", (spec.key.replace("_", " "),)) for spec in wanted if spec.name is None)
        self.words = {**_KNOWN_LABELS, **{key: {**_KNOWN_LABELS.get(key, {}), **fields} for key, fields in own.items()}}
        self._starts = _starts(self.words) if own else _KNOWN_STARTS
        fuzzy = _ALWAYS_FUZZY | {spec.name for spec in wanted if spec.name}
        keys = (key for key, fields in self.words.items() if len(key) >= 4 and (key in own or fuzzy & fields.keys()))
        self._fuzzy = {key.translate(_LOOK_ALIKE): key for key in keys}

    def find(self, layout: Layout) -> list[Label]:
        """All labels, in reading order."""
        labels = []
        for row in layout.rows:
            for cell in row:
                found = list(self._in_line(layout, cell))
                first = found[0] if found and found[0].cell.start == cell.start else None
                # A word that other words follow (Total excl. of GST) may be the start of a longer label, misread or reworded.
                if first is None or (first.quality < 0.7 and (first.cell.text.isascii() or len(first.cell.text) < 3)):
                    whole = self._misread(layout, cell, alone=cell is row[-1])
                    found = whole + [label for label in found if not whole or label.cell.start >= whole[0].cell.end]
                labels += _bilingual(layout, found)
        return labels

    def _in_line(self, layout: Layout, cell: TextSegment) -> Iterator[Label]:
        """Words of the catalogue at the start of a line, or inside it after a gap or before a colon; the longest wins."""
        text = to_simplified(to_halfwidth(layout.lines[cell.line].text)).lower()
        letters = [i for i, c in enumerate(text) if c.isalnum()]
        key_of_line = "".join(text[i] for i in letters)
        position = 0
        while position < len(letters):
            step = 1
            for length in self._starts.get(key_of_line[position : position + 2], ()) if _opens(text, letters[position]) else ():
                last = position + length - 1
                fields = self.words.get(key_of_line[position : last + 1]) if last < len(letters) else None
                if fields is None or self._goes_on(text[letters[last] + 1 :]):
                    continue
                start, end = letters[position], letters[last] + 1
                if (quality := _quality(text, start, end)) > 0:
                    if bracket := _BRACKET.match(text[end:]):  # 商户名称(MERCHANT NAME)：, 合计(元)
                        end += bracket.end()
                    colon = text[end:].lstrip(" )）")[:1] in (":", "=")
                    yield Label(layout.segment(cell.line, start, end), fields, quality, colon)
                    step = sum(i < end for i in letters[position:])
                    break
            position += step

    def _goes_on(self, rest: str) -> bool:
        """Whether Chinese characters up to a colon make the label another one: 医疗机构|类型: is not 医疗机构."""
        between = re.match(r"[\u4e00-\u9fff]{1,4}(?=\s?[:：])", rest)
        return between is not None and not any(between[0][n:] in self.words for n in range(len(between[0])))

    def _misread(self, layout: Layout, cell: TextSegment, *, alone: bool) -> list[Label]:
        """The start of a line, up to its colon or its first value, where it is nearly a word of the catalogue, or means one.

        `alone`: nothing stands to its right; such a line is a label less surely.
        """
        end = _phrase_end(layout.lines[cell.line])
        key = normalise_key(CURRENCY_WORDS.sub(" ", layout.lines[cell.line].text[:end]))
        if not 2 <= len(key) <= 40:
            return []
        colon = to_halfwidth(layout.lines[cell.line].text)[end:].lstrip()[:1] == ":"
        best = process.extractOne(key.translate(_LOOK_ALIKE), self._fuzzy.keys(), scorer=fuzz.ratio, score_cutoff=_FUZZY)
        near = self.words[self._fuzzy[best[0]]] if best is not None else {}
        meant = infer_field(layout.lines[cell.line].text[:end]) if len(key) <= 24 else None
        if best is not None and (meant is None or meant in near):  # "Total charges" is no misread "Total change"
            return [Label(layout.segment(cell.line, 0, end), near, 0.9 * best[1] / 100, colon)]
        sure = 0.9 if colon or not alone or end < len(layout.lines[cell.line].text) else 0.5
        return [Label(layout.segment(cell.line, 0, end), {meant: 0.7}, sure, colon)] if meant else []


def _bilingual(layout: Layout, found: Sequence[Label]) -> list[Label]:
    """Labels of one line, those that say one thing twice as one: 金额(AMOUNT), 日期/Date, 合计 TOTAL."""
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
    """Whether a word may begin here: at the start, after a sign or a gap, or where the script changes."""
    if start == 0 or not text[start - 1].isalnum():
        return True
    before, here = text[start - 1], text[start]
    return before.isascii() != here.isascii() or (not here.isascii() and ":" in text[start : start + 8])


def _quality(text: str, start: int, end: int) -> float:
    """How well the piece stands as a label: 0 inside another word, 1 alone or before a colon."""
    rest = text[end:]
    after = rest.lstrip(" )）]】")
    chinese = not text[end - 1].isascii()
    latin = text[end - 1].isascii() and text[end - 1].isalpha()
    glued = rest[:1]
    if latin and glued.isascii() and glued.isalpha() and not rest.startswith("rm"):
        return 0.0
    if (text[end - 1].isdigit() and glued.isdigit()) or (latin and re.match(r"-\w", rest)):  # INV-20931 is a number, not a label
        return 0.0
    if not after or after[0] in _SEPARATORS:
        quality = 1.0
    elif after[0].isdigit() or after[0] in "¥￥$€£-(（" or after.startswith("rm") or (chinese and after[0].isascii()):
        quality = 0.9
    elif rest[:1].isspace():
        quality = 0.7 if chinese else 0.5
    else:
        quality = 0.45  # the next word begins at once: 合计壹拾元, 日期二〇二六年
    before = text[:start].rstrip(" ([（【*")[-1:]
    inside = before.isalpha() and not (after and after[0] in _SEPARATORS)  # behind a value a new label may begin
    if inside and chinese and _prefixed(text[:start]):
        return 0.0
    if latin and end - start <= 2 and not after.startswith(":"):
        return 0.0  # "No 12, Jalan …" is an address
    if end - start == 1 and not (after[:1] in (":", "") or rest[:1].isspace()):
        return 0.0
    return quality * (0.4 if inside else 1.0)


def _prefixed(before: str) -> bool:
    """Whether the text before a Chinese label is the first half of the same word: 重打|日期 is another thing than 日期."""
    return before.isalpha() and len(before) <= 4


def _phrase_end(line: Line) -> int:
    """Where the words before the value end: at the colon, the first amount, or the first date; 0 if the value comes first."""
    plain = to_halfwidth(line.text)
    values = [span.start for span, _ in find_money(line.text)[:1]] + [span.start for span, _ in find_dates(line.text)[:1]]
    if plain.find(":") > 0:
        return min([plain.find(":"), *(v for v in values if v > 0)])
    return min(values, default=len(line.text))


def field_type(name: str, wanted: Sequence[FieldSpec]) -> FieldType:
    """The type of a label's field; a client's own field starts with "?"."""
    if name.startswith("?"):
        return next((spec.type for spec in wanted if spec.key == name[1:]), FieldType.TEXT)
    return KNOWN[name].type
