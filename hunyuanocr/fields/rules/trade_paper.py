"""Whether a page is a paper of the trade (receipt, invoice, prescription …), which has an issuer, or any other text."""

from __future__ import annotations

from hunyuanocr.fields.rules.merchant_patterns import ADDRESS, FIRM, LEGAL_FORM, SHOP_KIND, TITLE
from hunyuanocr.fields.rules.page_analysis import PageAnalysis
from hunyuanocr.fields.values.dates import find_dates
from hunyuanocr.fields.values.finders import PHONE
from hunyuanocr.fields.values.times import find_times

_MIN_SIGNS = 3  # 255 of 256 receipts and invoices of the development sets have more, 13 of 15 other pages at most one
_SUMS = {"total_amount", "subtotal", "paid_amount", "change", "tax_amount"}
_MIN_SUM, _MIN_LINK = 0.4, 0.6  # scores of a labelled sum, which counts twice, and of any labelled value


def is_trade_paper(page: PageAnalysis, name: str) -> bool:
    """Return whether the page has enough signs of a paper of the trade: amounts, dates, labelled values, a title …

    `name` is the one at its head, which may be that of a firm or a shop.
    """
    texts = [line.text for line in page.lines]
    signs = 2 * any(link.field in _SUMS and link.score >= _MIN_SUM for link in page.links)
    signs += any(a.printed_as_money for a in page.amounts) + any(a.money.currency is not None for a in page.amounts)
    signs += len({link.label.cell.line for link in page.links if link.score >= _MIN_LINK}) >= 2
    signs += (page.kind is not None) + bool(FIRM.search(name) or SHOP_KIND.search(name))
    if signs >= _MIN_SIGNS:  # the others take longer
        return True
    signs += sum(any(map(pattern.search, texts)) for pattern in (PHONE, LEGAL_FORM, TITLE))
    signs += any(ADDRESS.search(text) and any(map(str.isdigit, text)) for text in texts)
    signs += any(find_dates(text, page.style) for text in texts) + any(find_times(text, page.style) for text in texts)
    return signs >= _MIN_SIGNS
