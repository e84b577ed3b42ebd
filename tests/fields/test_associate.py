"""Fields are found on many layouts by label, place and arithmetic; decoys are told apart, and what is not printed is null."""

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
def test_a_chinese_receipt(skew):
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


def test_values_carry_type_box_page_and_the_readers_own_confidence():
    field = ask(page(SUPERMARKET), "总金额")["总金额"]
    assert field.normalized == {"amount": "36.80", "currency": None}
    assert field.grounded
    assert field.page == 0
    assert field.confidence == 0.98
    assert field.box[0][0] > 700  # in the column of amounts


def test_the_total_wins_over_what_was_paid_whatever_stands_first():
    upside = [*SUPERMARKET[:8], [(0, "收款"), (20, "50.00")], [(0, "找零"), (20, "13.20")], [(0, "应付"), (20, "36.80")]]
    assert values(page(upside), "总金额") == {"总金额": "36.80"}


def test_an_unlabelled_total_is_found_by_arithmetic():
    bare = [*SUPERMARKET[:8], [(18, "￥36.80", 1.4)], *SUPERMARKET[9:]]
    assert values(page(bare), "总金额") == {"总金额": "￥36.80"}


def test_no_total_where_only_decoys_are_printed():
    decoys = [*SUPERMARKET[:4], [(0, "收款"), (20, "50.00")], [(0, "找零"), (20, "13.20")], [(0, "余额"), (20, "120.00")]]
    assert values(page(decoys), "总金额") == {"总金额": None}


def test_no_date_where_only_the_printing_is_dated():
    undated = [*SUPERMARKET[:3], *SUPERMARKET[4:]]
    assert values(page(undated), "日期") == {"日期": None}


def test_an_unlabelled_date_is_taken_and_one_in_a_sentence_is_not():
    rows = [*SUPERMARKET[:3], *SUPERMARKET[4:12]]
    assert values(page([*rows, "2026-11-20 18:42"]), "日期") == {"日期": "2026-11-20"}
    assert values(page([*rows, "优惠券有效期至2026-12-31"]), "日期") == {"日期": None}


def test_a_discounted_receipt_answers_what_is_to_be_paid():
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


def test_a_malaysian_receipt():
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


def test_labels_above_their_values():
    rows = [
        [(6, "INVOICE", 1.6)],
        [(0, "Northwind Supplies Ltd")],
        [(0, "Invoice No"), (9, "Invoice Date"), (18, "Due Date")],
        [(0, "INV-20931"), (9, "14 Feb 2025"), (18, "16 Mar 2025")],
        [(0, "Description"), (11, "Qty"), (15, "Unit Price"), (21, "Amount")],
        [(0, "Steel bracket"), (11, "10"), (16, "3.20"), (21, "32.00")],
        [(0, "Amount due"), (20, "$32.00")],
    ]
    assert values(page(rows), "invoice_number", "date", "due_date", "total") == {
        "invoice_number": "INV-20931",
        "date": "14 Feb 2025",
        "due_date": "16 Mar 2025",
        "total": "$32.00",
    }


PRESCRIPTION = [
    [(7, "滨海市第二人民医院", 1.4)],
    [(9, "门诊处方笺")],
    [(0, "姓名：李思远"), (9, "性别：男"), (15, "年龄：35岁")],
    [(0, "科室：呼吸内科"), (9, "病历号：0031827"), (19, "日期：2026年3月8日")],
    ["临床诊断：急性支气管炎"],
    ["Rp."],
    [(0, "1. 阿莫西林胶囊 0.25g*24粒"), (20, "×2盒")],
    [(2, "用法：口服 一次2粒 一日3次")],
    [(0, "2. 复方甘草片"), (20, "×1瓶")],
    [(2, "用法：含服 一次3片 一日3次")],
    [(0, "医师：周文斌"), (10, "药费：42.60元")],
    [(0, "审核：陈立"), (10, "调配：孙倩")],
]


def test_a_prescription():
    assert values(
        page(PRESCRIPTION), "医院", "患者", "姓名", "性别", "年龄", "科室", "诊断", "医生", "总金额", "日期", "收款", "发票号码"
    ) == {
        "医院": "滨海市第二人民医院",
        "患者": "李思远",
        "姓名": "李思远",
        "性别": "男",
        "年龄": "35岁",
        "科室": "呼吸内科",
        "诊断": "急性支气管炎",
        "医生": "周文斌",
        "总金额": "42.60元",
        "日期": "2026年3月8日",
        "收款": None,
        "发票号码": None,
    }


def test_several_labels_run_together_in_one_line():
    line = page([[(0, "姓名：张三性别：女年龄：28岁日期：2026-01-02")]])
    assert values(line, "患者", "性别", "年龄", "日期") == {"患者": "张三", "性别": "女", "年龄": "28岁", "日期": "2026-01-02"}


def test_a_parcel_label():
    rows = [
        [(0, "运单号：SF1382947561024")],
        [(0, "寄件人：王小明"), (12, "寄件人电话：13800001111")],
        ["寄件地址：浙江省杭州市西湖区文三路88号"],
        [(0, "收件人：刘洋"), (12, "收件人电话：13900002222")],
        ["收件地址：广东省深圳市南山区科技园3栋501"],
        ["重量：1.25kg"],
    ]
    assert values(page(rows), "运单号", "寄件人", "收件人", "收件人电话", "收件地址", "寄件地址", "重量") == {
        "运单号": "SF1382947561024",
        "寄件人": "王小明",
        "收件人": "刘洋",
        "收件人电话": "13900002222",
        "收件地址": "广东省深圳市南山区科技园3栋501",
        "寄件地址": "浙江省杭州市西湖区文三路88号",
        "重量": "1.25kg",
    }


def test_an_id_like_card():
    rows = [
        "姓名 王芳",
        [(0, "性别 女"), (8, "民族 汉")],
        "出生 1990年5月1日",
        "住址 江苏省南京市玄武区中山路1号",
        "公民身份号码 320102199005010029",
    ]
    assert values(page(rows), "姓名", "性别", "出生日期", "身份证号", "民族", "国籍") == {
        "姓名": "王芳",
        "性别": "女",
        "出生日期": "1990年5月1日",
        "身份证号": "320102199005010029",
        "民族": "汉",
        "国籍": None,
    }


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
def test_labels_misread_or_unheard_of(label, asked):
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
def test_other_amounts_are_no_total(label):
    assert values(page([[(0, label), (20, "36.80")]]), "总金额") == {"总金额": None}


def test_an_unknown_field_is_found_by_its_own_words():
    rows = ["Pump Number: 7", [(0, "Vehicle plate"), (10, "WXY 1234")], [(0, "房间号"), (8, "1208")], "总金额：20.00"]
    assert values(page(rows), "pump number", "vehicle_plate", "房间号", "driver licence colour") == {
        "pump number": "7",
        "vehicle_plate": "WXY 1234",
        "房间号": "1208",
        "driver licence colour": None,
    }


def test_nothing_is_invented_on_a_page_of_prose():
    prose = page(["昨天我们去了公园，天气很好。", "孩子们在湖边玩了一个下午。", "晚上回家吃饭。"])
    asked = ["总金额", "日期", "收款", "发票号码", "患者", "电话", "运单号", "税号", "医生", "地址"]
    assert values(prose, *asked) == dict.fromkeys(asked)
    assert values([], "总金额", "商户", "日期") == {"总金额": None, "商户": None, "日期": None}


def test_the_second_page_counts_too():
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
def test_the_merchant_is_the_name_at_the_head(rows, name):
    assert values(page(rows), "商户") == {"商户": name}
