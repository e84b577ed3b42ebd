"""The issuer of the document: the most prominent name at its head, and the address below it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from hunyuanocr.fields.catalogue import normalise_key
from hunyuanocr.fields.layout import TextSegment, relative_char_width
from hunyuanocr.fields.rules.labels import Label
from hunyuanocr.fields.rules.merchant_patterns import (
    ADDRESS,
    FIRM,
    LEGAL_FORM,
    OWNER,
    REGISTRATION,
    SHOP_KIND,
    TITLE,
    ZH_TITLE_END,
)
from hunyuanocr.fields.rules.page_analysis import Amount, LabelValuePair, PageAnalysis
from hunyuanocr.fields.rules.trade_paper import is_trade_paper
from hunyuanocr.fields.values.dates import find_dates
from hunyuanocr.fields.values.finders import PHONE
from hunyuanocr.fields.values.span import to_halfwidth

_PARTIES = {"merchant", "hospital", "seller"}  # fields whose labels precede the issuer's name
_WEIGHTS = {
    "firm": 1.6,  # Sdn Bhd, 有限公司 …
    "kind": 1.0,  # shop, restaurant, 超市 …
    "height": 1.0,  # letters taller than the page's median, 0 … 1
    "first": 1.0,  # 1 in the first row, less further down
    "centred": 0.2,
    "wide": 0.3,  # enough letters to be a name
    "name_again": 0.4,  # the same words occur elsewhere on the page
    "address": -2.0,
    "title": -2.5,  # names of documents, greetings
    "bracketed": -1.0,  # a line in brackets is a branch, or a number
    "digits": -1.5,  # share of digits
    "own_label": 1.0,  # 店名, Merchant precedes it
    "owner": -2.0,  # an owner or operator
    "labelled": -2.0,  # begins with a label, or is the value of one
    "unsure": -1.0,  # 1 - confidence; handwriting above the print has low confidence
    "next_to_address": 0.4,  # an address, a registration number or a phone number follows
}
_KIND_AND_LABEL = re.compile(r"kedai|toko|syarikat|perusahaan|gerai|outlet", re.IGNORECASE)  # Toko Maju is a name
_MIN_SCORE = 1.2
_CERTAIN_SCORE = 2.5  # a firm at the head with this score has priority over a labelled branch (门店：解放路店)


@dataclass(frozen=True)
class NameCandidate:
    """A name: its segments, and its score."""

    segments: tuple[TextSegment, ...]
    score: float


def choose_merchant(page: PageAnalysis) -> NameCandidate | None:
    """Return a labelled name, or the most prominent name at the head of the first page; other pages than receipts have none."""
    head = _head(page)
    rated = [(_score(page, head, n), n) for n in range(len(head))]
    score, number = max(rated, key=lambda r: (round(r[0], 3), -r[1]), default=(0.0, -1))
    labelled = _labelled(page, head)
    if labelled is not None and not (
        score >= _CERTAIN_SCORE and FIRM.search(head[number].text) and not FIRM.search(labelled.segments[0].text)
    ):
        return labelled
    if score < _MIN_SCORE or not is_trade_paper(page, head[number].text):
        return None
    return NameCandidate(tuple(_trimmed(page, c) for c in _joined(page, head, number)), score)


def party_labels(page: PageAnalysis) -> list[LabelValuePair]:
    """Return the names after 名称： on an invoice, buyer first."""
    found = [k for k in page.links if k.field == "party_name" and k.label.colon]
    return sorted(found, key=lambda k: (k.cell.row, k.cell.x0))


def _labelled(page: PageAnalysis, head: Sequence[TextSegment]) -> NameCandidate | None:
    """Return the name after a label; on an invoice with two parties the second, because the buyer's comes first."""
    names = party_labels(page)
    link = page.best("merchant", 0.6) or (names[1] if len(names) > 1 else None)
    if link is None or len(normalise_key(link.cell.text)) < 2 or not (link.label.colon or link.label.quality >= 1):
        return None
    return NameCandidate((link.cell, *_rest(page, head, link.cell)), link.score)


def _head(page: PageAnalysis) -> list[TextSegment]:
    """Return the segments above the items and amounts of the first page, at most 14 rows."""
    first = min((c.page for row in page.layout.rows for c in row), default=0)
    end = page.table.header[0].row if page.table else len(page.layout.rows)
    end = min([end, *(a.cell.row for a in page.amounts if a.printed_as_money and a.cell.row > 3)])
    rows = [row for row in page.layout.rows[: max(end, 4)] if row[0].page == first][:14]
    return [c for row in rows for c in row if normalise_key(c.text)]


def _score(page: PageAnalysis, head: Sequence[TextSegment], number: int) -> float:
    return sum(_WEIGHTS[name] * value for name, value in _features(page, head, number).items())


def _features(page: PageAnalysis, head: Sequence[TextSegment], number: int) -> dict[str, float]:
    cell, text = head[number], to_halfwidth(head[number].text)
    name = REGISTRATION.sub("", text)
    letters = sum(relative_char_width(c) for c in text if c.isalpha())
    line = page.lines[cell.line]
    left, right = min(c.x0 for c in head), max(c.x1 for c in head)
    after = to_halfwidth(" ".join(c.text for c in head[number + 1 : number + 4]))
    own = _own_label(page, cell)
    labelled = max(
        (k.quality for k in page.labels if k.cell.line == cell.line and k is not own and k.quality >= 0.6), default=0.0
    )
    begins = any(
        k.cell.line == cell.line and k.cell.start == 0 and k is not own and not k.cell.text.isascii() for k in page.labels
    )
    labelled = max(labelled, 0.8 if begins else 0.0, float(own is None and bool(re.search(r":\s*\S|:$", text))))
    valued = max(
        (link.score for link in page.links if link.cell.line == cell.line and not _PARTIES & link.label.fields.keys()),
        default=0.0,
    )
    key = normalise_key(name)
    titled = TITLE.search(ZH_TITLE_END.sub("", text))
    return {
        "firm": float(bool(FIRM.search(name))),
        "kind": float(bool(SHOP_KIND.search(name))),
        "height": min(max(cell.h / page.layout.height - 1.0, 0.0), 1.0),
        "first": 1 / (1 + 0.25 * number),
        "centred": float(abs((cell.x0 + cell.x1) - (left + right)) < 0.12 * (right - left)),
        "wide": min(letters / 4, 1.0) if letters >= 1.5 else -4.0,
        "name_again": float(len(key) >= 4 and any(key in other for n, other in enumerate(page.label_keys) if n != cell.line)),
        "address": float(bool(ADDRESS.search(name)) and not FIRM.search(name)) * (0.4 if SHOP_KIND.search(name) else 1.0),
        "title": float(bool(titled)),
        "bracketed": float(text.lstrip().startswith("(")),
        "digits": min(2 * sum(c.isdigit() for c in name) / max(len(normalise_key(name)), 1), 1.0),
        "own_label": float(own is not None),
        "owner": float(bool(OWNER.search(head[number - 1].text if number else ""))),
        "labelled": max(labelled if labelled >= 0.7 else 0.0, valued if valued >= 0.4 else 0.0),
        "unsure": 1 - line.confidence if line.confidence is not None else 0.0,
        "next_to_address": float(bool(ADDRESS.search(after) or PHONE.search(after) or REGISTRATION.search(after))),
    }


def _rest(page: PageAnalysis, head: Sequence[TextSegment], cell: TextSegment) -> list[TextSegment]:
    """Return the lines below a labelled name that continue it."""
    at = next((n for n, c in enumerate(head) if c.line == cell.line), None)
    return _joined(page, head, at, steps=(1,))[1:] if at is not None else []


def _joined(page: PageAnalysis, head: Sequence[TextSegment], number: int, steps: Sequence[int] = (-1, 1)) -> list[TextSegment]:
    """Return the line with those above and below that belong to the same name: a legal form, or the other half of a name."""
    cells = [head[number]]
    for step in steps:
        at = number + step
        while 0 <= at < len(head) and _continues(page, head, cells[0 if step < 0 else -1], head[at], step):
            cells = [head[at], *cells] if step < 0 else [*cells, head[at]]
            at += step
    return cells


def _continues(page: PageAnalysis, head: Sequence[TextSegment], cell: TextSegment, other: TextSegment, step: int) -> bool:
    upper, lower = (other, cell) if step < 0 else (cell, other)
    if cell.row == other.row:  # one line that was detected in two parts
        return other.x0 - cell.x1 < 1.5 * cell.h if step > 0 else cell.x0 - other.x1 < 1.5 * cell.h
    near = 0 < lower.y - upper.y < 1.9 * max(upper.h, lower.h)
    if not near or _is_other_content(page, lower):
        return False
    text = to_halfwidth(REGISTRATION.sub("", lower.text)).strip(" .")
    if LEGAL_FORM.fullmatch(text):
        return not LEGAL_FORM.search(to_halfwidth(upper.text))
    if FIRM.match(text) and not FIRM.search(upper.text):  # the second line of a name may begin with Enterprise or Trading
        return True
    alike = 0.75 < upper.h / lower.h < 1.35
    wrapped = page.layout.wraps(upper, lower) and not FIRM.search(upper.text)
    continued = upper.text.rstrip().endswith(("&", ",", "-", "AND")) or wrapped
    return alike and (
        _unclosed(upper.text) or _unclosed(lower.text, opening=")", closing="(") or (continued and not ADDRESS.search(lower.text))
    )


def _is_other_content(page: PageAnalysis, cell: TextSegment) -> bool:
    """Return whether a line below a name is something else: a number, a title, a phone number, a date, a labelled value."""
    text = to_halfwidth(REGISTRATION.sub("", cell.text)).strip(" .")
    labelled = any(k.cell.line == cell.line and k.quality >= 0.9 for k in page.labels)
    foreign = TITLE.search(cell.text) or PHONE.search(cell.text) or any(a.cell.line == cell.line for a in _prices(page))
    return not text or text.endswith(":") or labelled or bool(foreign) or bool(find_dates(cell.text))


def _prices(page: PageAnalysis) -> list[Amount]:
    return [a for a in page.amounts if a.printed_as_money]


def _own_label(page: PageAnalysis, cell: TextSegment) -> Label | None:
    """Return the label at the start of a name's line, if it is one for names: 店名 …, Merchant …"""
    of = [k for k in page.labels if k.cell.line == cell.line and k.cell.start == 0 and _PARTIES & k.fields.keys()]
    return next((k for k in of if k.colon or not _KIND_AND_LABEL.fullmatch(k.cell.text)), None)


def _unclosed(text: str, opening: str = "(", closing: str = ")") -> bool:
    plain = to_halfwidth(text)
    return plain.count(opening) > plain.count(closing)


def _trimmed(page: PageAnalysis, cell: TextSegment) -> TextSegment:
    """Return a name without its registration number, and without the document's title after a hospital's name."""
    text = ZH_TITLE_END.sub("", REGISTRATION.sub("", cell.text)) or cell.text
    label = _own_label(page, cell)
    start = label.cell.end - cell.start if label and len(text) - (label.cell.end - cell.start) >= 2 else 0
    return strip_label_marks(page, page.layout.segment(cell.line, cell.start + start, cell.start + len(text)))


def strip_label_marks(page: PageAnalysis, cell: TextSegment) -> TextSegment:
    """Return the segment without signs between a label and its value, or around a name."""
    text = cell.text.rstrip(" -–:：*")
    start = len(text) - len(text.lstrip(" *-–:：."))
    return page.layout.segment(cell.line, cell.start + start, cell.start + len(text))


def choose_address(page: PageAnalysis, merchant: NameCandidate | None) -> NameCandidate | None:
    """Return the lines below the name that have the form of an address, including a single other line between them."""
    after = merchant.segments[-1].row if merchant else -1
    head = [c for c in _head(page) if c.row > after]
    block: list[TextSegment] = []
    for number, cell in enumerate(head):
        if block and cell.row - block[-1].row > 1:
            break
        following = head[number + 1] if number + 1 < len(head) else None
        between = bool(block) and not _is_not_address(page, cell) and following is not None and _is_address(page, following)
        last = (
            bool(block) and block[-1].text.rstrip().endswith(",") and len(cell.text) < 30 and not any(map(str.isdigit, cell.text))
        )
        if _is_address(page, cell) or between or (last and not _is_not_address(page, cell)):
            block.append(cell)
        elif block:
            break
    if sum(len(c.text) for c in block) < 8:
        return None
    first = next((k for k in page.labels if k.cell.line == block[0].line and k.cell.start == 0 and "address" in k.fields), None)
    if first is not None:  # 地址杭州市…: no separator between label and value
        rest = page.layout.segment(block[0].line, first.cell.end, block[0].end)
        block[0] = strip_label_marks(page, rest)
    return NameCandidate(tuple(block), 1.0)


def _is_address(page: PageAnalysis, cell: TextSegment) -> bool:
    text = to_halfwidth(REGISTRATION.sub("", cell.text))
    enough = sum(map(relative_char_width, filter(str.isalpha, text))) >= 3
    return enough and bool(ADDRESS.search(text)) and not _is_not_address(page, cell)


def _is_not_address(page: PageAnalysis, cell: TextSegment) -> bool:
    """Return whether the line is a labelled value, a phone number, a date, an amount, a title or a registration number."""
    text = to_halfwidth(cell.text)
    labelled = any(k.cell.line == cell.line and k.quality >= 0.9 and len(normalise_key(k.cell.text)) > 2 for k in page.labels)
    numbered = re.search(r":\s*$|:\s*[A-Z]{0,3}[\d-]{3,}$|:\s*\S{0,40}?\d{6}", text) or not REGISTRATION.sub("", text).strip()
    return labelled or bool(numbered or PHONE.search(text) or TITLE.search(text) or find_dates(text))
