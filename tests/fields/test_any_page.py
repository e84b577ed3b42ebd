"""Whatever a reader gives: no crash, no invented value, every box inside its page."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from hunyuanocr.fields import extract_fields
from hunyuanocr.fields.catalogue import KNOWN, normalise_key
from hunyuanocr.types import FieldSpec, FieldType, Line

WORDS = [
    "合计",
    "总金额",
    "收款",
    "找零",
    "日期",
    "打印日期",
    "¥36.80",
    "36.80元",
    "RM 9.00",
    "2026-11-20",
    "03/04/18 10:33",
    "x2",
    "1.",
    "品名",
    "数量",
    "金额",
    "单价",
    "姓名：",
    "名称",
    "TOTAL",
    "CASH",
    "CHANGE",
    "SDN BHD",
    "超市",
    "医院",
    "No.",
    "(",
    ")",
    ":",
    "，",
    "½",
    "İ",
    "ﬁ",
    "①",
    "㎏",
    "🙂",
    "\u200b",
    "0.25g*24片",
    "Rx",
    "Tel",
    "地址",
    "Address",
    "12345678901234567890",
    "-",
    "%",
    "第二件半价",
    "用法：口服",
    "壹佰元整",
    "T0TAL",
    "小写",
    "合 计",
]
SPECS = [FieldSpec(name, name, field.type) for name, field in KNOWN.items()] + [
    FieldSpec("房间号"),
    FieldSpec("", None, FieldType.MONEY),
]
number = st.one_of(st.integers(0, 2000), st.floats(0, 2000, allow_nan=False))
text = st.one_of(
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map(" ".join),
    st.lists(st.sampled_from(WORDS), max_size=4).map("".join),
    st.text(max_size=30),
)


@st.composite
def lines(draw: Any) -> Line:
    x, y, w, h, tilt = draw(number), draw(number), draw(number), draw(number), draw(st.integers(-40, 40))
    return Line(
        draw(text),
        ((x, y), (x + w, y + tilt), (x + w, y + h + tilt), (x, y + h)),
        draw(st.sampled_from([None, 0.0, 0.7, 1.0])),
        draw(st.integers(0, 1)),
    )


@settings(max_examples=150, deadline=None)
@given(st.lists(lines(), max_size=14))
def test_no_page_breaks_it_and_nothing_is_invented(page: Any) -> None:
    everything = normalise_key("".join(line.text for line in page))
    for field in extract_fields(page, SPECS, [(2000, 2000)]):
        cells = [cell for row in field.rows or () for cell in row.values()] if field.rows else [field]
        for cell in cells:
            if cell.value is None:
                assert (cell.box, cell.normalized, cell.grounded) == (None, None, False)
                continue
            assert cell.grounded or cell.confidence < 0.6
            assert cell.page in (0, 1)
            assert set(normalise_key(cell.value)) <= set(everything)
            assert all(-1 <= x <= 4001 and -41 <= y <= 4081 for x, y in cell.box)
            assert cell.confidence is None or 0 <= cell.confidence <= 1


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.text(alphabet="合计总额收款TOTAL CHSE:：.-0123456789¥RM", max_size=25)), max_size=8))
def test_no_text_breaks_it(texts: Any) -> None:
    page = [
        Line(t, ((10, 40 * n), (10 + 15 * len(t), 40 * n), (10 + 15 * len(t), 40 * n + 30), (10, 40 * n + 30)))
        for n, t in enumerate(texts)
    ]
    assert len(extract_fields(page, SPECS, [(1000, 1000)])) == len(SPECS)
