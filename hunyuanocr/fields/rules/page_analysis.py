"""Analysis of the pages before fields are chosen: rows, labels, and the values of each label."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from hunyuanocr.fields.catalogue import DOCUMENTS, KNOWN, normalise_key
from hunyuanocr.fields.layout import Layout, TextSegment
from hunyuanocr.fields.line_items.header import Table, find_header
from hunyuanocr.fields.rules.document_kind import kind_of
from hunyuanocr.fields.rules.label_words import label_key, label_table, page_languages
from hunyuanocr.fields.rules.labels import CURRENCY_WORDS, Label, LabelFinder, field_type
from hunyuanocr.fields.values.finders import UNREAD_FORMS, find_values, trimmed_text
from hunyuanocr.fields.values.money import Money, find_money
from hunyuanocr.fields.values.style import PageStyle
from hunyuanocr.types import FieldSpec, FieldType, Line

_MIN_QUALITY = 0.6  # of a label inside a line; below it the label is part of a value
# The number of a firm after the name of a tax: a country and eight to twelve letters and digits, or nine digits and more.
_TAX_NUMBER = re.compile(r"(?:[A-Z]{2}\s?)?(?=(?:\D{0,2}\d){7})[A-Z\d][A-Z\d .-]{7,16}[A-Z\d](?![.,]?\d)")
_MIN_PRINTED = 0.9  # of a label whose value is not understood
_WORDS = (FieldType.TEXT, FieldType.NAME, FieldType.ADDRESS)


@dataclass(frozen=True)
class LabelValuePair:
    """A label and a candidate for its value. `score` is 0 … 1."""

    field: str
    label: Label
    cell: TextSegment
    fit: float  # certainty of the label and of its position relative to the value, for any field
    score: float  # fit × strength of the label for this field


@dataclass(frozen=True)
class Amount:
    """An amount of money on the page."""

    cell: TextSegment
    money: Money
    printed_as_money: bool  # with a currency or decimals, not a plain integer


class PageAnalysis:
    """The lines of one request, analysed once for all fields."""

    def __init__(self, lines: Sequence[Line], specs: Sequence[FieldSpec]) -> None:
        self.layout = Layout(lines)
        self.lines = self.layout.lines
        self.style = PageStyle.of(line.text for line in lines)
        self.specs = tuple(specs)
        self.table: Table | None = find_header(self.layout)
        self._heads = {c.line for c in self.table.header} if self.table else set()
        self.languages = page_languages(line.text for line in self.lines)
        finder = LabelFinder(specs, self.languages)
        self.labels = [label for label in finder.find(self.layout) if label.cell.line not in self._heads]
        self._labels_of: dict[int, list[Label]] = {}
        for label in self.labels:
            self._labels_of.setdefault(label.cell.line, []).append(label)
        self._streams = [list(self._stream(row)) for row in self.layout.rows]

    def _stream(self, row: Sequence[TextSegment]) -> Iterator[Label | TextSegment]:
        """Yield a row from left to right as labels and the text between them."""
        awaited = False  # the last item is a label with a colon, whose value follows
        for cell in row:
            position = cell.start
            for label in self._labels_of.get(cell.line, ()):
                if label.quality < _MIN_QUALITY and (awaited or label.cell.start > cell.start):
                    continue  # a word of a value that is also a label: Family Clinic, Name: Supplier Ltd
                if _has_letters(self.lines[cell.line].text[position : label.cell.start]):
                    yield self.layout.segment(cell.line, position, label.cell.start)
                yield label
                position = label.cell.end
            last = self._labels_of.get(cell.line, ())[-1:]
            awaited = any(k.colon and not _has_letters(self.lines[cell.line].text[k.cell.end :]) for k in last)
            if _has_letters(self.lines[cell.line].text[position : cell.end]):
                yield self.layout.segment(cell.line, position, cell.end)

    @cached_property
    def links(self) -> list[LabelValuePair]:
        """Every label with the value to its right or, if there is none, below it."""
        found: list[LabelValuePair] = []
        for row, stream in enumerate(self._streams):
            for position, item in enumerate(stream):
                if isinstance(item, Label):
                    right = [c for c in stream[position + 1 : _next_label(stream, position)] if isinstance(c, TextSegment)]
                    after = stream[position + 1] if position + 1 < len(stream) else None
                    last = not isinstance(after, Label) or after.cell.line != item.cell.line
                    for name, weight in item.fields.items():
                        found += self._link(name, weight, item, right, row, last=last)
        return found

    def _link(
        self, name: str, weight: float, label: Label, right: Sequence[TextSegment], row: int, *, last: bool
    ) -> Iterator[LabelValuePair]:
        type = field_type(name, self.specs)
        if name == "tax_number" and "tax_amount" in label.fields:  # TVA: FR40303265045, but not TVA 4,15
            right = [c for c in right if _TAX_NUMBER.match(c.text.lstrip(" :.-"))]
            last = False
        match = self._right_of(label, right, type)
        if match is not None and type in _WORDS and (below := self._below_both(label, match[0], row)) is not None:
            yield LabelValuePair(name, label, below, label.quality * 0.7, weight * label.quality * 0.7)
        elif match is not None:
            cell, share = match
            yield LabelValuePair(name, label, cell, label.quality * share, weight * label.quality * share)
        elif last and (not right or type not in _WORDS):
            below = self._below(label, type, row)
            if below is not None:
                fit = label.quality * (0.7 if not right else 0.4)
                yield LabelValuePair(name, label, below, fit, weight * fit)

    def _right_of(self, label: Label, right: Sequence[TextSegment], type: FieldType) -> tuple[TextSegment, float] | None:
        """Return the value to the right of the label, and a score for the other text between them (1: none)."""
        if type in _WORDS:
            first = right[0] if right else None
            if first is None or (
                first.line == label.cell.line and not label.colon and label.quality < 0.7 and not _person(label, first)
            ):
                return None
            spans = find_values(first.text, type, self.style)
            return (
                (self.layout.segment(first.line, first.start + spans[0].start, first.start + spans[0].end), 1.0)
                if spans
                else None
            )
        skipped = 0
        candidates: list[tuple[TextSegment, float]] = []
        for cell in right:
            spans = find_values(cell.text, type, self.style)
            position = 0
            for span in spans:
                skipped += _count_letters(cell.text[position : span.start])
                position = span.end
                length = max(4, len(label.cell.text))
                candidates.append(
                    (self.layout.segment(cell.line, cell.start + span.start, cell.start + span.end), length / (length + skipped))
                )
            skipped += _count_letters(cell.text[position:])
        if not candidates:
            return self._as_printed(label, right, type)
        return max(candidates, key=lambda c: self._amount_priority(c[0])) if type is FieldType.MONEY else candidates[0]

    def _as_printed(self, label: Label, right: Sequence[TextSegment], type: FieldType) -> tuple[TextSegment, float] | None:
        """Return what stands after a certain label and has no form of the type: 31/02/2025 as a date, 1Z.5O as a total.

        It is short and has digits; the client gets it as printed, without a normalised value.
        """
        form = UNREAD_FORMS.get(type)
        spans = trimmed_text(right[0].text) if form and right and label.quality >= _MIN_PRINTED and len(right) == 1 else []
        if not form or not spans or not form.fullmatch(spans[0].text):
            return None
        return self.layout.segment(right[0].line, right[0].start + spans[0].start, right[0].start + spans[0].end), 0.7

    def _amount_priority(self, cell: TextSegment) -> tuple[bool, float]:
        """Return the sort key of several amounts of a label: printed as money, under the amount header, else rightmost."""
        heads = [(x0 + x1) / 2 for name, x0, x1 in (self.table.columns if self.table else ()) if name == "amount"]
        return _has_money_format(cell.text), -min(abs(x - (cell.x0 + cell.x1) / 2) for x in heads) if heads else cell.x1

    def _below(self, label: Label, type: FieldType, row: int) -> TextSegment | None:
        """Return the value below the label, in the next two rows."""
        of = label.cell
        for step, stream in enumerate(self._streams[row + 1 : row + 3]):
            alone = step == 0 and len(stream) == 1 and len(self._streams[row]) == 1  # a value too wide for the label's line
            for item in stream:
                if (
                    isinstance(item, Label)
                    or item.line in self._heads
                    or item.page != of.page
                    or item.y - of.y > 3.2 * max(of.h, item.h)
                    or item.y <= of.y
                ):
                    continue
                overlap = min(item.x1, of.x1) - max(item.x0, of.x0)
                if not alone and overlap < 0.4 * min(item.x1 - item.x0, of.x1 - of.x0):
                    continue
                spans = find_values(item.text, type, self.style)
                if type is FieldType.MONEY and spans and not label.colon and not _is_amount(spans[0].text):
                    continue  # a count, or a code of a tax
                if spans and sum(len(s.text) for s in spans[:1]) >= 0.6 * len(item.text.strip()):
                    return self.layout.segment(item.line, item.start + spans[0].start, item.start + spans[0].end)
        return None

    def _below_both(self, label: Label, other: TextSegment, row: int) -> TextSegment | None:
        """Return the value below a label and its translation right of it, if it has one: 航班 FLIGHT above AB 1234."""
        translated = label.cell.line == other.line and not label.colon and other.text.isascii() and not label.cell.text.isascii()
        if not translated or not re.fullmatch(r"[A-Z][A-Za-z]*\.?(?: [A-Za-z]+\.?)?", other.text) or len(self._streams[row]) < 3:
            return None
        both = self.layout.segment(label.cell.line, label.cell.start, other.end)
        return self._below(Label(both, label.fields, label.quality), FieldType.TEXT, row) or self._in_next_row(both, row)

    def _in_next_row(self, head: TextSegment, row: int) -> TextSegment | None:
        """Return the value at the same place in the next row, if it has as many segments and no label: columns out of line."""
        heads, below = self.layout.rows[row], self.layout.rows[row + 1] if row + 1 < len(self.layout.rows) else []
        if len(heads) != len(below) or any(cell.line in self._labels_of for cell in below):
            return None
        cell = below[next(n for n, c in enumerate(heads) if c.line == head.line)]
        return cell if cell.page == head.page and 0 < cell.y - head.y < 3.2 * max(cell.h, head.h) else None

    def continuation(self, link: LabelValuePair) -> list[TextSegment]:
        """Return the lines below a labelled address that continue it: unlabelled, aligned with its value, directly below."""
        cells: list[TextSegment] = []
        for stream in self._streams[link.cell.row + 1 : link.cell.row + 4]:
            first = stream[0] if stream else None
            above = cells[-1] if cells else link.cell
            if not isinstance(first, TextSegment) or first.page != above.page or first.y - above.y > 1.8 * max(first.h, above.h):
                break
            aligned = abs(first.x0 - link.cell.x0) < 1.5 * first.h or self.layout.wraps(self._whole(above), first)
            if not aligned or find_values(first.text, FieldType.PHONE) or len(stream) > 1:
                break
            cells.append(first)
        return cells

    def _whole(self, cell: TextSegment) -> TextSegment:
        return self.layout.segment(cell.line, 0, len(self.lines[cell.line].text))

    @cached_property
    def label_keys(self) -> list[str]:
        """The normalised text of each line."""
        return [normalise_key(line.text) for line in self.lines]

    @cached_property
    def amounts(self) -> list[Amount]:
        """Every amount on the pages, in reading order."""
        found = []
        for row in self.layout.rows:
            for cell in row:
                text = self.lines[cell.line].text
                for span, money in find_money(text, self.style):
                    whole = money.amount == money.amount.to_integral_value() and "." not in span.text and "," not in span.text
                    found.append(
                        Amount(
                            self.layout.segment(cell.line, span.start, span.end), money, not whole or money.currency is not None
                        )
                    )
        return found

    def best(self, name: str, min_score: float = 0.3) -> LabelValuePair | None:
        """Return the best link of a field, unless another label has a stronger link to its value."""
        own = [link for link in self.links if link.field == name and link.score >= min_score and not self._for_another(link)]
        own = [link for link in own if self.competing_label(link.cell.line, link.cell.start, link.label) <= link.fit + 0.05]
        return max(own, key=lambda link: link.score, default=None)

    def in_total_row(self, name: str) -> TextSegment | None:
        """Return the amount in the row of the total below the column of a field: 合计 388.10 23.90 below 金额 and 税额."""
        words = label_table(self.languages)
        heads = [c for row in self.layout.rows for c in row if name in words.get(label_key(c.text), ())]
        for label in self.labels:
            if not {"total_amount", "subtotal"} & label.fields.keys():
                continue
            amounts = [a.cell for a in self.amounts if a.cell.row == label.cell.row and a.printed_as_money]
            for head in heads if len(amounts) > 1 else ():
                below = [a for a in amounts if a.page == head.page and a.y > head.y and min(a.x1, head.x1) > max(a.x0, head.x0)]
                if below:
                    return below[0]
        return None

    def competing_label(self, line: int, start: int, label: Label | None = None) -> float:
        """Return the strongest link of any other label to a value."""
        return max(
            (k.fit for k in self.links if (k.cell.line, k.cell.start) == (line, start) and k.label is not label), default=0.0
        )

    def _for_another(self, link: LabelValuePair) -> bool:
        """Return whether the label denotes another number on this kind of document: 编号 on a prescription is not a receipt's."""
        if KNOWN[link.field].type is not FieldType.IDENTIFIER if link.field in KNOWN else True:
            return False
        usual = DOCUMENTS.get(self.kind or "", ())
        return link.field not in usual and any(name in usual for name in link.label.fields)

    @cached_property
    def kind(self) -> str | None:
        """The kind of document by its title, or None."""
        return kind_of(" ".join(c.text for row in self.layout.rows[:8] for c in row))


def _has_letters(text: str) -> bool:
    return any(c.isalnum() for c in text)


def _person(label: Label, cell: TextSegment) -> bool:
    """Return whether a Chinese label at the start of a line is directly followed by a short name: 收银员文杰峰."""
    return label.cell.start == 0 and len(label.cell.text) >= 2 and not label.cell.text.isascii() and 2 <= len(cell.text) <= 4


def _count_letters(text: str) -> int:
    """Return the number of letters that are not part of a currency."""
    return sum(c.isalpha() for c in CURRENCY_WORDS.sub("", text))


def _next_label(stream: Sequence[Label | TextSegment], position: int) -> int:
    return next(
        (n for n in range(position + 1, len(stream)) if (i := stream[n]) and isinstance(i, Label) and i.quality >= 0.6),
        len(stream),
    )


def _is_amount(text: str) -> bool:
    return sum(map(str.isdigit, text)) > 2 or _has_money_format(text)


def _has_money_format(text: str) -> bool:
    found = find_money(text)
    return bool(found) and (found[0][1].currency is not None or found[0][1].amount.as_tuple().exponent != 0)
