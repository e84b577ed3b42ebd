"""Field extraction for backends without a language model, and grounding of a language model's values."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from statistics import fmean
from typing import Any

from hunyuanocr.fields.field_builder import COLUMN_TYPES, cell_key, field_from_segments, field_from_value, rows_field
from hunyuanocr.fields.grounding import Occurrence, find_occurrences
from hunyuanocr.fields.layout import TextSegment
from hunyuanocr.fields.line_items.columns import Item
from hunyuanocr.fields.line_items.extract import find_items
from hunyuanocr.fields.line_items.header import column_for
from hunyuanocr.fields.ranking.ranker import rank
from hunyuanocr.fields.ranking.verifier import Evidence, verify
from hunyuanocr.fields.rules.document_date import choose_date, choose_time
from hunyuanocr.fields.rules.labels import asked_literally
from hunyuanocr.fields.rules.merchant import NameCandidate, choose_address, choose_merchant, party_labels, strip_label_marks
from hunyuanocr.fields.rules.page_analysis import PageAnalysis
from hunyuanocr.fields.rules.parties import party_field, party_value
from hunyuanocr.fields.rules.plausible import FORMS, is_plausible
from hunyuanocr.fields.rules.total import choose_total
from hunyuanocr.fields.values.finders import find_values
from hunyuanocr.fields.values.identifiers import IdentifierKind, find_valid, has_form, identifier_kind
from hunyuanocr.fields.values.normalize import comparable
from hunyuanocr.fields.values.span import to_halfwidth
from hunyuanocr.types import Field, FieldSpec, FieldType, Line

_HOSPITAL = re.compile(
    r"医院|诊所|卫生院|卫生服务|门诊部|保健|hospital|clinic|klinik|medical|health|infirmary|polyclinic", re.IGNORECASE
)
_PAYMENT_METHOD = re.compile(
    r"微信|支付宝|现金|银联|刷卡|云闪付|扫码|医保|cash|card|visa|master|wallet|paynow|touch", re.IGNORECASE
)
_MIN_LABEL = 0.6  # quality and weight of a label that certainly is one of the field
# Types whose values cannot be other words of the page.
_STRICT_TYPES = {FieldType.MONEY, FieldType.DATE, FieldType.TIME, FieldType.DATETIME, FieldType.PERCENT, FieldType.IDENTIFIER}
# Fields that are recognised by their format if they have no label.
_FORMATS: Mapping[str, re.Pattern[str]] = {
    "phone": re.compile(  # with area code, mobile, service or international number; longer digit sequences are codes
        r"^\s*(?:\(?0\d{1,3}\)?[\s-]?\d{3,4}[\s-]?\d{3,4}|1[3-9]\d[\s-]?\d{4}[\s-]?\d{4}|[48]00-?\d{3}-?\d{4}|\+\d[\d\s()-]{7,16}\d|\(\d{3}\)\s?\d{3}-\d{4})\s*$"
    ),
    **FORMS,
    "currency": re.compile(r"[¥￥$€£]|\b(?:RM|RMB|CNY|MYR|USD)\b|元"),
}


class RuleExtractor:
    """Extracts fields from one analysis of the pages."""

    def __init__(self, lines: Sequence[Line], specs: Sequence[FieldSpec]) -> None:
        self.page = PageAnalysis(lines, specs)
        self._choosers: Mapping[str, Callable[[], Sequence[TextSegment]]] = {
            "total_amount": self._total, "date": self._date, "time": self._time, "merchant": self._merchant,
            "hospital": self._hospital, "seller": self._seller, "address": self._address, "currency": self._currency,
            "datetime": self._datetime, "buyer": self._buyer, "payment_method": self._payment_method,
        }  # fmt: skip

    def extract(self, spec: FieldSpec) -> Field:
        """Return the field; its value is None if it is not on the page."""
        if spec.type is FieldType.ROWS or spec.name == "items":
            return rows_field(spec, [self._row(item) for item in self.items])
        cells = self.segments(spec)
        if not cells:
            return Field(spec.key, spec.type)
        return field_from_segments(spec.key, spec.type, cells, self.page.lines, self.page.style)

    def segments(self, spec: FieldSpec) -> Sequence[TextSegment]:
        """Return the segments of the field's value; empty if it is not on the page."""
        if (literal := self._literal(spec) or self._of_party(spec)) is not None:
            return [literal]
        if chooser := self._choosers.get(spec.name or ""):
            return chooser()
        link = self.page.best(spec.name or f"?{spec.key}", 0.4)
        if (kind := identifier_kind(spec.key)) is not None and (link is None or not has_form(kind, link.cell.text)):
            return self._valid_identifier(kind)
        if link is None and spec.name == "discount":  # savings, if there is no label for a discount
            link = self.page.best("savings", 0.4)
        if spec.type is FieldType.MONEY and (link is None or link.cell.row > link.label.cell.row):
            cell = self.page.in_total_row(spec.name or "")
            if cell is not None:
                return [cell]
        if link is not None:
            return [link.cell, *self.page.continuation(link)] if spec.type is FieldType.ADDRESS else [link.cell]
        return self._by_format(spec.name)

    def _literal(self, spec: FieldSpec) -> TextSegment | None:
        """Return the value of a label that consists of the requested words (Balance due), which precedes all synonyms."""
        if spec.name is None or not asked_literally(spec):
            return None
        link = self.page.best(f"?{spec.key}", 0.5 if spec.type in _STRICT_TYPES else 0.8)
        return link.cell if link else None

    def _of_party(self, spec: FieldSpec) -> TextSegment | None:
        """Return the value in the block of a party: the buyer's name, the seller's tax number."""
        if (asked := party_field(spec)) is None or (link := party_value(self.page, *asked)) is None:
            return None
        return link.cell

    def _valid_identifier(self, kind: IdentifierKind) -> Sequence[TextSegment]:
        """Return the only number of the page that is of this kind by its check digits."""
        cells = (cell for row in self.page.layout.rows for cell in row)
        spans = ((c, s) for c in cells for s in find_valid(c.text, kind))
        found = [self.page.layout.segment(c.line, c.start + s.start, c.start + s.end) for c, s in spans]
        return found[:1] if len({cell.text for cell in found}) == 1 else []

    @cached_property
    def items(self) -> list[Item]:
        """The line items of the pages."""
        return find_items(self.page)

    def _row(self, item: Item) -> Mapping[str, Field]:
        lines, columns = self.page.lines, item.columns
        row = {}
        for name, type in COLUMN_TYPES.items():
            if cells := columns.get(name):
                row[name] = field_from_segments(name, type, cells, lines, self.page.style)
        return row

    def _total(self) -> Sequence[TextSegment]:
        found = choose_total(self.page, self.items)
        return [found[0]] if found else []

    @cached_property
    def _date_segment(self) -> TextSegment | None:
        found = choose_date(self.page)
        return found[0] if found else None

    def _date(self) -> Sequence[TextSegment]:
        return [self._date_segment] if self._date_segment else []

    def _time(self) -> Sequence[TextSegment]:
        found = choose_time(self.page, self._date_segment)
        return [found[0]] if found else []

    def _datetime(self) -> Sequence[TextSegment]:
        """Return the date with the time after it, or in the same or the next row."""
        day = self._date_segment
        if day is None:
            return []
        line = self.page.lines[day.line].text
        whole = next(
            (s for s in find_values(line, FieldType.DATETIME, self.page.style) if s.start == day.start and s.end > day.end), None
        )
        if whole is not None:
            return [self.page.layout.segment(day.line, whole.start, whole.end)]
        return [day, *(c for c in self._time() if c.row == day.row or c.row == day.row + 1)]

    @cached_property
    def _name_block(self) -> NameCandidate | None:
        return choose_merchant(self.page)

    def _merchant(self) -> Sequence[TextSegment]:
        if (seller := party_value(self.page, "seller", "name")) is not None:
            return [seller.cell]
        return self._name_block.segments if self._name_block else []

    def _hospital(self) -> Sequence[TextSegment]:
        link = self.page.best("hospital", 0.6)
        if link is not None and link.label.colon:
            return [link.cell]
        block = self._name_block
        return block.segments if block and _HOSPITAL.search(" ".join(c.text for c in block.segments)) else []

    def _seller(self) -> Sequence[TextSegment]:
        link = self.page.best("seller", 0.6)
        return [link.cell] if link else self._merchant()

    def _buyer(self) -> Sequence[TextSegment]:
        names = party_labels(self.page)
        if len(names) > 1:
            return [names[0].cell]
        link = self.page.best("buyer", 0.5)
        if link is None and self.page.kind == "invoice":  # the only name on it that has a label
            link = self.page.best("name", 0.7)
        return [link.cell] if link else []

    def _payment_method(self) -> Sequence[TextSegment]:
        """Return a labelled one, or the label of the paid amount if it names a payment method: 微信支付 36.80, VISA 12.00."""
        link = self.page.best("payment_method", 0.4)
        if link is not None:
            return [link.cell]
        paid = [k.label.cell for k in self.page.links if k.field == "paid_amount" and _PAYMENT_METHOD.search(k.label.cell.text)]
        return [strip_label_marks(self.page, cell) for cell in paid[:1]]

    def _address(self) -> Sequence[TextSegment]:
        link = self.page.best("address", 0.6)
        if link is not None:
            return [link.cell, *self.page.continuation(link)]
        block = choose_address(self.page, self._name_block)
        return block.segments if block else []

    def _currency(self) -> Sequence[TextSegment]:
        link = self.page.best("currency", 0.6)
        if link is not None:
            return [link.cell]
        cells = [*self._total(), *(a.cell for a in self.page.amounts)]
        for cell in cells:
            if match := _FORMATS["currency"].search(to_halfwidth(cell.text)):
                return [self.page.layout.segment(cell.line, cell.start + match.start(), cell.start + match.end())]
        return []

    def _by_format(self, name: str | None) -> Sequence[TextSegment]:
        """Return an unlabelled value that has the field's format, unless it has a label of another field."""
        form = _FORMATS.get(name or "")
        for row in self.page.layout.rows if form else ():
            for cell in row:
                match = form.search(to_halfwidth(cell.text)) if form else None
                if match and self.page.competing_label(cell.line, cell.start + match.start()) < 0.4:
                    return [self.page.layout.segment(cell.line, cell.start + match.start(), cell.start + match.end())]
        return []


def extract_fields(lines: Sequence[Line], specs: Sequence[FieldSpec], page_sizes: Sequence[tuple[int, int]]) -> tuple[Field, ...]:
    """Return one Field per spec, in order, from lines and boxes only; the value is None if it is not on the page."""
    del page_sizes  # not needed by the rules; part of the interface
    extractor = RuleExtractor(lines, specs)
    return verified(tuple(extractor.extract(spec) for spec in specs), extractor.page, fill=True)


def ground_values(
    values: Mapping[str, Any], specs: Sequence[FieldSpec], lines: Sequence[Line], confidences: Mapping[str, float]
) -> tuple[Field, ...]:
    """Return a language model's values as typed fields; `grounded` is False for a value that is not found on the lines."""
    extractor = RuleExtractor(lines, specs)
    fields = tuple(_grounded(extractor, spec, values.get(spec.key), confidences) for spec in specs)
    return verified(fields, extractor.page, fill=False)


def verified(fields: Sequence[Field], page: PageAnalysis, *, fill: bool) -> tuple[Field, ...]:
    """Return the fields with confidence and doubts by the ranker; `fill`: and with its values where the rules find none."""
    rankings = rank(page.layout, page.specs, page.languages, page.style)
    return verify(fields, page.specs, rankings, evidence_of(page), fill=fill)


def evidence_of(page: PageAnalysis) -> Evidence:
    """Return what the rules know about the values of the page, for the verifier. Fields without a name have the client's word."""
    certain = (label for label in page.labels if label.quality >= _MIN_LABEL)
    labels = (name.removeprefix("?") for label in certain for name, weight in label.fields.items() if weight >= _MIN_LABEL)
    links: dict[tuple[str, str], float] = {}
    for link in page.links:
        key = (link.field.removeprefix("?"), link.cell.text)
        links[key] = max(link.score, links.get(key, 0.0))
    known = [line.confidence for line in page.lines if line.confidence is not None]
    return Evidence(
        page.layout, page.style, frozenset(labels), links, fmean(known) if known else 1.0, partial(is_plausible, page)
    )


def _grounded(extractor: RuleExtractor, spec: FieldSpec, value: Any, confidences: Mapping[str, float]) -> Field:
    lines, style, confidence = extractor.page.lines, extractor.page.style, confidences.get(spec.key)
    if spec.type is FieldType.ROWS or isinstance(value, (list, tuple)):
        rows = value if isinstance(value, (list, tuple)) else [value]
        grounded = [_grounded_row(row, n, extractor.page, spec.key, confidences) for n, row in enumerate(rows)]
        return rows_field(spec, [row for row in grounded if row])
    if isinstance(value, Mapping) and value.keys() <= {"amount", "currency"}:
        value = " ".join(str(part) for part in value.values() if part)
    cells = extractor.segments(spec) if value is not None else ()
    near = Occurrence(tuple((c.line, c.start, c.end) for c in cells)) if cells else None
    if isinstance(value, str) and near is not None and _same(value, " ".join(c.text for c in cells), spec.type):
        extracted = field_from_segments(spec.key, spec.type, cells, lines, style)
        normal, box, page = extracted.normalized, extracted.box, extracted.page
        return Field(spec.key, spec.type, value.strip(), normal, box, page, confidence, grounded=True, text_confidence=confidence)
    return field_from_value(spec.key, spec.type, value, lines=lines, confidence=confidence, near=near, style=style)


def _same(value: str, text: str, type: FieldType) -> bool:
    return bool(value.strip()) and comparable(text, type) == comparable(value, type)


def _grounded_row(row: Any, number: int, page: PageAnalysis, key: str, confidences: Mapping[str, float]) -> Mapping[str, Field]:
    """Return the grounded cells of a row; of several occurrences, those nearest to the first cell."""
    cells = row.items() if isinstance(row, Mapping) else (("name", row),)
    lines, fields = page.lines, dict[str, Field]()
    near: Occurrence | None = None
    for column, value in cells:
        name = str(column)
        type = COLUMN_TYPES.get(name) or COLUMN_TYPES.get(column_for(name) or "", FieldType.TEXT)
        confidence = confidences.get(cell_key(key, number, name), confidences.get(key))
        field = field_from_value(name, type, value, lines=lines, confidence=confidence, near=near, style=page.style)
        if field.value is None:
            continue
        fields[name] = field
        if near is None and field.grounded:
            near = next(find_occurrences(field.value, type, lines, page.style), None)
    return fields
