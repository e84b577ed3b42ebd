"""The closed lexicon of the demo checkpoint: a subset of the words of `synthesis`, and their characters."""

from __future__ import annotations

import hashlib
import string
from itertools import chain

from synthesis import lexicon_en as en
from synthesis import lexicon_zh as zh

MAX_GLYPHS = 600
STEMS_A, STEMS_B = zh.STEMS_A[:36], zh.STEMS_B[:28]
KINDS = ("超市", "便利店", "餐厅", "饭店", "面馆", "大药房", "药店", "书店", "水果店", "文具店", "茶饮", "百货超市", "小厨")
EN_KINDS = ("Market", "Cafe", "Bakery", "Pharmacy", "Mini Mart", "Kitchen", "Books", "Foods")
SURNAMES, GIVEN = zh.SURNAMES[:20], zh.GIVEN[:20]
_MIXED = ("气泡水 Soda", "薯片 Chips", "拿铁 Latte", "可乐 Cola", "Mini蛋糕", "USB充电头", "VC泡腾片", "A4复印纸", "T恤 Basic")
GOODS: tuple[tuple[str, float], ...] = (
    *zh.FRESH,
    *((name, price) for name, price, _ in zh.GOODS[:28]),
    *zh.DISHES[:30],
    *((name, 9.9) for name in _MIXED),
)
EN_GOODS: tuple[tuple[str, float], ...] = tuple((n, p) for n, p in (*en.GOODS, *en.MENU) if len(n) < 15)[:60]
LABELS: dict[str, tuple[str, ...]] = {
    "total_amount": ("合计", "总计", "应付", "实付", "合计金额", "总金额", "应付金额", "Total", "TOTAL"),
    "subtotal": ("小计", "Subtotal"),
    "discount": ("优惠", "折扣", "优惠金额", "Discount"),
    "paid_amount": ("实收", "现金", "收款", "Cash"),
    "change": ("找零", "Change"),
    "date": ("日期", "交易日期", "时间", "Date"),
    "receipt_number": ("单号", "小票号", "流水号", "Receipt No"),
    "phone": ("电话", "Tel"),
    "cashier": ("收银员", "操作员", "Cashier"),
    "payment_method": ("支付方式",),
}
PAYMENTS = ("微信支付", "支付宝", "银联卡", "现金")
GREETINGS = ("谢谢惠顾", "欢迎光临", "欢迎再次光临", "请保留小票", "THANK YOU", "Welcome", "谢谢光临")
TITLES = ("销售小票", "购物小票", "收银小票", "结账单", "RECEIPT")
# Other names by which fields are requested, and fields that are never printed.
ASKED: dict[str, tuple[str, ...]] = {
    "total_amount": ("总金额", "合计", "total"), "date": ("日期", "交易日期"), "merchant": ("商户名称", "店名"),
    "receipt_number": ("小票号", "单号"), "phone": ("电话",), "cashier": ("收银员",), "discount": ("优惠", "折扣"),
    "paid_amount": ("实收金额",), "change": ("找零",), "payment_method": ("支付方式",), "subtotal": ("小计",), "time": ("时间",),
}  # fmt: skip
NEVER = ("invoice_number", "tax_number", "order_number", "address", "tax_amount", "balance", "points", "buyer", "patient")


def glyphs() -> str:
    """Return every character that may be printed, in a fixed order."""
    words = chain(
        STEMS_A,
        STEMS_B,
        KINDS,
        SURNAMES,
        GIVEN,
        (name for name, _ in GOODS),
        *LABELS.values(),
        PAYMENTS,
        GREETINGS,
        TITLES,
        ("￥¥元年月日：（）×",),
    )
    plain = string.digits + string.ascii_letters + "!#$%&'()*+,-./:;=@[]_|~?<>\""
    return plain + "".join(sorted({char for word in words for char in word if char not in plain and not char.isspace()}))


def held_out(text: str, share: float = 0.2) -> bool:
    """Return whether a name or layout is reserved for evaluation."""
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) / 2**32 < share
