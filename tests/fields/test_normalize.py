"""Printed values become values that programs can use; ambiguous values are not guessed."""

from datetime import date, time
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hunyuanocr.fields.values.dates import find_dates
from hunyuanocr.fields.values.money import find_money, parse_money
from hunyuanocr.fields.values.normalize import comparable, normalize
from hunyuanocr.types import FieldType


@pytest.mark.parametrize(
    ("text", "amount", "currency"),
    [
        ("¥36.80", "36.80", "CNY"),
        ("￥ 36.80", "36.80", "CNY"),
        ("36.80元", "36.80", "CNY"),
        ("RMB 99", "99.00", "CNY"),
        ("CNY12.5", "12.50", "CNY"),
        ("RM 9.00", "9.00", "MYR"),
        ("MYR 1,234.50", "1234.50", "MYR"),
        ("$8.20", "8.20", "USD"),
        ("12 USD", "12.00", "USD"),
        ("S$4.00", "4.00", "SGD"),
        ("9.00", "9.00", None),
        ("1,234,567.89", "1234567.89", None),
        ("1.234,50", "1234.50", None),
        ("12,50", "12.50", None),
        ("1,234", "1234.00", None),
        ("９．００", "9.00", None),
        ("￥１，２３４．５０", "1234.50", "CNY"),
        ("36. 80", "36.80", None),
        (".05", "0.05", None),
        ("3.125", "3.125", None),
        ("-5.00", "-5.00", None),
        ("(5.00)", "-5.00", None),
        ("5.00-", "-5.00", None),
        ("-¥5.00", "-5.00", "CNY"),
        ("¥-5.00", "-5.00", "CNY"),
        ("叁拾陆元捌角", "36.80", "CNY"),
        ("人民币壹仟零伍拾元零伍分", "1050.05", "CNY"),
        ("壹佰贰拾叁元整", "123.00", "CNY"),
        ("价税合计 叁拾陆元捌角 ¥36.80", "36.80", "CNY"),
        ("Total: RM12.00", "12.00", "MYR"),
        ("Y36.80", "36.80", "CNY"),
    ],
)
def test_money(text: str, amount: str, currency: str | None) -> None:
    assert normalize(text, FieldType.MONEY) == {"amount": amount, "currency": currency}


@pytest.mark.parametrize("text", ["", "free", "6%", "6.00 %", "1 x 23.90", "10.00 / 20.00", "25/12/2018", "A12", "元"])
def test_no_money(text: str) -> None:
    assert normalize(text, FieldType.MONEY) is None


@given(
    st.decimals(min_value=0, max_value=10**7, places=2),
    st.sampled_from(["{}", "¥{}", "RM {}", "{}元", "总计:{}", "${}", "TOTAL {} SR"]),
)
def test_money_comes_back(amount: Any, form: Any) -> None:
    assert parse_money(form.format(f"{amount:,.2f}")).amount == amount
    assert parse_money(form.format(f"{amount:.2f}")).amount == amount


@given(st.text(max_size=40))
def test_spans_are_where_they_say(text: Any) -> None:
    for span, _ in [*find_money(text), *find_dates(text)]:
        assert text[span.start : span.end] == span.text


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("2026-11-20", "2026-11-20"),
        ("2026/1/2", "2026-01-02"),
        ("2026.11.20", "2026-11-20"),
        ("20261120", "2026-11-20"),
        ("2026年11月20日", "2026-11-20"),
        ("26年1月2日", "2026-01-02"),
        ("二〇二六年十一月二十日", "2026-11-20"),
        ("２０２６年１月２日", "2026-01-02"),
        ("25/12/2018 8:13:39 PM", "2018-12-25"),
        ("25/12/20188:13", "2018-12-25"),
        ("2025092708:11", "2025-09-27"),
        ("12/25/2018", "2018-12-25"),
        ("05 MAR 2018", "2018-03-05"),
        ("02/JAN/2017", "2017-01-02"),
        ("OCT 3, 2016", "2016-10-03"),
        ("3rd October 2016", "2016-10-03"),
        ("05MAR18", "2018-03-05"),
        ("5 Ogos 2019", "2019-08-05"),
        ("14/03/ 2018", "2018-03-14"),
        ("05/05/2018", "2018-05-05"),
        ("1/1/99", "1999-01-01"),
    ],
)
def test_dates(text: str, iso: str) -> None:
    assert normalize(text, FieldType.DATE) == iso


@pytest.mark.parametrize(
    ("text", "candidates"),
    [
        ("03/04/2026", ["2026-04-03", "2026-03-04"]),
        ("12-03-18", ["2018-03-12", "2018-12-03", "2012-03-18"]),
        ("25-12-1813:05", ["2018-12-25", "2025-12-18"]),
        ("18-10-17", ["2017-10-18", "2018-10-17"]),
        ("22/04/29", ["2029-04-22", "2022-04-29"]),
        ("1.2.2020", ["2020-02-01", "2020-01-02"]),
    ],
)
def test_day_or_month_first_is_not_guessed(text: str, candidates: list[str]) -> None:
    assert normalize(text, FieldType.DATE) == {"candidates": candidates}


@pytest.mark.parametrize(
    "text", ["31/02/2018", "99/99/99", "1.2.3", "192.168.1.10", "11-20", "03-2093 7358", "4/5/2018 & 6/7/2018", "2026-13-45"]
)
def test_no_date(text: str) -> None:
    assert normalize(text, FieldType.DATE) is None


@given(
    st.dates(min_value=date(1970, 1, 1), max_value=date(2069, 12, 31)),
    st.sampled_from(["%Y-%m-%d", "%Y年%m月%d日", "%d %b %Y", "%B %d, %Y", "%Y/%m/%d"]),
)
def test_plain_dates_come_back(day: Any, form: Any) -> None:
    assert normalize(day.strftime(form), FieldType.DATE) == day.isoformat()


@given(st.dates(min_value=date(1970, 1, 1), max_value=date(2069, 12, 31)), st.sampled_from(["%d/%m/%Y", "%m/%d/%Y", "%d-%m-%y"]))
def test_a_numeric_date_is_among_its_readings(day: Any, form: Any) -> None:
    found = normalize(day.strftime(form), FieldType.DATE)
    assert day.isoformat() in (found["candidates"] if isinstance(found, dict) else [found])


@given(st.times(), st.sampled_from(["%H:%M", "%H:%M:%S", "%I:%M %p", "%I:%M:%S%p"]))
def test_times_come_back(clock: Any, form: Any) -> None:
    expected = clock.replace(microsecond=0, second=clock.second if "%S" in form else 0)
    assert time.fromisoformat(normalize(clock.strftime(form), FieldType.TIME)) == expected


@pytest.mark.parametrize(
    ("text", "type", "normal"),
    [
        ("下午3:05", FieldType.TIME, "15:05"),
        ("25:00", FieldType.TIME, None),
        ("2026-11-20 10:33", FieldType.DATETIME, "2026-11-20T10:33"),
        ("2026-11-20", FieldType.DATETIME, "2026-11-20"),
        ("03/04/2026 10:33", FieldType.DATETIME, {"candidates": ["2026-04-03T10:33", "2026-03-04T10:33"]}),
        ("03-2093 7358", FieldType.PHONE, "0320937358"),
        ("+60 3-1234 5678", FieldType.PHONE, "+60312345678"),
        ("0571-88001234转801", FieldType.PHONE, "057188001234;ext=801"),
        ("138 1234 5678", FieldType.PHONE, "13812345678"),
        ("12", FieldType.PHONE, None),
        ("2", FieldType.QUANTITY, {"number": "2", "unit": None}),
        ("x3", FieldType.QUANTITY, {"number": "3", "unit": None}),
        ("2.50kg", FieldType.QUANTITY, {"number": "2.5", "unit": "kg"}),
        ("2盒", FieldType.QUANTITY, {"number": "2", "unit": "盒"}),
        ("1,000", FieldType.QUANTITY, {"number": "1000", "unit": None}),
        ("many", FieldType.QUANTITY, None),
        ("6%", FieldType.PERCENT, "6"),
        ("７．５％", FieldType.PERCENT, "7.5"),
        ("six", FieldType.PERCENT, None),
        ("td 0116 7104", FieldType.IDENTIFIER, "TD01167104"),
        (" 王  小明 ", FieldType.NAME, "王 小明"),
        ("  ", FieldType.TEXT, None),
    ],
)
def test_other_types(text: str, type: FieldType, normal: Any) -> None:
    assert normalize(text, type) == normal


@pytest.mark.parametrize(
    ("a", "b", "type"),
    [
        ("9.O0", "9.00", FieldType.MONEY),
        ("RM9", "$9.00", FieldType.MONEY),
        ("l2.50", "12.50", FieldType.MONEY),
        ("¥1,234.5", "1234.50", FieldType.MONEY),
        ("25/12/2018", "25 DEC 2018", FieldType.DATE),
        ("12/03/18", "12-03-2018", FieldType.DATE),
        ("2X", "2", FieldType.QUANTITY),
        ("AEON CO. (M) BHD", "aeon co (m) bhd.", FieldType.NAME),
        ("ＡＢＣ超市", "ABC 超市", FieldType.NAME),
        ("03-1234 5678", "0312345678", FieldType.PHONE),
    ],
)
def test_equal_values_compare_equal(a: str, b: str, type: FieldType) -> None:
    assert comparable(a, type) == comparable(b, type)


@pytest.mark.parametrize(
    ("a", "b", "type"),
    [
        ("9.00", "9.01", FieldType.MONEY),
        ("19.00", "9.00", FieldType.MONEY),
        ("12/03/18", "13/03/18", FieldType.DATE),
        ("O", "0", FieldType.NAME),
        ("5 STAR", "S STAR", FieldType.NAME),
        ("2盒", "3盒", FieldType.QUANTITY),
    ],
)
def test_other_values_do_not(a: str, b: str, type: FieldType) -> None:
    assert comparable(a, type) != comparable(b, type)


def test_letters_like_digits_count_only_in_comparisons() -> None:
    assert normalize("9.O0", FieldType.MONEY) != {"amount": "9.00", "currency": None}
    assert parse_money("9.00").amount == Decimal("9.00")
