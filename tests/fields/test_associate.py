"""Fields are found on many layouts by label, place and arithmetic; decoys are not taken, and what is not printed is null."""

from typing import Any

import pytest

from tests.fields.pages import ask, page, values

SUPERMARKET = [
    [(8, "华盛生活超市（南门店）", 1.3)],
    [(10, "购物小票")],
    [(0, "单号：2026112000187"), (14, "收银员：08")],
    [(0, "日期：2026-11-20 18:42:07")],
    [(0, "品名"), (12, "数量"), (16, "单价"), (20, "金额")],
    [(0, "纯牛奶250ml"), (12.5, "2"), (16, "3.50"), (20, "7.00")],
    [(0, "全麦面包"), (12.5, "1"), (16, "12.80"), (20, "12.80")],
    [(0, "苹果"), (12, "1.70"), (16, "10.00"), (20, "17.00")],
    [(0, "合计"), (20, "36.80")],
    [(0, "收款"), (20, "50.00")],
    [(0, "找零"), (20, "13.20")],
    [(0, "会员余额"), (20, "120.00")],
    [(0, "打印日期：2026-11-21 09:00:00")],
]


@pytest.mark.parametrize("skew", [0.0, 2.5, -4.0])
def test_a_chinese_receipt(skew: Any) -> None:
    assert values(
        page(SUPERMARKET, skew=skew), "总金额", "日期", "商户", "收款", "找零", "余额", "打印日期", "时间", "收银员", "小票号"
    ) == {
        "总金额": "36.80",
        "日期": "2026-11-20",
        "商户": "华盛生活超市（南门店）",
        "收款": "50.00",
        "找零": "13.20",
        "余额": "120.00",
        "打印日期": "2026-11-21",
        "时间": "18:42:07",
        "收银员": "08",
        "小票号": "2026112000187",
    }


def test_values_carry_type_box_page_and_both_confidences() -> None:
    field = ask(page(SUPERMARKET), "总金额")["总金额"]
    assert field.normalized == {"amount": "36.80", "currency": None}
    assert field.grounded
    assert field.page == 0
    assert field.text_confidence == 0.98
    assert field.confidence > 0.9
    assert field.doubts == ()
    assert field.box[0][0] > 700  # in the column of amounts


def test_the_total_wins_over_what_was_paid_whatever_stands_first() -> None:
    upside = [*SUPERMARKET[:8], [(0, "收款"), (20, "50.00")], [(0, "找零"), (20, "13.20")], [(0, "应付"), (20, "36.80")]]
    assert values(page(upside), "总金额") == {"总金额": "36.80"}


def test_an_unlabelled_total_is_found_by_arithmetic() -> None:
    bare = [*SUPERMARKET[:8], [(18, "￥36.80", 1.4)], *SUPERMARKET[9:]]
    assert values(page(bare), "总金额") == {"总金额": "￥36.80"}


def test_no_total_where_only_decoys_are_printed() -> None:
    decoys = [*SUPERMARKET[:4], [(0, "收款"), (20, "50.00")], [(0, "找零"), (20, "13.20")], [(0, "余额"), (20, "120.00")]]
    assert values(page(decoys), "总金额") == {"总金额": None}


def test_no_total_where_the_sum_itself_is_not_printed() -> None:
    assert values(page([*SUPERMARKET[:8], *SUPERMARKET[9:]]), "总金额", "收款") == {"总金额": None, "收款": "50.00"}


def test_no_date_where_only_the_printing_is_dated() -> None:
    undated = [*SUPERMARKET[:3], *SUPERMARKET[4:]]
    assert values(page(undated), "日期") == {"日期": None}


def test_an_unlabelled_date_is_taken_and_one_in_a_sentence_is_not() -> None:
    rows = [*SUPERMARKET[:3], *SUPERMARKET[4:12]]
    assert values(page([*rows, "2026-11-20 18:42"]), "日期") == {"日期": "2026-11-20"}
    assert values(page([*rows, "优惠券有效期至2026-12-31"]), "日期") == {"日期": None}


def test_a_discounted_receipt_answers_what_is_to_be_paid() -> None:
    rows = [
        *SUPERMARKET[:8],
        [(0, "小计"), (20, "36.80")],
        [(0, "会员优惠"), (20, "-3.00")],
        [(0, "实付金额"), (19, "¥33.80")],
        [(0, "微信支付"), (20, "33.80")],
    ]
    assert values(page(rows), "总金额", "小计", "优惠") == {"总金额": "¥33.80", "小计": "36.80", "优惠": "-3.00"}


MALAYSIAN = [
    [(5, "KEDAI BUKU SERI MUTIARA SDN BHD")],
    [(9, "(201901034567-X)")],
    [(5, "NO 12, JALAN BUNGA RAYA 3,")],
    [(6, "43000 KAJANG, SELANGOR")],
    [(7, "TEL: 03-8733 1234")],
    [(9, "TAX INVOICE")],
    [(0, "Invoice No"), (9, ": CS00012345")],
    [(0, "Date"), (9, ": 12/03/2018 14:05")],
    [(0, "Cashier"), (9, ": AMINAH")],
    [(0, "PENCIL 2B 12S")],
    [(2, "2 x 4.50"), (20, "9.00")],
    [(0, "EXERCISE BOOK A5")],
    [(2, "5 x 2.10"), (20, "10.50")],
    [(0, "Sub Total"), (20, "19.50")],
    [(0, "GST 6%"), (20, "1.17")],
    [(0, "Rounding Adj"), (20, "-0.02")],
    [(0, "TOTAL ROUNDED"), (18, "RM 20.65")],
    [(0, "CASH"), (18, "RM 50.00")],
    [(0, "CHANGE"), (18, "RM 29.35")],
    [(0, "GST SUMMARY"), (10, "AMOUNT(RM)"), (18, "TAX(RM)")],
    [(0, "SR @6%"), (11, "19.50"), (19, "1.17")],
    [(2, "Goods sold are not returnable")],
]


def test_a_malaysian_receipt() -> None:
    found = ask(
        page(MALAYSIAN),
        "company",
        "date",
        "total",
        "subtotal",
        "tax",
        "cash",
        "change",
        "phone",
        "address",
        "invoice number",
        "currency",
    )
    assert {k: f.value for k, f in found.items()} == {
        "company": "KEDAI BUKU SERI MUTIARA SDN BHD",
        "date": "12/03/2018",
        "total": "RM 20.65",
        "subtotal": "19.50",
        "tax": "1.17",
        "cash": "RM 50.00",
        "change": "RM 29.35",
        "phone": "03-8733 1234",
        "address": "NO 12, JALAN BUNGA RAYA 3, 43000 KAJANG, SELANGOR",
        "invoice number": "CS00012345",
        "currency": "RM",
    }
    assert found["date"].normalized == {"candidates": ["2018-03-12", "2018-12-03"]}
    assert found["total"].normalized == {"amount": "20.65", "currency": "MYR"}


@pytest.mark.parametrize(
    ("label", "asked"),
    [
        ("应收金額", "总金额"),
        ("本次医药费", "总金额"),
        ("合 计", "总金额"),
        ("合计(元)", "总金额"),
        ("T0TAL AM0UNT", "total"),
        ("TOTAI", "total"),
        ("Net Tota1", "total"),
        ("Total to pay", "total"),
        ("Jumlah", "total"),
    ],
)
def test_labels_misread_or_unheard_of(label: str, asked: str) -> None:
    assert values(page([[(0, label), (20, "36.80")], [(0, "收款"), (20, "50.00")]]), asked) == {asked: "36.80"}


@pytest.mark.parametrize(
    "label",
    [
        "优惠券",
        "会员立减",
        "本次积分",
        "Card Balance",
        "You saved",
        "找补",
        "押金",
        "Total Qty",
        "总件数",
        "Total Savings",
        "已收",
    ],
)
def test_other_amounts_are_no_total(label: str) -> None:
    assert values(page([[(0, label), (20, "36.80")]]), "总金额") == {"总金额": None}


def test_a_moment_is_the_date_with_its_time() -> None:
    field = ask(page(SUPERMARKET), "交易时间")["交易时间"]
    assert field.value == "2026-11-20 18:42:07"
    assert field.normalized == "2026-11-20T18:42:07"
    apart = ["欢迎光临", [(0, "Date: 07 Jun 2024"), (14, "Time: 13:20")], [(0, "Total"), (20, "9.00")]]
    assert ask(page(apart), "datetime")["datetime"].normalized == "2024-06-07T13:20"


def test_an_unknown_field_is_found_by_its_own_words() -> None:
    rows = ["Pump Number: 7", [(0, "Vehicle plate"), (10, "WXY 1234")], [(0, "房间号"), (8, "1208")], "总金额：20.00"]
    assert values(page(rows), "pump number", "vehicle_plate", "房间号", "driver licence colour") == {
        "pump number": "7",
        "vehicle_plate": "WXY 1234",
        "房间号": "1208",
        "driver licence colour": None,
    }


def test_nothing_is_invented_on_a_page_of_prose() -> None:
    prose = page(["昨天我们去了公园，天气很好。", "孩子们在湖边玩了一个下午。", "晚上回家吃饭。"])
    asked = ["总金额", "日期", "收款", "发票号码", "患者", "电话", "运单号", "税号", "医生", "地址"]
    assert values(prose, *asked) == dict.fromkeys(asked)
    assert values([], "总金额", "商户", "日期") == {"总金额": None, "商户": None, "日期": None}


def test_the_second_page_counts_too() -> None:
    lines = page(MALAYSIAN[:12]) + page([[(0, "TOTAL"), (18, "RM 20.65")]], number=1)
    field = ask(lines, "total")["total"]
    assert (field.value, field.page) == ("RM 20.65", 1)


@pytest.mark.parametrize(
    ("rows", "name"),
    [
        ([[(6, "欢迎光临")], [(5, "老张牛肉面馆", 1.5)], [(4, "地址：人民路18号")]], "老张牛肉面馆"),
        ([[(6, "TAX INVOICE")], [(3, "SUNRISE MART SDN BHD (812345-W)")], [(3, "LOT 5, JALAN INDAH")]], "SUNRISE MART SDN BHD"),
        (
            [[(3, "GOLDEN HARVEST TRADING &", 1.3)], [(5, "SUPPLIES SDN BHD", 1.3)], [(3, "NO 5, JALAN INDAH")]],
            "GOLDEN HARVEST TRADING & SUPPLIES SDN BHD",
        ),
        ([[(6, "结账单")], [(0, "店名：青瓦茶餐厅")], [(0, "桌号：12")]], "青瓦茶餐厅"),
        ([[(6, "收据")], [(0, "单号：1234")], [(0, "合计：20.00")]], None),
    ],
)
def test_the_merchant_is_the_name_at_the_head(rows: list[Any], name: str) -> None:
    assert values(page(rows), "商户") == {"商户": name}
