"""Spotting: what a model wrote as text with places → runs of text, each with its place on the page.

Two forms are known. HunyuanOCR's own is `text(x1,y1),(x2,y2)` run after run, with or without line breaks between; release 1.5
also writes a JSON array of {"box": [x1, y1, x2, y2], "text": "…"}. Coordinates are 0 … 1000 of the page's width and height.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

SCALE = 1000
Box = tuple[int, int, int, int]  # left, top, right, bottom in thousandths of the page

# The last two pairs of a chain are the place; pairs before them are print: f(1,2)(10,20),(30,40).
_PAIR = r"\([0-9]{1,4}, ?[0-9]{1,4}\)"
_CHAIN = re.compile(rf"{_PAIR}(?:,? ?{_PAIR})+")
_COORDINATES = re.compile(rf"{_PAIR},? ?{_PAIR}$")
# A place that was cut off within a pair, or after its first one.
_OPEN = re.compile(rf"(?:{_PAIR},? ?){{0,40}}\((?:[0-9]{{1,4}}(?:,(?: ?[0-9]{{1,4}})?)?)?$")
_HALF = re.compile(rf"{_PAIR},? ?$")
_MORE = re.compile(r",? ?(?:\((?:[0-9]{1,4}(?:,(?: ?[0-9]{0,4})?)?)?)?")  # what may become one more pair
_MAX_CHAIN_LENGTH = 100  # characters from the end in which a stream looks for a place
_FENCE = re.compile(r"^\s*```\w*\s*|(?<!\s)\s*```\s*$")
_ITEM = re.compile(r'\{\s*"(?:box|text)"')


@dataclass(frozen=True)
class SpottedText:
    """A line of text, where it stands in what was written (characters `start` … `end`), and its place on the page, if any."""

    text: str
    start: int
    end: int
    box: Box | None


def parse(written: str) -> tuple[SpottedText, ...]:
    """The runs in the order in which they were written. Text without a place, and one that was cut off, has no box.

    Never raises: coordinates off the page are moved to its edge, corners in the wrong order are put right, and places without
    text are left out.
    """
    if is_json(written):
        return tuple(_json_runs(written))
    runs, position = [], 0
    for start, end in _coordinates(written):
        run = _spotted_text(written, position, start, _box([int(n) for n in re.findall(r"[0-9]+", written[start:end])]))
        position = end
        if run is not None:
            runs.append(run)
    cut = _OPEN.search(written, position) or (_HALF.search(written, position) if runs else None)
    rest = _spotted_text(written, position, cut.start() if cut else len(written), None)
    return (*runs, rest) if rest else tuple(runs)


def _coordinates(written: str, position: int = 0) -> Iterator[tuple[int, int]]:
    """First character and end of every complete place."""
    for chain in _CHAIN.finditer(written, position):
        place = _COORDINATES.search(written, chain.start(), chain.end())
        if place is not None:
            yield place.span()


def is_json(written: str) -> bool:
    """Whether it is in the JSON form."""
    head = _FENCE.sub("", written[:64], count=1)
    return head.startswith("[") and (_ITEM.match(head[1:].lstrip()) is not None)


def _spotted_text(written: str, start: int, end: int, box: Box | None) -> SpottedText | None:
    piece = written[start:end]
    text = piece.strip()
    if not text:
        return None
    start += len(piece) - len(piece.lstrip())
    return SpottedText(" ".join(text.split("\n")), start, start + len(text), box)


def _box(numbers: list[int]) -> Box:
    """Corners in order, on the page, and at least a thousandth apart."""
    x1, y1, x2, y2 = (min(max(n, 0), SCALE) for n in numbers)
    left, top = min(x1, x2, SCALE - 1), min(y1, y2, SCALE - 1)
    return left, top, max(x1, x2, left + 1), max(y1, y2, top + 1)


def _json_runs(written: str) -> Iterator[SpottedText]:
    """The objects of the array, up to the first that is cut off."""
    decoder = json.JSONDecoder(strict=False)
    position = written.find("{")
    while position >= 0:
        try:
            item, end = decoder.raw_decode(written, position)
        except (ValueError, RecursionError):
            return
        if isinstance(item, dict) and isinstance(item.get("text"), str) and item["text"].strip():
            start, stop = _text_in(written, position, end)
            yield SpottedText(" ".join(item["text"].split("\n")).strip(), start, stop, _json_box(item.get("box")))
        position = written.find("{", end)


def _json_box(value: Any) -> Box | None:
    if not isinstance(value, list) or len(value) != 4:
        return None
    if not all(isinstance(n, (int, float)) and not isinstance(n, bool) and abs(n) < 1e9 for n in value):
        return None
    return _box([round(n) for n in value])


def _text_in(written: str, start: int, end: int) -> tuple[int, int]:
    """Where the object's text stands, without its quotes."""
    match = re.compile(r'"text"\s*:\s*"((?:[^"\\]|\\.)*)"', re.DOTALL).search(written, start, end)
    return match.span(1) if match else (start, end)


class SpottingStream:
    """Text for people to watch while spotting is written: each line without its place, as soon as its place is complete."""

    def __init__(self) -> None:
        self._rest = ""  # what is not told yet
        self._json: bool | None = None

    def feed(self, piece: str) -> str:
        """The lines that this piece completed, each ended by a line break."""
        self._rest += piece
        if self._json is None and (")" in piece or "}" in piece):
            self._json = is_json(self._rest)
        if self._json is None:
            return ""
        return self._objects() if self._json else self._complete(len(piece))

    def close(self) -> str:
        """What is left when nothing more comes."""
        runs = _json_runs(self._rest) if self._json else parse(self._rest)
        self._rest, told = "", "".join(f"{run.text}\n" for run in runs)
        return told

    def _objects(self) -> str:
        runs = list(_json_runs(self._rest))
        if runs:
            self._rest = self._rest[runs[-1].end :]
        return "".join(f"{run.text}\n" for run in runs)

    def _complete(self, new: int) -> str:
        """Runs whose place cannot grow by further pairs any more."""
        ends = [
            end
            for _, end in _coordinates(self._rest, max(0, len(self._rest) - new - _MAX_CHAIN_LENGTH))
            if not _MORE.fullmatch(self._rest, end)
        ]
        if not ends:
            return ""
        runs = [run for run in parse(self._rest[: ends[-1]]) if run.box]
        self._rest = self._rest[ends[-1] :]
        return "".join(f"{run.text}\n" for run in runs)
