"""Dates, months and times of many countries and calendars: every reading, the likeliest first."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from hunyuanocr.fields.values.dates import find_dates, find_months
from hunyuanocr.fields.values.normalize import normalize
from hunyuanocr.fields.values.style import PageStyle
from hunyuanocr.fields.values.times import find_times
from hunyuanocr.types import FieldType
from tests.fields.pages import ask, page, values

JAPANESE = PageStyle.of(["喫茶みどり", "小計 ¥500"])
CHINESE = PageStyle.of(["王记面馆", "牛肉面 18.00"])
TAIWAN = PageStyle.of(["好日子商行", "統一編號 12345678"])
THAI = PageStyle.of(["ร้านค้า", "รวม 120.00"])
MALAYSIAN = PageStyle.of(["99 SPEED MART 九十九", "TOTAL RM 12.00"])
AMERICAN = PageStyle.of(["DINER", "AUSTIN TX 78701", "TOTAL 12.40"])
ENGLISH = PageStyle.of(["Tea 1.50", "Cake 2.50"])


@pytest.mark.parametrize(
    ("text", "style", "days"),
    [
        ("25-03-05", CHINESE, ["2025-03-05", "2005-03-25"]),
        ("25-03-05", ENGLISH, ["2005-03-25", "2025-03-05"]),
        ("25-03-18", MALAYSIAN, ["2018-03-25", "2025-03-18"]),
        ("22/04/29", ENGLISH, ["2029-04-22", "2022-04-29"]),
        ("03/04/2026", ENGLISH, ["2026-04-03", "2026-03-04"]),
        ("03/04/2026", AMERICAN, ["2026-03-04", "2026-04-03"]),
        ("99-03-05", ENGLISH, ["1999-03-05"]),
        ("05/03/68", THAI, ["2025-03-05", "2068-03-05", "2068-05-03"]),
        ("25年3月5日", JAPANESE, ["2025-03-05", "2043-03-05"]),
        ("7年3月5日", JAPANESE, ["2025-03-05", "2007-03-05"]),
    ],
)
def test_every_reading_is_kept_the_likeliest_first(text: Any, style: Any, days: Any) -> None:
    ((_, readings),) = find_dates(text, style)
    assert [d.isoformat() for d in readings] == days


def test_the_order_of_the_other_dates_decides() -> None:
    style = PageStyle.of(["AUSTIN TX 78701", "25/12/2024"])
    assert find_dates("03/04/2026", style)[0][1][0] == date(2026, 4, 3)
    style = PageStyle.of(["12/25/2024"])
    assert find_dates("03/04/2026", style)[0][1][0] == date(2026, 3, 4)


MARCH_5 = [
    "5. März 2025", "5. Marz 2025", "5.Maerz 2025", "5 mars 2025", "5 de marzo de 2025", "5 marzo 2025", "5 de março de 2025",
    "5 maart 2025", "5 marca 2025 r.", "5 Mart 2025", "5 Maret 2025", "5 Mac 2025", "5 มีนาคม 2568", "5 มี.ค. 68",
    "Ngày 5 tháng 3 năm 2025", "5 thang 3, 2025", "2025년 3월 5일", "2025年3月5日", "令和7年3月5日", "R7.3.5", "民國114年3月5日",
    "114年3月5日", "05/03/2568", "05Mar2025", "MAR05'25", "Mar.05´25", "05Mar'25", "2025 03 05", "20250305",
    "Mar 5, 2025", "2025/03-05", "March 5th, 2025", "2025.03.05", "2025 年 3 月 5 日",
]  # fmt: skip


@pytest.mark.parametrize("text", MARCH_5)
def test_the_fifth_of_march(text: Any) -> None:
    ((span, readings),) = find_dates(text)
    assert readings[0] == date(2025, 3, 5)
    assert span.text in text


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("平成30年12月1日", "2018-12-01"),
        ("令和元年5月1日", "2019-05-01"),
        ("昭和63年1月7日", "1988-01-07"),
        ("5 Ağustos 2025", "2025-08-05"),
        ("5 sierpnia 2025", "2025-08-05"),
        ("5 août 2025", "2025-08-05"),
        ("15 Dez 2024", "2024-12-15"),
        ("DIC/21/2016", "2016-12-21"),
    ],
)
def test_months_and_eras(text: Any, iso: Any) -> None:
    assert normalize(text, FieldType.DATE) == iso


def test_years_of_the_republic_are_read_where_they_are_in_use() -> None:
    assert find_dates("114/03/05", TAIWAN)[0][1] == (date(2025, 3, 5),)
    assert find_dates("114/03/05", ENGLISH) == []
    assert find_dates("R7.3.5", ENGLISH) == []


@pytest.mark.parametrize(
    "text", ["2 SET 19.90", "1 set 20", "12-34-56", "REG 12- 10", "2023年12月688", "31 02 2025", "1 2 2025 7"]
)
def test_other_numbers_are_no_date(text: Any) -> None:
    assert find_dates(text) == []


def test_a_number_before_a_date_does_not_hide_it() -> None:
    assert [s.text for s, _ in find_dates("REG 12- 10/03/2013 13:57")] == ["10/03/2013"]


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("05/2026", "2026-05"),
        ("EXP 2026.05", "2026-05"),
        ("May 2026", "2026-05"),
        ("2026年05月", "2026-05"),
        ("05/26", "2026-05"),
        ("05/2569", "2026-05"),
        ("05/12", None),
        ("13/2026", None),
        ("1005/2026", None),
    ],
)
def test_a_month_of_expiry(text: Any, normal: Any) -> None:
    assert normalize(text, FieldType.DATE) == normal


def test_a_full_date_is_no_month() -> None:
    assert find_months("05/03/2026") == find_months("2026-05-03") == []


def test_an_expiry_is_given_as_printed() -> None:
    field = ask(page(["VITAMIN C", "Expiry date: 05/2026"]), "expiry date")["expiry date"]
    assert (field.value, field.normalized, field.grounded) == ("05/2026", "2026-05", True)


# -- times ----------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("05/03/2025 14.22", [("14.22", "14:22:00")]),
        ("Uhrzeit 14.22", [("14.22", "14:22:00")]),
        ("14.22 Uhr", [("14.22", "14:22:00")]),
        ("14h22", [("14h22", "14:22:00")]),
        ("14時22分", [("14時22分", "14:22:00")]),
        ("下午2:22", [("下午2:22", "14:22:00")]),
        ("午後2時22分", [("午後2時22分", "14:22:00")]),
        ("오후 2:22", [("오후 2:22", "14:22:00")]),
        ("10.00.53PM", [("10.00.53PM", "22:00:53")]),
        ("Total 14.22", []),
        ("14.22", []),
        ("05/03/2025 36.80", []),
    ],
)
def test_times(text: Any, found: Any) -> None:
    assert [(s.text, str(t)) for s, t in find_times(text)] == found


def test_a_label_makes_a_point_a_time() -> None:
    assert values(page(["SHOP", "Time: 14.22", "Total 4.20"]), "time", "total") == {"time": "14.22", "total": "4.20"}
