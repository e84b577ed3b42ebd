"""Regular expressions of clients (`pattern` of a JSON Schema), matched by RE2 in linear time.

The `re` module backtracks and holds the GIL meanwhile: one hostile pattern would block the whole process. RE2 has no look-around
and no back-references; patterns with these are refused. `\\w`, `\\d` and `\\s` have their Unicode meaning as in Python, `.` is
any character except a line feed, `$` is the end of the text only, as in ECMA-262, and `\\b` supports ASCII letters only.
Source: https://github.com/google/re2/wiki/Syntax.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import re2

MAX_LENGTH = 1000  # characters of a pattern
MAX_TEXT = 4_000  # characters of a text to search
_CACHED = 32  # compiled patterns

# Memory limits of RE2 in bytes. Compiling holds the GIL, up to about 100 ms per pattern; its time grows with the square of the
# optional repetitions, so that the pattern's frame (each character class as one letter) has a lower limit.
_MAX_FRAME = 32 * 1024
_MAX_MEMORY = 768 * 1024

# Character classes. Letters outside Latin, CJK and full-width forms are included as whole blocks: the exact tables of RE2
# (\p{L}\p{N}) need 1,346 instructions per use, so that \w{1,200} would not compile.
_DIGIT = [(0x30, 0x39), (0xFF10, 0xFF19)]
_SPACE = [
    (0x09, 0x0D),
    (0x1C, 0x20),
    (0x85, 0x85),
    (0xA0, 0xA0),
    (0x1680, 0x1680),
    (0x2000, 0x200A),
    (0x2028, 0x2029),
    (0x202F, 0x202F),
    (0x205F, 0x205F),
    (0x3000, 0x3000),
]
_WORD = [
    (0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A), (0xAA, 0xAA), (0xB2, 0xB3), (0xB5, 0xB5), (0xB9, 0xBA), (0xBC, 0xBE),
    (0xC0, 0xD6), (0xD8, 0xF6), (0xF8, 0x167F), (0x1681, 0x1FFF), (0x2070, 0x2079), (0x207F, 0x2089), (0x2090, 0x209C),
    (0x2150, 0x2189), (0x2460, 0x249B), (0x24EA, 0x24FF), (0x2776, 0x2793), (0x2C00, 0x2DFF), (0x3005, 0x3007), (0x3021, 0x3029),
    (0x3031, 0x3035), (0x3038, 0x303C), (0x3041, 0x3096), (0x309D, 0x309F), (0x30A1, 0x30FA), (0x30FC, 0x318E), (0x3192, 0x3195),
    (0x31A0, 0x31BF), (0x31F0, 0x31FF), (0x3220, 0x3229), (0x3248, 0x324F), (0x3251, 0x325F), (0x3280, 0x3289), (0x32B1, 0x32BF),
    (0x3400, 0x4DBF), (0x4E00, 0xA48C), (0xA4D0, 0xD7FB), (0xF900, 0xFD3D), (0xFD50, 0xFDFB), (0xFE70, 0xFEFC), (0xFF10, 0xFF19),
    (0xFF21, 0xFF3A), (0xFF41, 0xFF5A), (0xFF66, 0xFFBE), (0x10000, 0x1CFFF), (0x1D400, 0x1D7FF), (0x20000, 0x323AF),
]  # fmt: skip
_TOKEN = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\U[0-9a-fA-F]{8}|\\[pP]\{\^?\w{1,40}\}"
    r"|\\[pP].|\\x\{[0-9a-fA-F]{1,8}\}|\\x[0-9a-fA-F]{2}|\\[0-7]{1,3}|\\.|\{[0-9]{0,9},?[0-9]{0,9}\}|\(\?P?<\w{1,100}>"
    r"|\(\?(?:[imsU-]{0,9}[:)]|<?[=!]|[>#(]|P=)|.",
    re.DOTALL,
)
_CLASS_ESCAPE = re.compile(r"\\[dDwWsS]")
_ZERO_WIDTH = ("\\b", "\\B", "\\A", "\\Z", "\\z", "^", "$")
_REASONS = {
    "invalid perl operator": "look-around and other extensions are not supported",
    "invalid escape sequence": "back-references and unknown escapes are not supported",
    "invalid repetition size": "at most 1,000 repetitions are supported, including nested ones",
    "pattern too large": "the repetitions need too much memory",
    "bad repetition operator": "possessive and repeated quantifiers are not supported",
}


class UnsupportedPattern(ValueError):
    """The pattern is invalid or not supported; the message contains the pattern and the reason."""


class ClientRegex:
    """A compiled pattern. `size` is the number of instructions: searching n bytes takes at most about n × size steps."""

    def __init__(self, pattern: str) -> None:
        """Compile the pattern. Raise UnsupportedPattern."""
        if len(pattern) > MAX_LENGTH:
            raise UnsupportedPattern(f"The pattern '{pattern[:80]}…' has more than {MAX_LENGTH} characters.")
        try:
            translated = _Translation(pattern)
            _compiled(translated.frame, _MAX_FRAME)
            self._compiled = _compiled(translated.text, _MAX_MEMORY)
        except (re2.error, ValueError) as e:
            raise UnsupportedPattern(f"The pattern '{pattern[:80]}' cannot be used: {_reason(e)[:200]}.") from e
        self.size: int = self._compiled.programsize

    def search(self, text: str) -> bool:
        """Return whether the pattern matches anywhere in the text; False for texts longer than MAX_TEXT."""
        return len(text) <= MAX_TEXT and self._compiled.search(text.encode("utf-8", "replace")) is not None


@lru_cache(maxsize=_CACHED)
def compile_regex(pattern: str) -> ClientRegex:
    """Return the compiled pattern from a cache. Raise UnsupportedPattern."""
    return ClientRegex(pattern)


def _compiled(pattern: str, max_mem: int) -> Any:
    options = re2.Options()
    options.max_mem, options.log_errors, options.never_capture = max_mem, False, True
    try:
        return re2.compile(pattern.encode("utf-8", "replace"), options)
    finally:
        re2.purge()  # the cache of the re2 module keeps 128 patterns


def _reason(error: Exception) -> str:
    message = error.args[0].decode("utf-8", "replace") if error.args and isinstance(error.args[0], bytes) else str(error)
    reason = next((text for start, text in _REASONS.items() if message.startswith(start)), "")
    return f"{message} ({reason})" if reason else message


class _Translation:
    """The pattern in the syntax of RE2 (`text`), and with one letter per character or class (`frame`)."""

    def __init__(self, pattern: str) -> None:
        """Translate the pattern. Raise ValueError."""
        self._text: list[str] = []
        self._frame: list[str] = []
        self._open = -1  # index in `text` of the open bracket, or -1
        for sign in _TOKEN.findall(pattern):
            if self._open < 0:
                self._outside(sign)
            else:
                for part in [sign] if sign[0] == "\\" else sign:  # repetitions and groups are literal inside brackets
                    self._inside(part)
        self.text, self.frame = "".join(self._text), "".join(self._frame)

    def _outside(self, sign: str) -> None:
        if sign == "[":
            self._open = len(self._text)
            self._text.append(sign)
        elif sign[0] == "\\" or sign == ".":
            self._text.append(f"[{_class(sign[1])}]" if _CLASS_ESCAPE.fullmatch(sign) else _escape(sign))
            self._frame.append("" if sign in _ZERO_WIDTH else self._letter())
        elif sign[0] == "(":
            self._text.append(sign)
            self._frame.append("(" if "<" in sign else sign)
        elif sign in "|)*+?^$" or (sign[0] == "{" and sign[1:2].isdigit()) or sign.startswith("{,"):
            self._text.append(f"{{0{sign[1:]}" if sign.startswith("{,") else sign)
            self._frame.append("" if sign in _ZERO_WIDTH else self._text[-1])
        else:
            self._text.append(sign)
            self._frame += (self._letter() for _ in sign)

    def _inside(self, sign: str) -> None:
        count = len(self._text) - self._open - 1  # parts since the bracket
        count -= count > 0 and self._text[self._open + 1] == "^"
        if _CLASS_ESCAPE.fullmatch(sign):
            if count > 1 and self._text[-1] == "-":
                raise ValueError(f"a range of characters that ends in {sign}")
            self._text.append(_class(sign[1]))
        elif sign[0] == "\\":
            self._text.append(_escape(sign))
        elif sign == "]" and count:
            self._open = -1
            self._text.append(sign)
            self._frame.append(self._letter())
        else:
            self._text.append("\\" + sign if sign in "[]" else sign)

    def _letter(self) -> str:
        """Return a letter different from the previous one: RE2 merges repeated equal letters."""
        return chr(0x61 + len(self._frame) % 26)


def _escape(sign: str) -> str:
    if sign == "\\Z":
        return "\\z"
    if sign in ("\\Q", "\\C"):
        raise ValueError(f"invalid escape sequence: {sign}")
    if sign == "." or sign[1] not in "uU" or len(sign) == 2:
        return sign
    numbers = [int(n, 16) for n in re.split(r"\\[uU]", sign)[1:]]
    number = numbers[0] if len(numbers) == 1 else 0x10000 + ((numbers[0] & 0x3FF) << 10) + (numbers[1] & 0x3FF)
    if 0xD800 <= number <= 0xDFFF:
        raise ValueError(f"{sign} is half of a surrogate pair")
    return f"\\x{{{number:x}}}"


def _class(letter: str) -> str:
    ranges = {"d": _DIGIT, "w": _WORD, "s": _SPACE}[letter.lower()]
    if letter.isupper():
        edges = [-1, *(n for pair in ranges for n in pair), 0x110000]
        ranges = [(a + 1, b - 1) for a, b in zip(edges[::2], edges[1::2], strict=True) if a + 1 <= b - 1]
    return "".join(f"\\x{{{a:x}}}-\\x{{{b:x}}}" for a, b in ranges)
