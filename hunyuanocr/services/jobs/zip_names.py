"""Names of the entries of ZIP archives.

Without the UTF-8 flag the format prescribes code page 437, but programs write the code page of their system: GBK in mainland
China, Big5 in Taiwan and Hong Kong, Shift-JIS in Japan, 437 or 850 in Europe, UTF-8 on macOS and Linux. Bytes in one of them are
often valid in another by accident, so the encoding is the one whose characters are the most plausible, for all names of an
archive together.
"""

from __future__ import annotations

import re
import struct
import unicodedata
import zlib
from collections.abc import Sequence
from zipfile import ZipInfo

_UTF8_FLAG = 0x800
_UNICODE_PATH = 0x7075  # extra field of Info-ZIP, 7-Zip and WinRAR: version, CRC-32 of the other name, name in UTF-8
_ENCODINGS = ("utf-8", "gb18030", "big5hkscs", "cp932", "cp437", "cp850")  # in the order of preference
# East Asian character sets list frequent characters first: name of the set, and first and last row (first byte) of its level 1.
_LEVEL_1 = {"gb18030": ("gb2312", 0xB0, 0xD7), "big5hkscs": ("big5", 0xA4, 0xC6), "cp932": ("shift_jis", 0x88, 0x97)}
_COMMON, _LETTER, _RARE, _SIGN = 1.0, 0.9, 0.3, 0.15  # plausibility of a character
_KANA = ("HIRAGANA", "KATAKANA")
_THREE_BYTES = ("CJK", *_KANA, "HANGUL", "THAI", "DEVANAGARI")  # in UTF-8; no accident
_PUNCTUATION = "、。《》（）【】·—…：，！？"
# Letters of European languages, Hebrew and Arabic. Two bytes of GBK give others, or letters of several scripts.
_EVERYDAY = re.compile(r"[\u00c0-\u017f\u0370-\u03ff\u0400-\u045f\u05d0-\u05ea\u0620-\u064a\u1e00-\u1eff]")
_IN_WORD = re.compile(r"[a-z][\u3400-\u9fff]|[\u3400-\u9fff][a-z]")  # K罵n: one letter of a European word
_WORDS = (  # in names of files; they decide on names of one or two characters, which fit several encodings
    "发票", "小票", "收据", "图片", "照片", "截图", "扫描", "处方", "病历", "账单", "报销", "明细", "合同", "附件", "订单",
    "發票", "收據", "圖片", "截圖", "掃描", "處方", "病歷", "帳單", "明細", "合約", "檔案", "訂單", "超商", "藥單", "採購",
    "領収", "請求書", "写真", "画像", "処方", "薬局", "病院", "納品", "見積", "契約", "注文",
)  # fmt: skip


def entry_names(entries: Sequence[ZipInfo]) -> list[str]:
    """Return the decoded names of the entries of one archive. Bytes that are invalid in all encodings become U+FFFD."""
    declared = [_declared(entry) for entry in entries]
    raw = [entry.filename.encode("cp437", "replace") for entry, name in zip(entries, declared, strict=True) if name is None]
    decoded = iter(decode_names(raw))
    return [next(decoded) if name is None else name for name in declared]


def decode_names(names: Sequence[bytes]) -> list[str]:
    """Return names of which the encoding is not declared, decoded with the most plausible one."""
    foreign = [name for name in names if not name.isascii()]
    encoding = max(_ENCODINGS, key=lambda encoding: _plausibility(foreign, encoding)) if foreign else "utf-8"
    return [name.decode(encoding, "replace") for name in names]


def _declared(entry: ZipInfo) -> str | None:
    """Return the name if it is marked as UTF-8 by the flag or by the extra field; otherwise None."""
    if entry.flag_bits & _UTF8_FLAG:
        return entry.filename
    at, extra = 0, entry.extra
    while at + 4 <= len(extra):
        tag, size = struct.unpack_from("<HH", extra, at)
        body = extra[at + 4 : at + 4 + size]
        if tag == _UNICODE_PATH and body[:1] == b"\x01" and len(body) > 5:
            crc = zlib.crc32(entry.orig_filename.encode("cp437", "replace"))
            return body[5:].decode("utf-8", "replace") if body[1:5] == struct.pack("<I", crc) else None
        at += 4 + size
    return None


def _plausibility(names: Sequence[bytes], encoding: str) -> float:
    """Return the mean plausibility of the characters beyond ASCII, and more for known words; -1 if a name is invalid."""
    try:
        text = "\n".join(name.decode(encoding) for name in names)
    except UnicodeDecodeError:
        return -1.0
    foreign = [char for char in text if not char.isascii()]
    if not foreign:
        return -1.0  # an escape sequence of the encoding
    scripts = {_script(char) for char in foreign if char.isalpha()}
    total = sum(_of_character(char, encoding, scripts) for char in foreign)
    return (total - _COMMON * len(_IN_WORD.findall(text))) / len(foreign) + sum(map(text.count, _WORDS)) / len(names)


def _of_character(char: str, encoding: str, scripts: set[str]) -> float:
    """Return the plausibility of a character in a name. `scripts`: of all letters beyond ASCII."""
    category = unicodedata.category(char)
    if category[0] == "C" or category in ("So", "Sm", "Sk"):
        return 0.0
    if char in _PUNCTUATION or _script(char) == "FULLWIDTH":
        return _COMMON
    if category[0] != "L":
        return _SIGN
    return _of_letter(char, encoding, scripts)


def _of_letter(char: str, encoding: str, scripts: set[str]) -> float:
    script = _script(char)
    if encoding in _LEVEL_1 and script == "CJK":
        return _of_level(char, *_LEVEL_1[encoding])
    if encoding in _LEVEL_1:
        return _COMMON if encoding == "cp932" and script in _KANA else _SIGN
    if encoding == "utf-8" and script in _THREE_BYTES:
        return 2 * _COMMON
    if encoding == "utf-8":
        return _COMMON if len(scripts) == 1 and _EVERYDAY.match(char) else _SIGN
    return _LETTER if script == "LATIN" else 0.0


def _script(char: str) -> str:
    return re.split("[ -]", unicodedata.name(char, ""), maxsplit=1)[0]


def _of_level(char: str, charset: str, first: int, last: int) -> float:
    try:
        row = char.encode(charset)[0]
    except UnicodeEncodeError:
        return 0.0
    return _COMMON if first <= row <= last else _RARE
