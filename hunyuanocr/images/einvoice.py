"""E-invoices that are embedded in a PDF: the values that the issuer's program declares, by the fields of the catalogue.

Formats: UN/CEFACT Cross Industry Invoice (ZUGFeRD 1 and 2, Factur-X, XRechnung); UBL 2 Invoice and CreditNote (Peppol).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from xml.etree import ElementTree

_SUMS = ("SpecifiedTradeSettlementHeaderMonetarySummation", "SpecifiedTradeSettlementMonetarySummation")
_CII: Mapping[str, tuple[str, ...]] = {  # field → paths from the root, the first that has a text counts
    "invoice_number": ("ExchangedDocument/ID", "HeaderExchangedDocument/ID"),
    "date": ("ExchangedDocument/IssueDateTime/DateTimeString", "HeaderExchangedDocument/IssueDateTime/DateTimeString"),
    "due_date": ("//SpecifiedTradePaymentTerms/DueDateDateTime/DateTimeString",),
    "total_amount": tuple(f"//{name}/GrandTotalAmount" for name in _SUMS),
    "subtotal": tuple(f"//{name}/TaxBasisTotalAmount" for name in _SUMS),
    "tax_amount": tuple(f"//{name}/TaxTotalAmount" for name in _SUMS),
    "balance": tuple(f"//{name}/DuePayableAmount" for name in _SUMS),
    "seller": ("//SellerTradeParty/Name",),
    "buyer": ("//BuyerTradeParty/Name",),
    "order_number": ("//BuyerOrderReferencedDocument/IssuerAssignedID", "//BuyerOrderReferencedDocument/ID"),
    "currency": ("//InvoiceCurrencyCode",),
    "iban": ("//PayeePartyCreditorFinancialAccount/IBANID",),
}  # fmt: skip
_UBL: Mapping[str, tuple[str, ...]] = {
    "invoice_number": ("ID",),
    "date": ("IssueDate",),
    "due_date": ("DueDate", "//PaymentMeans/PaymentDueDate"),
    "total_amount": ("LegalMonetaryTotal/TaxInclusiveAmount",),
    "subtotal": ("LegalMonetaryTotal/TaxExclusiveAmount",),
    "tax_amount": ("TaxTotal/TaxAmount",),
    "balance": ("LegalMonetaryTotal/PayableAmount",),
    "seller": tuple(f"AccountingSupplierParty/Party/{name}" for name in ("PartyLegalEntity/RegistrationName", "PartyName/Name")),
    "buyer": tuple(f"AccountingCustomerParty/Party/{name}" for name in ("PartyLegalEntity/RegistrationName", "PartyName/Name")),
    "tax_number": ("AccountingSupplierParty/Party/PartyTaxScheme/CompanyID",),
    "order_number": ("OrderReference/ID",),
    "currency": ("DocumentCurrencyCode",),
    "iban": ("//PaymentMeans/PayeeFinancialAccount/ID",),
}


def parse_einvoice(data: bytes) -> dict[str, str]:
    """Return the declared values by field; empty if the data are not an e-invoice. Dates are ISO 8601, amounts plain decimals.

    A document type declaration is refused, so that entities cannot expand.
    """
    if b"<!DOCTYPE" in data[:4096] or b"<!ENTITY" in data:
        return {}
    try:
        root = ElementTree.fromstring(data)  # noqa: S314 -- no declaration, so no entities; the child bounds the size
    except ElementTree.ParseError:
        return {}
    kind = _local(root.tag)
    paths = (
        _CII if kind in ("CrossIndustryInvoice", "CrossIndustryDocument") else _UBL if kind in ("Invoice", "CreditNote") else {}
    )
    found = {}
    for field, options in paths.items():
        value = next((text for path in options for text in _texts(root, path) if text), None)
        if value is not None:
            found[field] = _iso(value) if field in ("date", "due_date") else value
    if paths is _CII and (number := _tax_number(root)):
        found["tax_number"] = number
    return found


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _texts(root: ElementTree.Element, path: str) -> Iterator[str]:
    """Yield the texts at a path of local names; one that begins with // starts at any element."""
    first, *rest = path.removeprefix("//").split("/")
    found = [e for e in (root.iter() if path.startswith("//") else root) if _local(e.tag) == first]
    for name in rest:
        found = [child for e in found for child in e if _local(child.tag) == name]
    for e in found:
        yield (e.text or "").strip()


def _tax_number(root: ElementTree.Element) -> str | None:
    """Return the seller's VAT number, or its other tax number."""
    registered = [
        (child.get("schemeID", ""), (child.text or "").strip())
        for party in root.iter()
        if _local(party.tag) == "SellerTradeParty"
        for registration in party
        if _local(registration.tag) == "SpecifiedTaxRegistration"
        for child in registration
        if _local(child.tag) == "ID"
    ]
    return next((text for scheme, text in sorted(registered, key=lambda r: r[0] != "VA") if text), None)


def _iso(value: str) -> str:
    """Return 20180305 (format 102) as 2018-03-05; an ISO date unchanged."""
    return f"{value[:4]}-{value[4:6]}-{value[6:8]}" if len(value) >= 8 and value[:8].isdigit() else value[:10]
