"""Patterns of line items: sums that end the list, usages of drugs, specifications, notes, greetings."""

from __future__ import annotations

import re

# Labels of the sums that follow the items.
ENDS = {
    "total_amount",
    "subtotal",
    "tax_amount",
    "total_quantity",
    "paid_amount",
    "change",
    "service_charge",
    "rounding",
    "discount",
    "savings",
    "balance",
}
USAGE = re.compile(
    r"用法|口服|每日|一日|每次|外用|静滴|肌注|皮下|雾化|静脉|滴注|注射|含服|喷|饭[前后]|必要时|顿服|睡前"
    r"|\bsig\b|\btake\b|\bapply\b|\b(?:od|qd|bd|bid|tds|tid|qid|qn|prn|po)\b"
    r"|times?\s(?:a|per)\sday|\bdaily\b|every \d+ hours|in the morning|at night|\d (?:cap|tab)s?\b"
    r"|when needed|before meals?|after (?:food|meals?)",
    re.IGNORECASE,
)
NOTE = re.compile(
    r"(?:赠品|特价|促销|活动价|会员价|第二件半价|折后价?|[堂外]食|打包|[少微中特加免不]辣|[少多去]冰|takeaway|dinein|promo|free)+"
)
GREETING = re.compile(
    r"thank|welcome|谢谢|感谢|欢迎|光临|请保留|请妥善|凭小票|customer copy|merchant copy|技术支持|powered by", re.IGNORECASE
)
SPECIFICATION = re.compile(
    r"(?<!\s)\s*(?P<s>(?<!\d)\d[\d.]{0,30}\s?(?:mg|g|ml|ug|μg|iu|%|毫克|克|毫升|万单位|[片粒支丸袋瓶盒s])"
    r"(?:\S{0,40}+(?:\s[*×x]\s?\d{1,9}+\S{0,40}+)?|\S{0,40}?[*×x]\s\d{1,9}+\S{0,40}+))$",
    re.IGNORECASE,
)
