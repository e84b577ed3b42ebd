"""A generated page: printed lines with their boxes, and what each label on it says."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from synthesis.ranker.values import Style, Values
from synthesis.ranker.words import WEIGHTS, cased, label, other_label

Box = tuple[float, float, float, float]  # left, top, right, bottom, in heights of a letter
LAYOUTS = ("inline", "glued", "left", "right", "above", "shifted", "label_after")


@dataclass
class Printed:
    """A line. `values`: the parts of it that are answers."""

    text: str
    box: Box
    values: list[str] = field(default_factory=list)


class Sheet:
    """A page in one language. `known` and `other` hold the answers by field and by printed label: (line, value)."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.language = rng.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        self.style = Style.draw(rng, self.language)
        self.values = Values(rng, self.style)
        self.lines: list[Printed] = []
        self.known: dict[str, list[tuple[int, str]]] = {}
        self.other: dict[str, list[tuple[int, str]]] = {}
        self.continued: list[tuple[int, int]] = []  # names over two lines
        self.y = 0.0

    def chance(self, share: float) -> bool:
        """Return True in this share of the calls."""
        return self.rng.random() < share

    def put(self, text: str, x: float, y: float | None = None, h: float = 1.0, *, right: bool = False) -> int:
        """Print a line at x (its right end if `right`) and return its number."""
        y = self.y if y is None else y
        width = sum(1.0 if ord(c) > 0x2E80 else 0.55 for c in text) * h
        self.lines.append(Printed(text, (x - width, y, x, y + h) if right else (x, y, x + width, y + h)))
        return len(self.lines) - 1

    def centred(self, text: str, width: float, h: float = 1.0, *, centre: bool = True) -> int:
        """Print a line of a heading and move down."""
        own = sum(1.0 if ord(c) > 0x2E80 else 0.55 for c in text) * h
        line = self.put(text, max(0.0, (width - own) / 2) if centre else self.rng.uniform(0, 1), h=h)
        self.y += 1.35 * h
        return line

    def label(self, field: str) -> str:
        """Return a printed label of a known field, now and then bilingual."""
        words = label(self.rng, field, self.language)
        if self.language != "en" and self.chance(0.06):
            words += self.rng.choice(["/", " ", "("]) + label(self.rng, field, "en")
        return cased(words, self.style.case if self.chance(0.8) else 0)

    def note(self, field: str, line: int, value: str) -> None:
        """Record that a line answers a known field; the first one counts."""
        self.known.setdefault(field, [(line, value)])
        self.lines[line].values.append(value)

    def note_other(self, words: str, line: int, value: str) -> None:
        """Record that a line answers a label that is not in the catalogue."""
        self.other.setdefault(words, [(line, value)])
        self.lines[line].values.append(value)

    def pair(
        self, words: str, value: str, x: float, x2: float, layout: str, *, h: float = 1.0, sep: str | None = None
    ) -> tuple[int, float]:
        """Print a label and its value and return the line of the value and the rows that they take."""
        rng = self.rng
        sep = rng.choice([":", " :", ": ", "", " "]) if sep is None else sep
        jitter = rng.gauss(0, 0.12)
        if layout in ("inline", "glued"):
            gap = "" if layout == "glued" else sep or rng.choice([" ", ":", "  "])
            return self.put(f"{words}{gap}{value}", x, h=h), 1.0
        if layout == "above":
            self.put(words, x, h=h)
            return self.put(value, x + rng.uniform(-0.5, 0.5), self.y + 1.4 * h, h), 2.2
        if layout == "label_after":
            line = self.put(value, x, h=h)
            self.put(words, x2, h=h)
            return line, 1.0
        self.put(words + sep.strip(), x, h=h)
        if layout == "shifted":
            jitter = rng.uniform(-0.6, 0.6)
        return self.put(value, x2, self.y + jitter, h, right=layout == "right"), 1.0

    def field(self, field: str, value: str, x: float, x2: float, layout: str, *, h: float = 1.0, words: str = "") -> float:
        """Print and record a known field; return the rows that it takes."""
        line, rows = self.pair(words or self.label(field), value, x, x2, layout, h=h)
        self.note(field, line, value)
        return rows

    def some_other(self, x: float, x2: float, layout: str) -> float:
        """Print and record a label that is not in the catalogue; return the rows that it takes."""
        words, value = other_label(self.rng, self.language), self.values.other()
        if words in self.other:
            return 0.0
        line, rows = self.pair(cased(words, self.style.case), value, x, x2, layout)
        self.note_other(words, line, value)
        return rows

    def block(self, fields: list[str], x: float, width: float, layout: str, others: int = 0) -> None:
        """Print known fields and some others in any order, one below the other or in two columns."""
        todo = [f for f in fields if f not in self.known] + ["" for _ in range(others)]
        self.rng.shuffle(todo)
        two = self.chance(0.25) and width > 20
        for n, name in enumerate(todo):
            at = x + (width / 2 if two and n % 2 else 0)
            end = x + width if layout == "right" else at + self.rng.choice([7.0, 9.0, 12.0])
            shape = "inline" if two else layout
            rows = self.field(name, self.values.of(name), at, end, shape) if name else self.some_other(at, end, shape)
            if not two or n % 2 or n == len(todo) - 1:
                self.y += 1.35 * rows
