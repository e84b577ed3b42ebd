"""The blocks of the parties on a page: which rows describe the seller, which the buyer, the sender or the recipient.

A block begins with the party's name alone in a line (Verkäufer), or has it upright in a narrow column at its left (购买方).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hunyuanocr.fields.catalogue import lookup
from hunyuanocr.fields.layout import TextSegment, union_box
from hunyuanocr.fields.rules.label_words import label_key
from hunyuanocr.fields.rules.labels import Label
from hunyuanocr.fields.rules.page_analysis import LabelValuePair, PageAnalysis
from hunyuanocr.types import FieldSpec

_PARTIES = ("buyer", "seller", "sender", "recipient")
_UPRIGHT = {
    "购买方": "buyer",
    "购货方": "buyer",
    "购买方信息": "buyer",
    "销售方": "seller",
    "销货方": "seller",
    "销售方信息": "seller",
}
_NAMES = ("name", "party_name", "patient")  # fields of the label "Name" within a block
_MIN_FIT = 0.8  # of a label and its value within a block
_MAX_ROWS = 8  # of a block below its heading


@dataclass(frozen=True)
class Block:
    """The area of a party on a page, in pixels: below `top`, above `bottom` and right of `left`."""

    party: str
    page: int
    left: float
    top: float
    bottom: float

    def contains(self, cell: TextSegment) -> bool:
        """Return whether the centre of the segment is within the block."""
        return cell.page == self.page and self.top < cell.y < self.bottom and cell.x1 > self.left


def party_field(spec: FieldSpec) -> tuple[str, str] | None:
    """Return the party and the field of a request such as 购买方纳税人识别号 or "seller VAT number", or None."""
    if spec.name in _PARTIES:
        return spec.name, "name"
    if spec.name is not None:
        return None
    words = spec.key.replace("_", " ")
    for cut in range(2, len(words)):
        head, tail = words[:cut], words[cut:]
        if words.isascii() and not tail.startswith(" "):
            continue
        party, field = lookup(head), lookup(tail)
        if party and field and party.name in _PARTIES and field.name not in _PARTIES:
            return party.name, field.name
    return None


def party_value(page: PageAnalysis, party: str, field: str) -> LabelValuePair | None:
    """Return the labelled value of a field within the block of a party."""
    names = _NAMES if field == "name" else (field,)
    for block in _blocks(page):
        if block.party == party:
            found = [k for k in page.links if k.field in names and block.contains(k.label.cell) and k.fit >= _MIN_FIT]
            if found:
                return min(found, key=lambda k: (k.label.cell.y, -k.fit))
    return None


def _blocks(page: PageAnalysis) -> list[Block]:
    return [*_upright_blocks(page), *_blocks_below(page)]


def _blocks_below(page: PageAnalysis) -> Iterator[Block]:
    """Yield the blocks below a line that is only the label of a party."""
    headings = [k for k in page.labels if _alone(page, k) and _party_of(k)]
    for label in headings:
        cell = label.cell
        column = [other.cell.y for other in headings if other.cell.page == cell.page and other.cell.y > cell.y + 0.5 * cell.h]
        end = min([cell.y + _MAX_ROWS * 2.2 * cell.h, *column])
        yield Block(_party_of(label) or "", cell.page, cell.x0 - 2 * cell.h, cell.y + 0.3 * cell.h, end)


def _party_of(label: Label) -> str | None:
    return next((name for name in _PARTIES if name in label.fields), None)


def _alone(page: PageAnalysis, label: Label) -> bool:
    cell = label.cell
    whole = sum(map(str.isalnum, page.lines[cell.line].text)) == sum(map(str.isalnum, cell.text))
    return whole and len(page.layout.rows[cell.row]) == 1 and cell.x1 - cell.x0 > cell.h


def _upright_blocks(page: PageAnalysis) -> Iterator[Block]:
    """Yield the blocks right of a party's name that is printed from top to bottom, as one line or letter by letter."""
    cells = [page.layout.segment(c.line, 0, c.end) for row in page.layout.rows for c in row]
    for cell in cells:
        party = _UPRIGHT.get(label_key(cell.text))
        if party:
            xs, ys = zip(*page.layout.box(cell), strict=True)
            height = max(ys) - min(ys)
            if height > 1.5 * (max(xs) - min(xs)):
                yield Block(party, cell.page, max(xs), min(ys) - 0.1 * height, max(ys) + 0.1 * height)
    yield from _stacked(page, [c for c in cells if len(label_key(c.text)) == 1])


def _stacked(page: PageAnalysis, letters: Sequence[TextSegment]) -> Iterator[Block]:
    """Yield the blocks right of single letters below one another that form a party's name: 购, 买, 方."""
    for first in letters:
        column = [first]
        for cell in sorted(letters, key=lambda c: c.y):
            last = column[-1]
            if cell.page == last.page and abs(cell.x0 - last.x0) < last.h and 0.5 * last.h < cell.y - last.y < 4 * last.h:
                column.append(cell)
        for length in range(len(column), 1, -1):
            party = _UPRIGHT.get("".join(label_key(c.text) for c in column[:length]))
            if party:
                box = union_box([page.layout.box(c) for c in column[:length]])
                yield Block(party, first.page, first.x0 + first.h, box[0][1] - first.h, box[2][1] + first.h)
                break
