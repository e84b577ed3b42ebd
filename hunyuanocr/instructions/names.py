"""The names of fields in a sentence: "提取总金额和日期" → 总金额, 日期; "How much was it, and when?" → total_amount, date."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Sequence

from hunyuanocr.chinese import to_simplified
from hunyuanocr.fields.catalogue import lookup
from hunyuanocr.fields.line_items.header import column_for
from hunyuanocr.instructions.clauses import strip_clauses
from hunyuanocr.instructions.lists import split_at_blanks
from hunyuanocr.instructions.patterns import (
    AND,
    DOCUMENT_NOUN,
    FILLER,
    FORM_OF_VALUE,
    FORMAT_WORDS,
    LIST_OPENING,
    LOCATION,
    OWN_KEYS,
    POLITE,
    QUESTION,
    TOTAL_QUESTION,
    VERBS,
)
from hunyuanocr.instructions.questions import question_field
from hunyuanocr.types import FieldType

_POLITE = re.compile(POLITE, re.IGNORECASE)
_LOCATION = re.compile(LOCATION, re.IGNORECASE)
_FILLER = re.compile(FILLER, re.IGNORECASE)
_VERBS = re.compile(VERBS, re.IGNORECASE)
_STRONG = re.compile(r"[,，、;；\n|。!！?？•·*]+|\s\+\s|\s&\s|\s[-–—]+\s|^-\s|\.(?:\s|$)")
_SENTENCE = re.compile(r"[。!?;]|\.(?:\s|$)")
_ABBREVIATION = re.compile(r"\b(no|tel|reg|inv|incl|excl|ref|ext|dr|mr|mrs|qty|amt|co|dept|st)\.(?=\s)", re.IGNORECASE)
_CIRCLED = re.compile(r"[①-⒇]")
_WEAK = re.compile(AND, re.IGNORECASE)
_JOINED = re.compile(r"\band\b", re.IGNORECASE)
_QUOTED = re.compile(r"(?<!\w)[\"'“”‘’「『`]{1,3}([^\"'“”‘’「」『』`]+)[\"'“”‘’」』`]{1,3}(?!\w)")
_TEMPLATE = re.compile(r"[\"']([^\"'{}:]+)[\"']\s*:")  # a JSON template that is not valid JSON: {"total": , "date": }
_NUMBERING = re.compile(
    r"(?:^|(?<=[\s:：,，;；]))\(?\d{1,2}\s?(?:[.)]\s|[、）．]\s?|\.(?=[^\W\d])|(?<=\d)\)\s?)|(?:^|(?<=\s))(?:\(?[a-h]\)\s|"
    r"[一二三四五六七八九十]、)"
)
_OF = re.compile(r"(?!.*\n)(?P<head>.+?) (?:of|on|for|from|at) (?:the |this )?(?P<tail>.+)", re.IGNORECASE)
_EVERY = re.compile(r"(?:所有|全部|每[个种样项])的?|(?:all|every|each)(?: the)? ", re.IGNORECASE)
_ADJECTIVE = re.compile(r"(?:exact|full|complete|correct|overall|printed|actual|whole|entire|main) (?=\w)", re.IGNORECASE)
_OF_DOCUMENT = re.compile(
    r"(?:小票|发票|收据|账单|单据|票面|图中|图上|图片|上面|这张|该|本)(?:上|中|里)?的?|(?:receipt|invoice|bill|"
    r"document)(?:'s)? ",
    re.IGNORECASE,
)
_HAVING = re.compile(r"^(?:要?有|要|含有?|就是?|看看|知道|了解|[查问找读看取念报认填记])")
_PARTICLES = re.compile(r"^(?:[把将])?|(?:并且?|然后|也|都|呢|吧|吗|了|啊|读|列|写|找|来|出来|给我|一下){1,6}$")
_HAN = re.compile(r"[一-鿿]")
_REMARK = re.compile(r"[(（][^)）]*[)）]?")
_EDGE = " \t\r\n.,:;!?。，：；！？、的()（）[]【】{}<>《》\"'`"
_ARTICLE = re.compile(
    r"^(?:(?:the|an?|its|his|her|their|our|my|of|and|or|then|also|和|并且|并|及|或者?|再)\b\s*)+", re.IGNORECASE
)
_NOT_A_FIELD = {
    "",
    *re.findall(
        r"\S+",
        """
    it this that these those me us them text image picture everything all both any each one here there 文字
    内容 图片 图中 全部 信息 所有 数据 结果 图 照片 details data information info result results answer also
    too then value values 字段 项 有 是 要 我要 我 给 后 一下
    """,
    ),
}
_MAX_WORDS = 24  # of a list separated by blanks
_WHOLE_DOCUMENT = re.compile(DOCUMENT_NOUN, re.IGNORECASE)
_FORMAT_ONLY = re.compile(rf"(?:(?:{FORMAT_WORDS})[\s,./-]*)+", re.IGNORECASE)
_FORM = re.compile(rf"(?P<name>.{{1,100}}?)(?:{FORM_OF_VALUE}).*", re.IGNORECASE)


def extract_field_names(sentence: str) -> list[str]:
    """Return the fields that a sentence names, as written: "提取总金额和日期" → ["总金额", "日期"].

    A question without a field's name becomes the canonical name: "when?" → "date".
    """
    written = unicodedata.normalize("NFKC", _CIRCLED.sub("\n", sentence))
    plain = to_simplified(written)  # of the same length
    names = []
    for name in _names(plain):
        start = plain.find(name)
        names.append(written[start : start + len(name)] if start >= 0 else name)
    return list(dict.fromkeys(names))


def asks_for_own_keys(sentence: str) -> bool:
    """Return whether the sentence names the keys of a JSON object: "with keys total, date" is answered with these keys."""
    return re.search(OWN_KEYS, to_simplified(unicodedata.normalize("NFKC", sentence)), re.IGNORECASE) is not None


def is_field_like(words: str) -> bool:
    """Return whether a phrase is short enough for a field name and has letters or digits; clauses are for a language model."""
    if not any(map(str.isalnum, words)):
        return False
    wide = sum("一" <= c <= "鿿" for c in words)
    return len(words) <= 12 if wide else len(words.split()) <= 4


def _names(plain: str) -> list[str]:
    if lookup(whole := plain.strip(_EDGE)):
        return [whole] if whole != plain.strip() and _QUOTED.search(plain) else _joined(whole) or [whole]
    if (keys := _template_keys(plain)) is not None:
        return keys
    bare = _ABBREVIATION.sub(r"\1 ", strip_clauses(plain))
    names = list(dict.fromkeys(_listed(bare)))
    if not any(lookup(name) for name in names) and re.search(TOTAL_QUESTION, bare):
        return ["total_amount"]
    if any(lookup(name) for name in names):
        names = [n for n in names if lookup(n) or (is_field_like(n) and not re.match(QUESTION, n, re.IGNORECASE))]
    return _without_columns(names)


def _template_keys(text: str) -> list[str] | None:
    """Return the keys of a JSON object in the text, of the top level only, or None."""
    start, end = text.find("{"), text.rfind("}")
    if start < 0 or end < start:
        return None
    try:
        template = json.loads(text[start : end + 1])
    except (ValueError, RecursionError):  # not JSON, or nested too deeply
        return [key for key in _TEMPLATE.findall(text) if key.strip()] or None
    properties = template.get("properties") if isinstance(template, dict) else None
    keys = properties if isinstance(properties, dict) else template
    return [str(key) for key in keys if str(key).strip()] or None


def _listed(bare: str) -> Iterator[str]:
    quoted = [q for q in _QUOTED.findall(bare) if not _FORMAT_ONLY.fullmatch(q.strip())]
    if quoted:
        for position, part in enumerate(_QUOTED.split(bare)):
            names = _part(part) if position % 2 == 0 else [part.strip(_EDGE)] if lookup(part.strip(_EDGE)) else _pieces(part)
            yield from (name for name in names if position % 2 or lookup(name))
        return
    bare = _NUMBERING.sub("\n", bare)
    sentences = [s for s in _SENTENCE.split(bare) if s.strip(_EDGE)]
    found = [(sentence, list(_sentence(sentence))) for sentence in sentences]
    known = any(lookup(name) for _, names in found for name in names)
    for sentence, names in found:
        asks = len(found) == 1 or any(map(lookup, names)) or _VERBS.search(sentence)
        yield from (name for name in names if asks or not known)


def _sentence(sentence: str) -> Iterator[str]:
    heads = [part.strip(_EDGE) for part in re.split(r"[:,;\n]", sentence)]
    if (
        sentence.count(":") >= 2 and sum(lookup(head) is not None for head in heads) >= 2
    ):  # "店名: , 日期: ", "total: number, date: string"
        text = sentence.replace(":", "\n")
    else:
        text = _after_opening(sentence)
    for part in _STRONG.split(text):
        yield from _part(part)


def _after_opening(sentence: str) -> str:
    """Return the list after a colon or a word that opens a list: "extract the fields: merchant, date", "需要的有店名、日期"."""
    opening = re.search(LIST_OPENING, sentence, re.IGNORECASE)
    head, colon, tail = sentence.partition(":")
    if opening and sentence[opening.end() :].strip(_EDGE) and (not colon or opening.end() <= len(head)):
        head, tail = sentence[: opening.start()], sentence[opening.end() :]
        return tail.lstrip(":") if not any(map(lookup, _parts(head))) else f"{head}\n{tail}"
    if colon and tail.strip(_EDGE):
        return tail if any(map(lookup, _parts(tail))) or not any(map(lookup, _parts(head))) else f"{head}\n{tail}"
    return sentence


def _parts(text: str) -> list[str]:
    return [name for part in _STRONG.split(text) for name in _part(part)]


def _part(part: str) -> list[str]:
    """Return the names in a part of a list, which may be joined by "and", blanks, or be a question."""
    part = part.strip(_EDGE)
    if lookup(part):
        return _joined(part) or [part]
    bare = _strip(part, _POLITE, _LOCATION)
    if name := question_field(bare):
        return [name]
    words = part.split()  # 店名 金额 时间
    if 1 < len(words) <= _MAX_WORDS and all(map(_HAN.search, words)) and not lookup(bare):
        names = [_part(word) for word in words]
        if all(len(found) == 1 and is_field_like(found[0]) for found in names) and any(lookup(found[0]) for found in names):
            return [found[0] for found in names]
    halves = [half.strip(_EDGE) for half in _WEAK.split(part)]
    if len(halves) > 1 and any(question_field(_strip(half, _POLITE, _LOCATION)) for half in halves):
        return [name for half in halves for name in _part(half)]
    return _pieces(_strip(bare, _FILLER, _VERBS))


def _strip(text: str, *patterns: re.Pattern[str]) -> str:
    for pattern in patterns:
        text = pattern.sub(" ", text)
    return text.strip(_EDGE)


def _pieces(part: str) -> list[str]:
    """Split at "and" and blanks, unless the whole is a field name (总和, terms and conditions)."""
    if _WHOLE_DOCUMENT.fullmatch(part.strip(_EDGE)):
        return []
    part = _ARTICLE.sub("", part.strip(_EDGE)).strip(_EDGE)
    if part.lower() in _NOT_A_FIELD or _FORMAT_ONLY.fullmatch(part):
        return []
    if lookup(part):
        return _joined(part) or [part]
    halves = [half for half in _WEAK.split(part) if half.strip(_EDGE)]
    if halves != [part] and all(_splits(half) for half in halves):
        return [piece for half in halves for piece in _pieces(half)]
    plain = _plain(part)
    return [plain] if lookup(plain) else (_slashed(part) or split_at_blanks(part) or [plain])


def _joined(name: str) -> list[str]:
    """Return the fields that a known name joins by a word: "date and time" is one label of a page, but two of a sentence."""
    halves = [half.strip(_EDGE) for half in _JOINED.split(name)]
    return halves if len(halves) > 1 and all(map(lookup, halves)) else []


def _splits(half: str) -> bool:
    """Return whether half of a phrase may be a name of its own: 总|和 are one word, 饮料和小吃 are two."""
    half = half.strip(_EDGE)
    return lookup(half) is not None or half.isascii() or len(half) > 1


def _plain(part: str) -> str:
    """Return the part of a phrase that is a known field name, if any: 总金额(含税), name of the merchant, 所有药品."""
    without_remark = _REMARK.sub("", part).strip(_EDGE)
    candidates = [
        part,
        without_remark,
        _EVERY.sub("", part, count=1),
        part.replace("的", ""),
        part.replace("'s", ""),
        _HAVING.sub("", part),
        _PARTICLES.sub("", part),
    ]
    candidates += [_OF_DOCUMENT.sub("", without_remark, count=1), _ADJECTIVE.sub("", without_remark)]
    if phrase := _OF.fullmatch(without_remark):
        candidates += [phrase["tail"], phrase["head"]] if phrase["head"].lower() in ("name", "value") else [phrase["head"]]
    if form := _FORM.fullmatch(without_remark):
        candidates.append(form["name"].strip(_EDGE))
    if "'s " in part:
        candidates.append(part.partition("'s ")[2])
    return next((c for c in map(str.strip, candidates) if c and lookup(c)), part)


def _slashed(part: str) -> list[str]:
    """Split at slashes and plus signs if all parts are known: 发票号码/开票日期 are two fields, km/h is one."""
    halves = [half.strip(_EDGE) for half in re.split(r"[/+]", part)]
    return halves if len(halves) > 1 and all(lookup(half) for half in halves) else []


def _without_columns(names: Sequence[str]) -> list[str]:
    """Drop names of columns if line items are requested: 商品、数量和单价 are rows with these columns."""
    rows = any(known.type is FieldType.ROWS for name in names if (known := lookup(name)))
    return [name for name in names if not (rows and lookup(name) is None and column_for(name))]
