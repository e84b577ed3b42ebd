"""The field of an unknown label, inferred from its words.

本次医药费 is a total because of 费, 会员专享立减 a discount because of 减. The first matching pattern decides: specific patterns
precede general ones.
"""

from __future__ import annotations

import re

from hunyuanocr.chinese import to_simplified
from hunyuanocr.fields.folding import fold

_TAX = r"(?:\d{1,3}\s?%\s?)?(?:u\.?st|mwst|tva|iva|btw|vat|kdv|ppn|ptu)\b"
_WORD = r"\w{0,20}"  # the rest of a word
_SUM = (
    rf"(?:total{_WORD}|tot|{_WORD}(?:summe|betrag|bedrag|preis)|totaal{_WORD}|montant|importe|importo|valor|razem|suma"
    rf"|gesamt{_WORD}|toplam|prix)"
)
_FIELD_PATTERNS: tuple[tuple[str, str], ...] = (
    ("subtotal", rf"\b(?:ohne|exk?c?l{_WORD}\.?|hors|sans|sin|senza|sem|zonder|bez) {_TAX}|{_SUM} (?:h\.?t\b|netto)"),
    ("total_amount", rf"{_SUM} (?:ttc\b|brutto|(?:(?:ink?c?l|einschl){_WORD}\.?|con|com|z|avec) {_TAX})"),
    ("change", r"找[零回补赎钱]|^应?找|\bchange\b|\bbaki\b"),
    ("points", r"积分|\bpoints?\b|\breward"),
    ("balance", r"余额|结余|\bbal(?:ance)?\b(?! due)"),
    ("rounding", r"抹零|舍入|四舍五入|零头|\bround"),
    ("savings", r"节省|[已您共]省|\bsav(?:ed|ings?)\b"),
    ("discount", r"优惠|折扣|[立满扣]减|减免|抵[扣用]|让利|券|\bdisc|voucher|promo|coupon|rebate"),
    ("deposit", r"押金|[订定]金|deposit"),
    ("total_amount", r"total.{0,5}incl|incl(?:usive|uding)?.{0,4}(?:gst|tax|sst)|含税"),
    ("tax_amount", r"税额|税金|增值税|\btax\b(?! invoice)|\b(?:gst|sst|vat)\b(?! (?:id|no|reg))"),
    ("service_charge", r"服务费|service|\bsvc\b"),
    ("subtotal", r"小计|原价|折前|不含税|sub.?tot|before|exclu?|items? total|(?:商品|货品|菜品)(?:总|合|金)"),
    ("total_quantity", r"数量|[总件]数|(?:商品|品种|菜品)数|\bqty|\bitems?\b|\bcount\b|\bpcs\b"),
    ("print_date", r"(?:打印|补打|重打|重印|复印|制单|导出).{0,2}(?:日期|时间)?|(?:re)?print"),
    ("birth_date", r"出生|生日|birth|\bdob\b|\bborn\b"),
    ("expiry_date", r"有效|到期|失效|截止|过期|保质|保修|质保|效期|expir|valid|until|warranty"),
    ("production_date", r"生产日期|\bmfg\b|\bmfd\b"),
    (
        "delivery_date",
        r"(?:送达|送货|发货|配送|预约|复诊|取货|提货|下次).{0,2}(?:日期|时间)|delivery|next visit|follow.?up|appointment",
    ),
    ("report_date", r"(?:报告|审核|检验)(?:日期|时间)|reported"),
    ("sample_date", r"(?:采样|采集|送检|接收)(?:日期|时间)|collect"),
    ("order_number", r"(?:订单|点[菜餐单]|下单).{0,2}号|(?:order|ticket|check)\s?(?:no|num|id|#|$)"),
    (
        "receipt_number",
        r"(?:流水|小票|票据|单据|收据|交易|销售|收银|账单|凭证).{0,2}(?:号|编码)?$|(?:receipt|bill|slip|trans\w{0,12}|doc\w{0,12}|sale)\s?(?:no|num|id|#)",
    ),
    ("member_number", r"会员|卡号|member|loyalty"),
    (
        "paid_amount",
        r"收款|[实已]收|收现|现收|付现|现金|支付|付款|刷卡|微信|支付宝|云闪付|银联|扫码|\bcash\b|tender|\bpaid\b|payment|\bcard\b|visa|wallet",
    ),
    (
        "total_amount",
        r"总[计额价]|(?:本次|本单|总)消费|[药房货]价|合计|[应实]付|应收|总?金额|[药品疗费]费|费用|\btotal\b|\bamount\b|\bcharges?\b|payable|\bdue\b|\bnett?\b",
    ),
    ("date", r"日期|时间|\bdated?\b|\bissued\b"),
)
_PATTERNS = tuple((name, re.compile(pattern, re.IGNORECASE)) for name, pattern in _FIELD_PATTERNS)


def infer_field(words: str) -> str | None:
    """Return the most likely field of a label with these words, or None."""
    plain = fold(to_simplified(words)).replace("_", " ")
    return next((name for name, pattern in _PATTERNS if pattern.search(plain)), None)
