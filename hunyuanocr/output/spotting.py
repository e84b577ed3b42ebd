"""Parsing of spotting output: text with coordinates → lines of text, each with its box on the page.

There are two formats. HunyuanOCR's is `text(x1,y1),(x2,y2)`, repeated with or without line breaks; release 1.5 also generates a
JSON array of {"box": [x1, y1, x2, y2], "text": "…"}. Coordinates are 0 … 1000 of the page's width and height.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

SCALE = 1000
Box = tuple[int, int, int, int]  # left, top, right, bottom in thousandths of the page

# The last two pairs of a chain are coordinates; pairs before them are text: f(1,2)(10,20),(30,40).
_PAIR = r"\([0-9]{1,4}, ?[0-9]{1,4}\)"
_CHAIN = re.compile(rf"{_PAIR}(?:,? ?{_PAIR})+")
_COORDINATES = re.compile(rf"{_PAIR},? ?{_PAIR}$")
# Coordinates that are truncated within a pair, or after the first one.
_TRUNCATED_PAIR = re.compile(rf"(?:{_PAIR},? ?){{0,40}}\((?:[0-9]{{1,4}}(?:,(?: ?[0-9]{{1,4}})?)?)?$")
_FIRST_PAIR = re.compile(rf"{_PAIR},? ?$")
_MORE = re.compile(r",? ?(?:\((?:[0-9]{1,4}(?:,(?: ?[0-9]{0,4})?)?)?)?")  # the start of another pair
_MAX_CHAIN_LENGTH = 100  # characters at the end in which a stream searches for coordinates
_FENCE = re.compile(r"^\s*```\w*\s*|(?<!\s)\s*```\s*$")
_ITEM = re.compile(r'\{\s*"(?:box|text)"')


@dataclass(frozen=True)
class SpottedText:
    """A line of text, its position in the output (characters `start` … `end`), and its box on the page, if any."""

    text: str
    start: int
    end: int
    box: Box | None


def parse(output: str) -> tuple[SpottedText, ...]:
    """Return the lines in order. Text without coordinates, or with truncated ones, has no box.

    Never raises: coordinates outside the page are clipped, corners in the wrong order are sorted, and boxes without text are
    dropped.
    """
    if is_json(output):
        return tuple(_json_lines(output))
    lines, position = [], 0
    for start, end in _coordinates(output):
        line = _spotted_text(output, position, start, _box([int(n) for n in re.findall(r"[0-9]+", output[start:end])]))
        position = end
        if line is not None:
            lines.append(line)
    cut = _TRUNCATED_PAIR.search(output, position) or (_FIRST_PAIR.search(output, position) if lines else None)
    rest = _spotted_text(output, position, cut.start() if cut else len(output), None)
    return (*lines, rest) if rest else tuple(lines)


def _coordinates(output: str, position: int = 0) -> Iterator[tuple[int, int]]:
    """Yield start and end of all complete coordinates."""
    for chain in _CHAIN.finditer(output, position):
        coordinates = _COORDINATES.search(output, chain.start(), chain.end())
        if coordinates is not None:
            yield coordinates.span()


def is_json(output: str) -> bool:
    """Return whether the output has the JSON format."""
    head = _FENCE.sub("", output[:64], count=1)
    return head.startswith("[") and (_ITEM.match(head[1:].lstrip()) is not None)


def _spotted_text(output: str, start: int, end: int, box: Box | None) -> SpottedText | None:
    piece = output[start:end]
    text = piece.strip()
    if not text:
        return None
    start += len(piece) - len(piece.lstrip())
    return SpottedText(" ".join(text.split("\n")), start, start + len(text), box)


def _box(numbers: list[int]) -> Box:
    """Return the box with sorted corners, on the page, and at least one thousandth wide and high."""
    x1, y1, x2, y2 = (min(max(n, 0), SCALE) for n in numbers)
    left, top = min(x1, x2, SCALE - 1), min(y1, y2, SCALE - 1)
    return left, top, max(x1, x2, left + 1), max(y1, y2, top + 1)


def _json_lines(output: str) -> Iterator[SpottedText]:
    """Yield the objects of the array, up to the first truncated one."""
    decoder = json.JSONDecoder(strict=False)
    position = output.find("{")
    while position >= 0:
        try:
            item, end = decoder.raw_decode(output, position)
        except (ValueError, RecursionError):
            return
        if isinstance(item, dict) and isinstance(item.get("text"), str) and item["text"].strip():
            start, stop = _text_in(output, position, end)
            yield SpottedText(" ".join(item["text"].split("\n")).strip(), start, stop, _json_box(item.get("box")))
        position = output.find("{", end)


def _json_box(value: Any) -> Box | None:
    if not isinstance(value, list) or len(value) != 4:
        return None
    if not all(isinstance(n, (int, float)) and not isinstance(n, bool) and abs(n) < 1e9 for n in value):
        return None
    return _box([round(n) for n in value])


def _text_in(output: str, start: int, end: int) -> tuple[int, int]:
    """Return start and end of the object's text, without quotes."""
    match = re.compile(r'"text"\s*:\s*"((?:[^"\\]|\\.)*)"', re.DOTALL).search(output, start, end)
    return match.span(1) if match else (start, end)


class SpottingStream:
    """Streams the text of spotting output: each line without its coordinates, as soon as they are complete."""

    def __init__(self) -> None:
        self._rest = ""  # output that was not returned yet
        self._json: bool | None = None

    def feed(self, piece: str) -> str:
        """Return the lines that this piece completed, each with a line break."""
        self._rest += piece
        if self._json is None and (")" in piece or "}" in piece):
            self._json = is_json(self._rest)
        if self._json is None:
            return ""
        return self._objects() if self._json else self._complete(len(piece))

    def close(self) -> str:
        """Return the rest of the lines at the end of the output."""
        lines = _json_lines(self._rest) if self._json else parse(self._rest)
        self._rest, text = "", "".join(f"{line.text}\n" for line in lines)
        return text

    def _objects(self) -> str:
        lines = list(_json_lines(self._rest))
        if lines:
            self._rest = self._rest[lines[-1].end :]
        return "".join(f"{line.text}\n" for line in lines)

    def _complete(self, new: int) -> str:
        """Return the lines whose coordinates cannot be extended by further pairs."""
        ends = [
            end
            for _, end in _coordinates(self._rest, max(0, len(self._rest) - new - _MAX_CHAIN_LENGTH))
            if not _MORE.fullmatch(self._rest, end)
        ]
        if not ends:
            return ""
        lines = [line for line in parse(self._rest[: ends[-1]]) if line.box]
        self._rest = self._rest[ends[-1] :]
        return "".join(f"{line.text}\n" for line in lines)
