"""Which date or time is meant: by its label, or the one that the sale itself would carry."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hunyuanocr.fields.catalogue import KNOWN
from hunyuanocr.fields.layout import TextSegment
from hunyuanocr.fields.rules.page_analysis import PageAnalysis
from hunyuanocr.fields.values.dates import find_dates, find_times
from hunyuanocr.types import FieldType

_WEIGHTS = {
    "label": 3.0,  # the best label that names it so, 0 … 1
    "other": -4.0,  # the best label that names it as another date, 0 … 1
    "with_time": 0.6,  # a time of day stands beside it
    "pure": 0.8,  # share of its line that is date, time, or their labels; a date inside a sentence is not the sale's
    "written_out": 0.2,  # four digits of a year
    "only": 0.4,  # no other date is on the page
    "early": 0.2,  # 1 for the first of the page's dates, 0 for the last
    "sentence": -1.0,  # words like valid, until, before stand beside it
}
_MIN_SCORE = 0.75
_SENTENCE = re.compile(
    r"valid|until|till|expir|before|effective|from|since|w\.?e\.?f|within|exchange|refund|birth|born|dob|有效|截止|之前|前使用|至|生产|效期|出生|活动|兑换",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class DateCandidate:
    """A date or a time on the page, and what it says."""

    cell: TextSegment
    says: Any


def date_candidates(page: PageAnalysis, type: FieldType) -> list[DateCandidate]:
    """All dates, or all times, in reading order."""
    find: Any = find_times if type is FieldType.TIME else find_dates
    return [
        DateCandidate(page.layout.segment(cell.line, span.start, span.end), says)
        for row in page.layout.rows for cell in row for span, says in find(page.lines[cell.line].text)
    ]  # fmt: skip


def choose_date(page: PageAnalysis) -> tuple[TextSegment, float] | None:
    """The date of the sale, the invoice, the prescription; None where only dates of other things are printed."""
    found = date_candidates(page, FieldType.DATE)
    rated = [(sum(_WEIGHTS[name] * value for name, value in _features(page, found, n).items()), n) for n in range(len(found))]
    score, number = max(rated, key=lambda r: (r[0], -r[1]), default=(0.0, 0))
    return (found[number].cell, score) if score >= _MIN_SCORE else None


def _features(page: PageAnalysis, found: Sequence[DateCandidate], number: int) -> dict[str, float]:
    cell = found[number].cell
    line = page.lines[cell.line].text
    links = [link for link in page.links if link.cell.line == cell.line and link.cell.start == cell.start]
    own = max((link.score for link in links if link.field == "date"), default=0.0)
    decoys = [
        link for link in links if "date" not in link.label.fields and _type(link.field) in (FieldType.DATE, FieldType.DATETIME)
    ]
    other = max((link.score for link in decoys), default=0.0)
    times = [m.cell for m in date_candidates(page, FieldType.TIME) if m.cell.row == cell.row]
    used = len(cell.text) + sum(len(t.text) for t in times if t.line == cell.line)
    used += sum(len(link.label.cell.text) for link in links if link.label.cell.line == cell.line)
    letters = sum(not c.isspace() for c in line)
    return {
        "label": own,
        "other": other if other > own else 0.0,
        "with_time": float(bool(times)),
        "pure": min(used / max(letters, 1), 1.0),
        "written_out": float(bool(re.search(r"(19|20)\d\d", cell.text))),
        "only": float(len({str(m.says) for m in found}) == 1),
        "early": 1 - number / max(len(found) - 1, 1),
        "sentence": float(own < 0.5 and bool(_SENTENCE.search(line.replace(cell.text, "")))),
    }


def _type(name: str) -> FieldType | None:
    known = KNOWN.get(name)
    return known.type if known else None


def choose_time(page: PageAnalysis, date: TextSegment | None) -> tuple[TextSegment, float] | None:
    """A labelled time; else the one beside the date; else the only one on the page that no other label claims."""
    link = page.best("time")
    if link and (date is None or link.score >= 0.75 or link.cell.row == date.row):
        return link.cell, link.score
    others = _rows_of_other_moments(page)
    free = [m for m in date_candidates(page, FieldType.TIME) if m.cell.row not in others]
    beside = [m.cell for m in free if date is not None and m.cell.page == date.page and m.cell.row == date.row]
    if beside:
        return beside[0], 0.7
    return (free[0].cell, 0.5) if len({m.says for m in free}) == 1 and _alone(page, free[0].cell) else None


def _rows_of_other_moments(page: PageAnalysis) -> set[int]:
    """Rows that a label of another date or time begins: printed, opened, due …"""
    moments_ = (FieldType.DATE, FieldType.TIME, FieldType.DATETIME)
    other = [k for k in page.labels if k.quality >= 0.6 and not {"date", "time"} & k.fields.keys()]
    return {k.cell.row for k in other if any(_type(name) in moments_ for name in k.fields)}


def _alone(page: PageAnalysis, cell: TextSegment) -> bool:
    text = page.lines[cell.line].text
    return sum(c.isalpha() for c in text) - sum(c.isalpha() for c in cell.text) <= 6 and not _SENTENCE.search(text)
