"""One thing that was looked at, in Chinese and English."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "warn", "fail"]
Language = Literal["zh", "en"]
Words = tuple[str, str]  # Chinese, English
NOTHING: Words = ("", "")


@dataclass(frozen=True)
class CheckResult:
    """`name` stays the same for programs; `fail`: it does not work so; `warn`: it works, with less or not for long."""

    name: str
    verdict: Verdict
    what: Words
    detail: Words
    fix: Words = NOTHING

    def render(self, language: Language) -> dict[str, str]:
        """For JSON and for the table."""
        n = 0 if language == "zh" else 1
        return {"name": self.name, "verdict": self.verdict, "what": self.what[n], "detail": self.detail[n], "fix": self.fix[n]}


def same_text(words: str) -> Words:
    """Names, numbers and versions are the same in all languages."""
    return words, words


def terminal_language() -> Language:
    """The language of the terminal, by the variables that POSIX knows, in their order."""
    named = next((value for name in ("LC_ALL", "LC_MESSAGES", "LANG") if (value := os.environ.get(name))), "")
    return "zh" if named.lower().startswith("zh") else "en"
