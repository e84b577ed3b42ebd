"""Made-up content: sums in cents, amounts in words, and truth collected from marks."""

import random
from typing import Any, cast

import pytest

from synthesis.document import Cell, Row
from synthesis.line_items import add_up, basket, in_words
from synthesis.writer import Writer, choose_style, marked, truth


@pytest.mark.parametrize(
    ("cents", "words"),
    [
        (3680, "叁拾陆元捌角整"),
        (10000, "壹佰元整"),
        (100505, "壹仟零伍元零伍分"),
        (20000000, "贰拾万元整"),
        (5, "伍分"),
        (1010, "壹拾元壹角整"),
        (123456, "壹仟贰佰叁拾肆元伍角陆分"),
        (10100100, "壹拾万壹仟零壹元整"),
    ],
)
def test_amount_in_words(cents: int, words: str) -> None:
    assert in_words(cents) == words


@pytest.mark.parametrize("variant", ["supermarket", "restaurant", "pharmacy", "convenience", "retail"])
def test_every_basket_adds_up(variant: str) -> None:
    for seed in range(60):
        rng = random.Random(seed)
        language = rng.choice(("zh", "en"))
        items = basket(rng, cast(Any, language), variant)
        sums = add_up(rng, cast(Any, language), variant, items)
        assert len({item.name for item in items}) == len(items)
        assert all(abs(item.amount - item.price * float(item.quantity)) <= 0.51 for item in items)
        assert sums.items == sum(item.amount for item in items)
        assert sums.total == sums.items - sums.discount + sums.service + sums.fee + sums.tax - sums.rounding
        assert sums.paid - sums.change == sums.total > 0
        assert sums.change >= 0


def test_truth_is_what_was_marked_without_its_label() -> None:
    writer = Writer(random.Random(1), choose_style(random.Random(1), "zh"))
    writer.pair("合计", "￥36.80", (("total_amount", "￥36.80"),), place="inline")
    writer.pair("日期", "2024-03-05 12:30", (("date", "2024-03-05"), ("time", "12:30")), place="apart")
    writer.row(Cell("苹果", marks=marked("苹果", "items.0.name")), Cell("x2", marks=marked("x2", "items.0.quantity", "2")))
    fields, items = truth(writer.rows)
    assert fields == {"total_amount": "￥36.80", "date": "2024-03-05", "time": "12:30"}
    assert items == [{"name": "苹果", "quantity": "2", "unit_price": None, "amount": None}]


def test_a_field_marked_twice_is_refused() -> None:
    row = Row((Cell("1.00", marks=marked("1.00", "total_amount")),))
    with pytest.raises(ValueError, match="total_amount is marked twice"):
        truth([row, row])
