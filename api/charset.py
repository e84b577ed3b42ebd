"""Decode text of requests in the character set that its sender declares."""

from __future__ import annotations

import codecs
from contextlib import suppress

from hunyuanocr.errors import BadRequest

_HINT = "Send UTF-8, or declare the character set of the text: 'Content-Type: text/plain; charset=GBK'."
# Only character sets: Python's other codecs ("idna", "unicode_escape", "zlib") take more time or write more than they read.
_LATIN = "cp1252"
_CODECS = frozenset(
    {"utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be", "gb18030", "big5hkscs", "cp932", "euc_jp",
     "iso2022_jp", "cp949", "koi8-r", "iso8859-15", "cp874"} | {f"cp{number}" for number in range(1250, 1259)}
)  # fmt: skip
_SUPERSETS = {
    "ascii": "utf-8", "utf-8-sig": "utf-8", "gb2312": "gb18030", "gbk": "gb18030", "big5": "big5hkscs", "cp950": "big5hkscs",
    "shift_jis": "cp932", "euc_kr": "cp949", "iso8859-1": "cp1252",
}  # fmt: skip


def decode_text(data: bytes | bytearray, charset: str, what: str) -> str:
    """Decode `data`. A byte order mark is removed; without a known `charset` the text must be UTF-8.

    Libraries declare Latin-1 by default, whatever they send: text that is valid UTF-8 is read as such then.
    Raises BadRequest, whose message names `what` and the declared character set.
    """
    codec = _codec(charset)
    if codec == _LATIN and not data.isascii():
        with suppress(UnicodeDecodeError):
            return data.decode()
    try:
        return data.decode(codec or "utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as e:
        if codec is None and charset:
            message = f"The character set '{charset[:40]}' of {what} is not supported."
        else:
            message = f"{what[:1].upper()}{what[1:]} is not valid {charset[:40] or 'UTF-8'}."
        raise BadRequest(message, hint=_HINT) from e


def _codec(charset: str) -> str | None:
    """Return Python's name of a character set, or of one that contains it; None if it is not known."""
    try:
        name = codecs.lookup(charset).name
    except (LookupError, ValueError):  # ValueError: a NUL in the name
        return None
    name = _SUPERSETS.get(name, name)
    return name if name in _CODECS else None
