"""Divide the lines of a file into documents: by pages that begin anew, and by empty bands between papers in one picture.

A band alone proves nothing: names and prices of one receipt, and the two columns of an invoice have one as well. Both sides must
be documents of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hunyuanocr.fields.documents.gutters import Gutter, find_gutters
from hunyuanocr.fields.documents.identity import Identity, identify, lines_with_total, page_number, same_name
from hunyuanocr.fields.layout import union_box
from hunyuanocr.types import Line, PagesMode, Quad

_MAX_LINES = 600  # of a page that is examined for several papers
_MIN_MARKS = 3  # of two papers side by side, together: the columns of one form share them
_MAX_GUTTERS = 6  # that are examined at each step; photos of one paper have few


@dataclass(frozen=True)
class DocumentPart:
    """One document: the indices of its lines in reading order, its pages, and its box on the first of them (None: no text)."""

    lines: tuple[int, ...]
    pages: tuple[int, ...]
    box: Quad | None
    is_piece: bool = False  # of a page that shows several papers


def split_documents(lines: Sequence[Line], pages: int, mode: PagesMode = PagesMode.AUTO) -> list[DocumentPart]:
    """Return the documents of a file with this number of pages, in reading order; a single one is the ordinary case.

    `mode`: `together` is always one document; `separate` begins one with each page; `auto` with each page that has its own issuer
    and total. Pages of a document of one page are searched for several papers, except with `together`.
    """
    by_page: list[list[int]] = [[] for _ in range(pages)]
    for number, line in enumerate(lines):
        by_page[line.page].append(number)
    if mode is PagesMode.TOGETHER:
        return [_part(lines, range(len(lines)), tuple(range(pages)))]
    groups = [(n,) for n in range(pages)] if mode is PagesMode.SEPARATE else _groups(lines, by_page)
    parts: list[DocumentPart] = []
    for group in groups:
        numbers = [n for page in group for n in by_page[page]]
        papers = list(_papers(lines, numbers)) if len(group) == 1 else [numbers]
        parts += [_part(lines, paper, group, is_piece=len(papers) > 1) for paper in papers]
    return parts


def _part(lines: Sequence[Line], numbers: Sequence[int], pages: tuple[int, ...], *, is_piece: bool = False) -> DocumentPart:
    first = [lines[n].box for n in numbers if lines[n].page == pages[0]]
    corners = [((x, y),) * 4 for box in first for x, y in box]
    return DocumentPart(tuple(numbers), pages, union_box(corners) if corners else None, is_piece)


def _groups(lines: Sequence[Line], by_page: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
    """Return the pages of each document: a page begins one if it has its own issuer and total, after one that is complete."""
    groups: list[list[int]] = [[0]] if by_page else []
    for page in range(1, len(by_page)):
        before = [lines[n] for earlier in groups[-1] for n in by_page[earlier]]
        if _begins_anew([lines[n] for n in by_page[page]], before):
            groups.append([page])
        else:
            groups[-1].append(page)
    return [tuple(group) for group in groups]


def _begins_anew(page: Sequence[Line], before: Sequence[Line]) -> bool:
    if not page or not before or (page_number(page) or 1) > 1:
        return False
    new = identify(tuple(page))
    if new.merchant is None or new.total is None:
        return False
    old = identify(tuple(before))
    if old.total is None:
        return False
    if new.number is not None and old.number is not None:
        return new.number != old.number
    return not same_name(new.merchant, old.merchant) or (None not in (new.date, old.date) and new.date != old.date)


def _papers(lines: Sequence[Line], numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    """Yield the lines of each paper on one page."""
    own = [lines[n] for n in numbers]
    if not 6 <= len(own) <= _MAX_LINES or not _may_separate(own):
        yield numbers
        return
    for paper in _cut(own, list(range(len(own)))):
        yield [numbers[n] for n in paper]


def _may_separate(lines: Sequence[Line]) -> bool:
    """Return whether a band has labels of a total on both sides: a quick test before any part is analysed."""
    gutters = list(find_gutters(lines))
    totals = set(lines_with_total(lines)) if gutters else set()
    return any(totals.intersection(g.before) and totals.intersection(g.after) for g in gutters)


def _cut(lines: Sequence[Line], numbers: list[int]) -> list[list[int]]:
    """Return the lines of each paper: cut at the widest band between two documents, and each side again."""
    own = [lines[n] for n in numbers]
    for tried, gutter in enumerate(find_gutters(own)):
        if tried == _MAX_GUTTERS:
            break
        if _separates(own, gutter):
            sides = ([numbers[n] for n in side] for side in (gutter.before, gutter.after))
            return [paper for side in sides for paper in _cut(lines, side)]
    return [numbers]


def _separates(lines: Sequence[Line], gutter: Gutter) -> bool:
    one, other = (identify(tuple(lines[n] for n in side)) for side in (gutter.before, gutter.after))
    if not (one.is_document and other.is_document) or one.is_same(other):
        return False
    if gutter.vertical:
        return one.marks + other.marks >= _MIN_MARKS
    return _is_whole(one) and _is_whole(other)


def _is_whole(identity: Identity) -> bool:
    """Return whether all is printed that a document has: a second total of a receipt, on its card slip, is not enough."""
    return None not in (identity.merchant, identity.date, identity.total)
