"""The result of one check, in Chinese and English."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "warn", "fail"]
Language = Literal["zh", "en"]
Bilingual = tuple[str, str]  # Chinese, English
NOTHING: Bilingual = ("", "")


@dataclass(frozen=True)
class CheckResult:
    """One check. `name` is stable for programs; `fail`: does not work; `warn`: works with restrictions or not for long."""

    name: str
    verdict: Verdict
    what: Bilingual
    detail: Bilingual
    fix: Bilingual = NOTHING

    def render(self, language: Language) -> dict[str, str]:
        """Return the result in one language, for JSON and for the table."""
        index = 0 if language == "zh" else 1
        return {
            "name": self.name,
            "verdict": self.verdict,
            "what": self.what[index],
            "detail": self.detail[index],
            "fix": self.fix[index],
        }


def same_text(text: str) -> Bilingual:
    """Return names, numbers and versions for both languages."""
    return text, text


def terminal_language() -> Language:
    """Return the language of the terminal from the POSIX locale variables, in order of precedence."""
    locale = next((value for name in ("LC_ALL", "LC_MESSAGES", "LANG") if (value := os.environ.get(name))), "")
    return "zh" if locale.lower().startswith("zh") else "en"
