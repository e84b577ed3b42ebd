"""Sales slips of card terminals: merchant, terminal, card, amount, often with bilingual labels."""

from __future__ import annotations

import random
from functools import partial

from synthesis import identities
from synthesis import lexicon_en as en
from synthesis import lexicon_zh as zh
from synthesis.document import Cell, Document, Language
from synthesis.document_state import Plan, choose_bare, finish
from synthesis.lexicon_format import words
from synthesis.line_items import Sums
from synthesis.receipts import VARIANTS, bare_date
from synthesis.totals import total
from synthesis.writer import Place, Writer, choose_style

TITLES = {
    "zh": ("POS签购单", "银行卡签购单", "POS SALES SLIP", "签购单/SALES SLIP"),
    "en": ("SALES SLIP", "CARD RECEIPT", "SALE"),
}
ZH = words("""
    商户编号(MERCHANT NO); 终端编号(TERMINAL NO); 发卡行(ISS); 收单行(ACQ); 卡号(CARD NO); 交易类型(TXN TYPE); 批次号(BATCH NO);
    凭证号(VOUCHER NO); 授权码(AUTH NO); 参考号(REF NO)
""")
EN = ("MID", "TID", "Issuer", "Acquirer", "CARD", "TYPE", "BATCH", "TRACE", "AUTH CODE", "REF")


def slip(rng: random.Random, language: Language) -> Document:
    """Create a sales slip without items."""
    cents = rng.randint(100, 300000)
    plan = Plan(
        "receipt", "card_slip", identities.moment(rng), (), Sums(cents, total=cents, paid=cents), choose_bare(rng), frozenset()
    )
    w = Writer(rng, choose_style(rng, language))
    w.line(rng.choice(TITLES[language]), like=Cell("", 0.5, "center"), scale=rng.choice((1.2, 1.5)))
    if rng.random() < 0.6:
        w.rule()
    name = identities.shop(rng, language, rng.choice(VARIANTS))
    w.pair(w.label("slip_merchant"), name, (("merchant", name),), place="above" if rng.random() < 0.4 else "inline")
    _technicalities(w, first=0, last=7)
    _when(w, plan)
    _technicalities(w, first=7, last=10)
    _amount(w, plan)
    plan.printed |= {"receipt_number", "payment_method", "paid_amount", "discount"}
    w.rule()
    for text in ("备注(REMARK)", "持卡人签名(SIGNATURE):") if language == "zh" else ("SIGNATURE", "CARDHOLDER COPY"):
        w.line(text, scale=0.9)
    return finish(w, plan)


def _technicalities(w: Writer, first: int, last: int) -> None:
    """Write the numbers of merchant, terminal, card and transaction."""
    rng, language = w.rng, w.style.language

    digits = partial(identities.random_digits, rng)
    parts = zh if language == "zh" else en
    bank = f"{rng.choice(parts.STEMS_A)}{rng.choice(parts.STEMS_B)}" + ("银行" if language == "zh" else " Bank")
    sale = rng.choice(("消费", "消费/SALE")) if language == "zh" else "SALE"
    values = (digits(15), digits(8), bank, bank, f"62{digits(4)}******{digits(4)}", sale, *(digits(n) for n in (6, 6, 6, 12)))
    for label, value in list(zip(ZH if language == "zh" else EN, values, strict=True))[first:last]:
        if rng.random() < 0.75:
            w.pair(label, value, place="apart" if w.style.info == "apart" else "inline")


def _when(w: Writer, plan: Plan) -> None:
    if "date" in plan.bare:
        bare_date(w, plan)
        return
    day, hour = identities.written(plan.when, w.style.date), plan.when.strftime(w.style.time)
    w.pair(w.label("slip_date"), f"{day} {hour}", (("date", day), ("time", hour)), place="inline")


def _amount(w: Writer, plan: Plan) -> None:
    if "total_amount" in plan.bare:
        total(w, plan)
        return
    text = w.money(plan.sums.total)
    places: tuple[Place, ...] = ("inline", "apart", "above")
    place = w.rng.choice(places)
    w.pair(w.label("slip_amount"), text, (("total_amount", text),), place=place, scale=w.rng.choice((1.0, 1.3)), bold=True)
