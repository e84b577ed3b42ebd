"""Reads a Dockerfile as far as the tests want it: stages with their instructions, continuation lines joined."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILES = {"cpu": ("Dockerfile.cpu", ""), "torch": ("Dockerfile", "torch"), "vllm": ("Dockerfile", "vllm")}  # image → file, target


@dataclass
class Stage:
    """What an image is made of: the instructions of its stage and of those below it, and the default values of its arguments."""

    steps: list[tuple[str, str]] = field(default_factory=list)
    arguments: dict[str, str] = field(default_factory=dict)

    def of(self, word: str) -> list[str]:
        return [rest for name, rest in self.steps if name == word]

    def last(self, word: str) -> str:
        return self.of(word)[-1]

    def environment(self) -> dict[str, str]:
        return dict(part.split("=", 1) for line in self.of("ENV") for part in shlex.split(line))

    def copied(self) -> list[tuple[str, str]]:
        """Source and destination of every COPY, arguments put in."""
        pairs = []
        for line in self.of("COPY"):
            *sources, goal = re.sub(r"\$\{(\w+)\}", lambda m: self.arguments[m[1]], line).split()
            pairs += [(source, goal) for source in sources]
        return pairs

    def entry(self) -> list[str]:
        return json.loads(self.last("ENTRYPOINT"))


def stage(image: str) -> Stage:
    """The image as it would be built without build arguments."""
    name, target = FILES[image]
    text = re.sub(r"\\\n\s*", "", re.sub(r"^\s*#.*\n", "", (ROOT / "docker" / name).read_text(), flags=re.MULTILINE))
    stages: dict[str, Stage] = {}
    current, ahead = Stage(), Stage()
    for line in filter(None, text.splitlines()):
        word, _, rest = line.partition(" ")
        if word == "FROM":
            base, _, label = rest.partition(" AS ")
            below = stages.get(base, ahead)
            current = stages[label] = Stage([*below.steps], dict(below.arguments))
            current.steps.append((word, rest))
            continue
        place = current if stages else ahead
        place.steps.append((word, rest))
        if word == "ARG":
            argument, _, value = rest.partition("=")
            place.arguments[argument] = value
    return stages[target]
