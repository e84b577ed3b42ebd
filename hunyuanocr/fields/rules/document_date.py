"""Choose the document's date and time: by label, or by features of the date of a sale."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hunyuanocr.fields.catalogue import KNOWN
from hunyuanocr.fields.layout import TextSegment
from hunyuanocr.fields.rules.page_analysis import PageAnalysis
from hunyuanocr.fields.values.dates import find_dates
from hunyuanocr.fields.values.finders import find_values
from hunyuanocr.fields.values.times import find_times
from hunyuanocr.types import FieldType

_WEIGHTS = {
    "label": 3.0,  # score of the best label for the date, 0 … 1
    "other": -4.0,  # score of the best label for another date, 0 … 1
    "with_time": 0.6,  # a time of day in the same row
    "pure": 0.8,  # share of its line that is date, time or labels; low within a sentence
    "written_out": 0.2,  # a year of four digits
    "only": 0.4,  # the only date on the page
    "early": 0.2,  # 1 for the first date of the page, 0 for the last
    "sentence": -1.0,  # words like valid, until, before in its line
}
_MIN_SCORE = 0.75
_SENTENCE = re.compile(
    r"valid|until|till|expir|before|effective|from|since|w\.?e\.?f|within|exchange|refund|birth|born|dob|有效|截止|之前|前使用|至|生产|效期|出生|活动|兑换",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class DateCandidate:
    """A date or a time on the page, and its value or possible values."""

    cell: TextSegment
    value: Any


def date_candidates(page: PageAnalysis, type: FieldType) -> list[DateCandidate]:
    """Return all dates, or all times, in reading order."""
    find: Any = find_times if type is FieldType.TIME else find_dates
    return [
        DateCandidate(page.layout.segment(cell.line, span.start, span.end), value)
        for row in page.layout.rows
        for cell in row
        for span, value in find(page.lines[cell.line].text, page.style)
    ]


def choose_date(page: PageAnalysis) -> tuple[TextSegment, float] | None:
    """Return the date of the sale, invoice or prescription, and its score; None if only other dates are printed.

    A labelled date that is not understood (31/02/2025) is returned as printed.
    """
    candidates = date_candidates(page, FieldType.DATE)
    features = [_features(page, candidates, number) for number in range(len(candidates))]
    rated = [(sum(_WEIGHTS[name] * value for name, value in found.items()), number) for number, found in enumerate(features)]
    score, number = max(rated, key=lambda r: (r[0], -r[1]), default=(0.0, 0))
    if score >= _MIN_SCORE:
        return candidates[number].cell, score
    link = page.best("date", 0.4)
    return (link.cell, link.score) if link and not find_values(link.cell.text, FieldType.DATE, page.style) else None


def _features(page: PageAnalysis, candidates: Sequence[DateCandidate], number: int) -> dict[str, float]:
    cell = candidates[number].cell
    line = page.lines[cell.line].text
    links = [link for link in page.links if link.cell.line == cell.line and link.cell.start == cell.start]
    own = max((link.score for link in links if link.field == "date"), default=0.0)
    other_links = [
        link for link in links if "date" not in link.label.fields and _type(link.field) in (FieldType.DATE, FieldType.DATETIME)
    ]
    other = max((link.score for link in other_links), default=0.0)
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
        "only": float(len({str(m.value) for m in candidates}) == 1),
        "early": 1 - number / max(len(candidates) - 1, 1),
        "sentence": float(own < 0.5 and bool(_SENTENCE.search(line.replace(cell.text, "")))),
    }


def _type(name: str) -> FieldType | None:
    known = KNOWN.get(name)
    return known.type if known else None


def choose_time(page: PageAnalysis, date: TextSegment | None) -> tuple[TextSegment, float] | None:
    """Return a labelled time; else the one in the date's row; else the only unlabelled one of the page; with its score."""
    link = page.best("time")
    if link and (date is None or link.score >= 0.75 or link.cell.row == date.row):
        return link.cell, link.score
    others = _rows_of_other_times(page)
    free = [m for m in date_candidates(page, FieldType.TIME) if m.cell.row not in others]
    same_row = [m.cell for m in free if date is not None and m.cell.page == date.page and m.cell.row == date.row]
    if same_row:
        return same_row[0], 0.7
    return (free[0].cell, 0.5) if len({m.value for m in free}) == 1 and _is_separate(page, free[0].cell) else None


def _rows_of_other_times(page: PageAnalysis) -> set[int]:
    """Return the rows with a label of another date or time: printed, opened, due …"""
    types = (FieldType.DATE, FieldType.TIME, FieldType.DATETIME)
    other = [k for k in page.labels if k.quality >= 0.6 and not {"date", "time"} & k.fields.keys()]
    return {k.cell.row for k in other if any(_type(name) in types for name in k.fields)}


def _is_separate(page: PageAnalysis, cell: TextSegment) -> bool:
    """Return whether the segment is not part of a sentence."""
    text = page.lines[cell.line].text
    return sum(c.isalpha() for c in text) - sum(c.isalpha() for c in cell.text) <= 6 and not _SENTENCE.search(text)
