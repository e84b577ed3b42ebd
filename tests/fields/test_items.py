"""Line items in the ways in which tills, invoices and prescriptions print them."""

from dataclasses import replace

from hunyuanocr.fields import extract_fields
from hunyuanocr.types import FieldType
from tests.fields.pages import page, rows, spec

HEAD = [[(6, "惠民便利店", 1.3)], [(0, "日期：2026-11-20 18:42:07")]]
SUMS = [[(0, "合计"), (20, "36.80")], [(0, "收款"), (20, "50.00")]]


def test_a_table_with_heads() -> None:
    table = [
        [(0, "品名"), (12, "数量"), (16, "单价"), (20, "金额")],
        [(0, "纯牛奶250ml"), (12.5, "2"), (16, "3.50"), (20, "7.00")],
        [(0, "红苹果"), (12, "1.70"), (16, "10.00"), (20, "17.00")],
        [(0, "全麦面包"), (12.5, "1"), (16, "12.80"), (20, "12.80")],
    ]
    assert rows(page(HEAD + table + SUMS)) == [
        {"name": "纯牛奶250ml", "quantity": "2", "unit_price": "3.50", "amount": "7.00"},
        {"name": "红苹果", "quantity": "1.70", "unit_price": "10.00", "amount": "17.00"},
        {"name": "全麦面包", "quantity": "1", "unit_price": "12.80", "amount": "12.80"},
    ]


def test_heads_run_together_and_a_name_that_wraps() -> None:
    table = [
        [(0, "品名 数量 单价 金额")],
        [(0, "进口冷榨初榨特级"), (12.5, "2"), (16, "8.00"), (20, "16.00")],
        [(0, "橄榄油")],
        [(0, "挂面"), (12.5, "1"), (16, "20.80"), (20, "20.80")],
    ]
    assert [r["name"] for r in rows(page(HEAD + table + SUMS))] == ["进口冷榨初榨特级橄榄油", "挂面"]


def test_names_above_their_numbers() -> None:
    lines = [[(0, "PENCIL 2B 12S")], [(2, "2 x 4.50"), (20, "9.00")], [(0, "EXERCISE BOOK A5")], [(2, "5 x 2.10"), (20, "10.50")]]
    head = [[(5, "SERI MART SDN BHD")], [(0, "Date: 12 Mar 2018")]]
    assert rows(page([*head, *lines, [(0, "Total"), (20, "19.50")]])) == [
        {"name": "PENCIL 2B 12S", "quantity": "2", "unit_price": "4.50", "amount": "9.00"},
        {"name": "EXERCISE BOOK A5", "quantity": "5", "unit_price": "2.10", "amount": "10.50"},
    ]


def test_numbers_above_their_names() -> None:
    lines = [
        [(0, "Item"), (7, "Qty"), (11, "Price"), (20, "Amount")],
        [(0, "2587"), (7, "1.00 PCS"), (12, "50.88"), (20, "50.88")],
        [(0, "WING COMPASS 10")],
        [(0, "6736"), (7, "2.00 SET"), (12, "25.00"), (20, "50.00")],
        [(0, "HOLLOW PUNCH SET")],
    ]
    found = rows(page([[(5, "YEW HARDWARE TRADING")], *lines, [(0, "Total"), (20, "100.88")]]))
    assert [(r["name"], r["amount"]) for r in found] == [("WING COMPASS 10", "50.88"), ("HOLLOW PUNCH SET", "50.00")]


def test_counts_before_and_behind_the_name() -> None:
    before = [[(0, "2 Flat White"), (20, "9.00")], [(0, "1 Iced Latte 350ml"), (20, "5.50")]]
    behind = [[(0, "爆炒茄子 x2"), (20, "47.00")], [(0, "招牌鱼片(例)"), (20, "80.00")]]
    head = [[(5, "CORNER CAFE")], [(0, "Date: 12 Mar 2018")]]
    assert rows(page([*head, *before, [(0, "Total"), (20, "14.50")]])) == [
        {"name": "Flat White", "quantity": "2", "amount": "9.00"},
        {"name": "Iced Latte 350ml", "quantity": "1", "amount": "5.50"},
    ]
    assert rows(page([*HEAD, *behind, [(0, "合计"), (20, "127.00")]])) == [
        {"name": "爆炒茄子", "quantity": "2", "amount": "47.00"},
        {"name": "招牌鱼片(例)", "amount": "80.00"},
    ]


def test_drugs_with_their_usage_and_no_price() -> None:
    lines = [
        [(7, "滨海市中医院")],
        [(9, "处方笺")],
        [(0, "姓名：李思远"), (9, "性别：男")],
        ["Rp."],
        [(0, "1. 阿莫西林胶囊 0.25g*24粒"), (20, "×2盒")],
        [(2, "用法：口服 一次2粒 一日3次")],
        [(0, "2. 复方甘草片"), (20, "×1瓶")],
        [(2, "用法：含服 一次3片")],
        [(0, "医师：周文斌")],
    ]
    found = rows(page(lines))
    assert [(r["name"], r["quantity"]) for r in found] == [("阿莫西林胶囊", "×2盒"), ("复方甘草片", "×1瓶")]
    assert found[0]["specification"] == "0.25g*24粒"
    assert "一日3次" in found[0]["usage"]


def test_a_lab_report() -> None:
    lines = [
        [(7, "滨海市人民医院检验报告单")],
        [(0, "姓名：李思远"), (9, "标本：血清")],
        [(0, "检验项目"), (9, "结果"), (14, "参考范围"), (20, "单位")],
        [(0, "谷丙转氨酶"), (9, "35.2"), (14, "9-50"), (20, "U/L")],
        [(0, "总胆固醇"), (9, "4.81"), (14, "3.1-5.7"), (20, "mmol/L")],
        [(0, "检验者：王敏")],
    ]
    assert [(r["name"], r.get("result")) for r in rows(page(lines))] == [("谷丙转氨酶", "35.2"), ("总胆固醇", "4.81")]


def test_sums_and_payments_are_no_items() -> None:
    found = rows(
        page(
            [
                *HEAD,
                [(0, "矿泉水"), (20, "2.00")],
                [(0, "薯片"), (20, "34.80")],
                [(0, "商品数 2")],
                *SUMS,
                [(0, "找零"), (20, "13.20")],
            ]
        )
    )
    assert [r["name"] for r in found] == ["矿泉水", "薯片"]


def test_no_items_on_a_page_without_any() -> None:
    assert rows(page(["今天天气很好，我们去公园。", "晚上回家。"])) == []
    assert rows([]) == []


def test_a_key_that_is_the_name_of_a_row_hides_no_items() -> None:
    table = [
        [(0, "项目"), (12, "结果"), (16, "单位")],
        [(0, "白细胞"), (12, "6.2"), (16, "10^9/L")],
        [(0, "血红蛋白"), (12, "132"), (16, "g/L")],
    ]
    for asked in (["白细胞", "items"], ["items", "血红蛋白"]):
        specs = [replace(spec(words), type=FieldType.ROWS) if words == "items" else spec(words) for words in asked]
        fields = {f.key: f for f in extract_fields(page(["检验报告单", *table]), specs, [(1000, 2000)])}
        assert [row["name"].value for row in fields["items"].rows or ()] == ["白细胞", "血红蛋白"]
        assert next(f.value for key, f in fields.items() if key != "items") in ("6.2", "132")


def test_a_label_of_the_request_with_a_colon_still_ends_the_items() -> None:
    table = [[(0, "Cable"), (20, "5.00")], [(0, "Loyalty points: 12"), (20, "3.00")], [(0, "Total"), (20, "5.00")]]
    specs = [spec("Loyalty points"), replace(spec("items"), type=FieldType.ROWS)]
    items = extract_fields(page([[(5, "CORNER SHOP")], *table]), specs, [(1000, 2000)])[1]
    assert [row["name"].value for row in items.rows or ()] == ["Cable"]
