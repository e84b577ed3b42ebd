"""Words of the trade in many languages: as data, in requests, and as labels on pages."""

import pytest

from hunyuanocr.fields.catalogue import KNOWN, LANGUAGES, labels_of

# What a receipt or an invoice of any country has.
_COMMON = (
    "total_amount", "subtotal", "tax_amount", "discount", "paid_amount", "change", "date", "time", "due_date", "merchant", "address",
    "phone", "tax_number", "buyer", "seller", "cashier", "payment_method", "invoice_number", "receipt_number", "order_number",
)  # fmt: skip


@pytest.mark.parametrize("language", ("en", "zh", *LANGUAGES))
def test_each_language_has_words_for_the_common_fields(language):
    words = labels_of(language)
    assert set(words) <= set(KNOWN)
    assert [name for name in _COMMON if not words.get(name)] == []
    assert [name for name, printed in words.items() if len({w.casefold() for w in printed}) < len(printed)] == []


def test_an_unknown_language_is_refused():
    with pytest.raises(KeyError):
        labels_of("tlh")


def test_the_most_usual_word_is_first():
    assert labels_of("de")["change"][0] == "Rückgeld"
    assert labels_of("zh")["total_amount"][0] == "实付金额"
    assert labels_of("en")["due_date"][0] == "due date"
