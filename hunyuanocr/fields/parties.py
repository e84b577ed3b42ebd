"""Who issued the document: the most prominent block of names at its head, and the address below it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from hunyuanocr.fields.catalogue import compact
from hunyuanocr.fields.dates import find_dates
from hunyuanocr.fields.labels import Label
from hunyuanocr.fields.layout import Cell, char_width
from hunyuanocr.fields.money import find_money
from hunyuanocr.fields.page import PageView
from hunyuanocr.fields.spans import narrow
from hunyuanocr.fields.values import PHONE

# Words that end or make the names of firms in general; none of them is a firm.
_FIRM = re.compile(
    r"\b(?:sdn\.?\s*bhd|bhd|s/b|plt|ltd|llc|llp|inc|corp|co|company|gmbh|pte|enterprise|enterprises|trading|holdings?|group|industries|services?)\b\.?"
    r"|有限公司|有限责任公司|股份公司|公司|集团|商行|商贸|经营部|个体工商户|合作社",
    re.IGNORECASE,
)
_KIND = re.compile(
    r"\b(?:restoran|restaurant|kedai|pasar(?:aya)?|mart|market|supermarket|hypermarket|minimarket|store|stores|shop|cafe|café|coffee|bakery|bakeries|kitchen|bistro|"
    r"bar|grill|hotel|pharmacy|farmasi|chemist|drugstore|clinic|klinik|hospital|medical|centre|center|hardware|electrical|stationery|book(?:s|store|shop)?|"
    r"bookcentre|confectionery|grocer(?:y|ies)?|boutique|salon|spa|studio|gallery|florist|petrol|station|syarikat|perniagaan|machinery|seafood|foods?|house|"
    r"deli|diner|pizzeria|outlet|express|garden|trading|auto|motor|optical|dental|laboratory|university|school|niaga|retail|mall|plaza|outfitters|supply|"
    r"supplies|goods|pantry|corner|eatery|noodles?|tea|juice|wine|butcher|fashion|toys?|gifts?|electronics|computers?|furniture)\b"
    r"|(?:shop|store|mart|market|restaurant|pharmacy|bakery)$"  # where the reader lost the spaces
    r"|超市|商店|商场|百货|便利店|便利|餐厅|餐饮|饭店|酒楼|酒家|菜馆|面馆|火锅|烧烤|小吃|食府|茶餐厅|咖啡|奶茶|茶饮|烘焙|蛋糕|面包|药店|药房|大药房|医药|"
    r"医院|诊所|卫生院|卫生服务中心|卫生室|门诊部|保健院|书店|文具|五金|服饰|服装|鞋业|眼镜|酒店|宾馆|旅馆|生鲜|水果|菜场|市场|专卖店|旗舰店|分店|总店|"
    r"广场|商城|购物中心|影城|美容|美发|理发|洗衣|加油站|[店馆铺行坊厨屋]$|店[)）]$",
    re.IGNORECASE,
)
_ADDRESS = re.compile(
    r"\b(?:no|lot|jalan|jln|jl|lorong|taman|tmn|kampung|kg|persiaran|lebuh|bandar|street|st|road|rd|avenue|ave|lane|floor|flr|level|unit|block|blk|"
    r"ground|suite|drive|dr|highway|selangor|johor|kuala lumpur|penang|perak|sarawak|malaysia|singapore|boulevard|blvd|seksyen|section|kawasan)\b[\s.:]?"
    r"|\b\d{5}\b|[省市区县镇乡村].*[路街道巷弄号]|[路街道巷弄].*\d+\s?号|\d+\s?号|\d层|\d楼|[省市区县].{0,6}[区县镇]",
    re.IGNORECASE,
)
_TITLE = re.compile(
    r"invoice|receipt|\bbill\b|prescription|statement|quotation|delivery order|welcome|thank|customer copy|merchant copy|duplicate|reprint|"
    r"cash sales?|official|order form|\brx\b|\breport\b|waybill|"
    r"收据|小票|结账单|结帐单|账单|发票|处方笺|处方单|处方|报告单|报告|欢迎|谢谢|光临|收银[单条小凭]|购物[小凭清票单]|票据|清单|凭证|凭据|单据|联$|预结单|消费单|点菜单|销售单|^交易|签购单|存根|凭条|订单|取餐",
    re.IGNORECASE,
)
_OWNER = re.compile(r"\b(?:owned|operated|managed|run)\s*by\b", re.IGNORECASE)
# A number of registration behind a name: in brackets, or as (81109-A) and 201901012345 are written.
_REGISTRATION = re.compile(
    r"\s*[(（\[][^()（）]*\d[^()（）]{2,}\d[^()（）]*[)）\]]?.{0,6}$|\s+(?:co\.?\s*|reg\.?\s*|no\.?\s*)*:?\s*\d{5,12}\s?-?\s?[A-Z]?\b.{0,6}$|^\d{5,7}\s?-\s?[A-Z]$",
    re.IGNORECASE,
)
_ZH_TITLE_END = re.compile(r"(?:门诊|住院|普通|急诊|电子|儿科)?(?:处方笺|处方单|处方|收费票据|检验报告单|检查报告单|报告单|收费清单|购物小票|销售小票|结账单|小票|收据|收银单)$")

_PARTIES = {"merchant", "hospital", "seller"}  # fields whose labels stand before the issuer's name
_WORTH = {
    "firm": 1.6,  # Sdn Bhd, 有限公司 …
    "kind": 1.0,  # shop, restaurant, 超市 …
    "height": 1.0,  # taller letters than the page's usual ones, 0 … 1
    "first": 1.0,  # 1 in the first row, less further down
    "centred": 0.2,
    "wide": 0.3,  # enough letters to be a name
    "name_again": 0.4,  # the same words stand elsewhere on the page, too
    "address": -2.0,
    "title": -2.5,  # names of documents, greetings
    "digits": -1.5,  # share of digits
    "own_label": 1.0,  # 店名, Merchant stands before it
    "owner": -2.0,  # who owns or runs the place
    "labelled": -2.0,  # begins with a label, or is its value
    "unsure": -1.0,  # how unsure the reader was; handwriting above the print is read badly
    "next_to_address": 0.4,  # an address, a number of registration or a telephone follows
}
_LEAST = 1.2


@dataclass(frozen=True)
class Block:
    """A name: the lines it fills, and its score."""

    cells: tuple[Cell, ...]
    score: float


def choose_merchant(page: PageView) -> Block | None:
    """A labelled name, else the most prominent name in the head of the first page."""
    head = _head(page)
    link = page.best("merchant", 0.6)
    if link and len(compact(link.cell.text)) >= 2 and link.label.colon:
        return Block((link.cell, *_rest(page, head, link.cell)), link.score)
    rated = [(_score(page, head, n), n) for n in range(len(head))]
    if not rated:
        return None
    score, number = max(rated, key=lambda r: (round(r[0], 3), -r[1]))
    if score < _LEAST:
        return None
    return Block(tuple(_trimmed(page, c) for c in _joined(page, head, number)), score)


def _head(page: PageView) -> list[Cell]:
    """The lines above the items and the particulars of the first page, widest rows first line only."""
    first = min((c.page for row in page.layout.rows for c in row), default=0)
    end = page.table.header[0].row if page.table else len(page.layout.rows)
    end = min([end, *(a.cell.row for a in page.amounts if a.printed_as_money and a.cell.row > 3)])
    rows = [row for row in page.layout.rows[:max(end, 4)] if row[0].page == first][:14]
    return [c for row in rows for c in row if compact(c.text)]


def _score(page: PageView, head: Sequence[Cell], number: int) -> float:
    return sum(_WORTH[name] * value for name, value in _features(page, head, number).items())


def _features(page: PageView, head: Sequence[Cell], number: int) -> dict[str, float]:
    cell, text = head[number], narrow(head[number].text)
    name = _REGISTRATION.sub("", text)
    letters = sum(char_width(c) for c in text if c.isalpha())
    line = page.lines[cell.line]
    left, right = min(c.x0 for c in head), max(c.x1 for c in head)
    after = narrow(" ".join(c.text for c in head[number + 1:number + 4]))
    own = _own_label(page, cell)
    labelled = max((k.quality for k in page.labels if k.cell.line == cell.line and k is not own and k.quality >= 0.6), default=0.0)
    begins = any(k.cell.line == cell.line and k.cell.start == 0 and k is not own and not k.cell.text.isascii() for k in page.labels)
    labelled = max(labelled, 0.8 if begins else 0.0, float(own is None and bool(re.search(r":\s*\S|:$", text))))
    valued = max((link.score for link in page.links if link.cell.line == cell.line and not _PARTIES & link.label.fields.keys()), default=0.0)
    key = compact(name)
    titled = _TITLE.search(_ZH_TITLE_END.sub("", text))
    return {
        "firm": float(bool(_FIRM.search(name))),
        "kind": float(bool(_KIND.search(name))),
        "height": min(max(cell.h / page.layout.height - 1.0, 0.0), 1.0),
        "first": 1 / (1 + 0.25 * number),
        "centred": float(abs((cell.x0 + cell.x1) - (left + right)) < 0.12 * (right - left)),
        "wide": min(letters / 4, 1.0) if letters >= 1.5 else -4.0,
        "name_again": float(len(key) >= 4 and any(key in other for n, other in enumerate(page.keys) if n != cell.line)),
        "address": float(bool(_ADDRESS.search(name)) and not _FIRM.search(name)) * (0.4 if _KIND.search(name) else 1.0),
        "title": float(bool(titled)),
        "digits": min(2 * sum(c.isdigit() for c in name) / max(len(compact(name)), 1), 1.0),
        "own_label": float(own is not None),
        "owner": float(bool(_OWNER.search(head[number - 1].text if number else ""))),
        "labelled": max(labelled if labelled >= 0.7 else 0.0, valued if valued >= 0.4 else 0.0),
        "unsure": 1 - line.confidence if line.confidence is not None else 0.0,
        "next_to_address": float(bool(_ADDRESS.search(after) or PHONE.search(after) or _REGISTRATION.search(after))),
    }


def _rest(page: PageView, head: Sequence[Cell], cell: Cell) -> list[Cell]:
    """The lines below a labelled name that go on with it."""
    at = next((n for n, c in enumerate(head) if c.line == cell.line), None)
    return _joined(page, head, at, steps=(1,))[1:] if at is not None else []


def _joined(page: PageView, head: Sequence[Cell], number: int, steps: Sequence[int] = (-1, 1)) -> list[Cell]:
    """The line with those above and below that belong to the same name: a firm's ending alone, or a first half in equal letters."""
    cells = [head[number]]
    for step in steps:
        at = number + step
        while 0 <= at < len(head) and _continues(page, head, cells[0 if step < 0 else -1], head[at], step):
            cells = [head[at], *cells] if step < 0 else [*cells, head[at]]
            at += step
    return cells


def _continues(page: PageView, head: Sequence[Cell], cell: Cell, other: Cell, step: int) -> bool:
    upper, lower = (other, cell) if step < 0 else (cell, other)
    if cell.row == other.row:  # one line that the reader cut in two
        return other.x0 - cell.x1 < 1.5 * cell.h if step > 0 else cell.x0 - other.x1 < 1.5 * cell.h
    near = 0 < lower.y - upper.y < 1.9 * max(upper.h, lower.h)
    alike = 0.75 < upper.h / lower.h < 1.35
    text = narrow(_REGISTRATION.sub("", lower.text)).strip(" .")
    ending = bool(_FIRM.fullmatch(text)) or bool(re.fullmatch(r"(?:\(\w{1,3}\)\s*|co\.?\s*)*(?:sdn\.?\s*bhd|s/b|ltd|pte\.?\s*ltd)\.?", text, re.IGNORECASE))
    wrapped = page.layout.wraps(upper, lower) and not _FIRM.search(upper.text)
    opened = upper.text.rstrip().endswith(("&", ",", "-", "AND")) or _unclosed(upper.text) or wrapped
    begins = _FIRM.match(text)  # the second half of a name may begin with Enterprise or Trading
    short = bool(ending or begins) and not _FIRM.search(upper.text)
    foreign = not text or text.endswith(":") or _TITLE.search(lower.text) or PHONE.search(lower.text) or find_dates(lower.text)
    foreign = foreign or any(k.cell.line == lower.line and k.quality >= 0.9 for k in page.labels)
    return near and not foreign and (short or (alike and opened and (_unclosed(upper.text) or not _ADDRESS.search(lower.text))))


def _own_label(page: PageView, cell: Cell) -> Label | None:
    """The label that begins the line of a name, if it is one of names: 店名 …, Merchant …"""
    of = [k for k in page.labels if k.cell.line == cell.line and k.cell.start == 0]
    return next((k for k in of if _PARTIES & k.fields.keys()), None)


def _unclosed(text: str) -> bool:
    plain = narrow(text)
    return plain.count("(") > plain.count(")")


def _trimmed(page: PageView, cell: Cell) -> Cell:
    """Without a registration number behind the name, and without the document's title behind a hospital's."""
    text = _ZH_TITLE_END.sub("", _REGISTRATION.sub("", cell.text)) or cell.text
    text = text.rstrip(" -–:：*")
    label = _own_label(page, cell)
    start = label.cell.end - cell.start if label and len(text) - (label.cell.end - cell.start) >= 2 else 0
    start += len(text[start:]) - len(text[start:].lstrip(" *-–:："))
    return page.layout.cell(cell.line, cell.start + start, cell.start + len(text))


def choose_address(page: PageView, merchant: Block | None) -> Block | None:
    """The lines below the name that look like an address."""
    head = _head(page)
    after = merchant.cells[-1].row if merchant else -1
    block: list[Cell] = []
    for cell in head:
        text = cell.text
        like = bool(_ADDRESS.search(narrow(text))) and not re.search(r":\s*$|:\s*\S*\d{6}", narrow(text)) and not PHONE.search(narrow(text)) and not find_dates(text)
        like = like and not any(label.cell.line == cell.line and label.quality >= 0.9 for label in page.labels) and not _TITLE.search(text)
        if cell.row <= after:
            continue
        if like and (not block or cell.row - block[-1].row <= 1):
            block.append(cell)
        elif block:
            short = len(text) < 30 and not any(c.isdigit() for c in text) and not find_money(text) and block[-1].text.rstrip().endswith(",")
            if not short or cell.row - block[-1].row > 1:
                break
            block.append(cell)
    return Block(tuple(block), 1.0) if block and sum(len(c.text) for c in block) >= 8 else None
