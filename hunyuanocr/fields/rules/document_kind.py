"""The kind of a document by its title, in the languages of the catalogue."""

from __future__ import annotations

import re

_TITLES = tuple(
    (kind, re.compile(pattern, re.IGNORECASE))
    for kind, pattern in (
        ("prescription", r"处\s?方|\brx\b|prescription|\bRp\b"),
        ("lab_report", r"检验报告|检查报告|检测报告|化验|laboratory|test report|lab report"),
        ("parcel", r"运单|快递|速运|物流|面单|waybill|consignment|tracking"),
        ("card", r"身份证|护照|驾驶证|passport|identity card|driving licen[cs]e"),
        (
            "receipt",
            r"小票|收据|结账|收银|receipt|cash bill|quittung|kassenbon|kassabon|ticket de caisse|scontrino|ricevuta|\brecibo"
            r"|paragon|領収|レシート|영수증|ใบเสร็จ|\bstruk\b|\bresit\b|收據",
        ),
        (
            "invoice",
            r"发票|發票|invoice|rechnung|fa[ck]?t[uo]ra?\b|facture|factuur|fattura|faktura?\b|請求書|청구서|ใบกำกับ"
            r"|h[óo]a [đd][ơo]n|invois",
        ),
    )
)


def kind_of(head: str) -> str | None:
    """Return the kind of document whose title is in the text of the first rows, a key of `catalogue.DOCUMENTS`, or None."""
    return next((kind for kind, pattern in _TITLES if pattern.search(head)), None)
