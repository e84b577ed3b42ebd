"""Words of the trade in many languages: as data, in requests, and as labels on pages."""

from typing import Any

import pytest

from hunyuanocr.fields.catalogue import KNOWN, LANGUAGES, labels_of, lookup
from hunyuanocr.fields.folding import fold, fold_key, spellings
from hunyuanocr.fields.rules.label_words import page_languages
from tests.fields.pages import page, values

# What a receipt or an invoice of any country has.
_COMMON = (
    "total_amount", "subtotal", "tax_amount", "discount", "paid_amount", "change", "date", "time", "due_date",
    "merchant", "address", "phone", "tax_number", "buyer", "seller", "cashier", "payment_method", "invoice_number",
    "receipt_number", "order_number",
)  # fmt: skip

# Language, rows of a receipt, and what clients request in that language.
_RECEIPTS: list[tuple[str, list[Any], dict[str, str]]] = [
    (
        "de",
        ["BÄCKEREI KRUSE", [(0, "Zwischensumme"), (20, "13,20")], [(0, "SUMME EUR"), (20, "14,20")], [(0, "Bar"), (20, "20,00")],
         [(0, "Rückgeld"), (20, "5,80")], "inkl. 7% MwSt 0,93", "Es bediente Sie: Frau Kurz", "Datum 05.03.2025"],
        {"Summe": "14,20", "Zwischensumme": "13,20", "Rückgeld": "5,80", "Bar": "20,00", "MwSt": "0,93", "Bediener": "Frau Kurz"},
    ),
    (
        "fr",
        ["LIBRAIRIE DU PORT", [(0, "Sous-total"), (20, "20,75")], "TVA 20% 4,15", [(0, "TOTAL TTC"), (20, "24,90")],
         [(0, "Espèces"), (20, "30,00")], [(0, "Rendu monnaie"), (20, "5,10")], "N° ticket: 00412"],
        {"Total TTC": "24,90", "TVA": "4,15", "Espèces": "30,00", "Rendu": "5,10", "N° de ticket": "00412"},
    ),
    (
        "es",
        ["CASA PEPE", "Fecha: 05/03/2025", [(0, "Suma"), (20, "20,00")], [(0, "IVA 10%"), (20, "2,00")],
         [(0, "TOTAL"), (20, "22,00")], [(0, "Efectivo"), (20, "30,00")], [(0, "Cambio"), (20, "8,00")]],
        {"Importe total": "22,00", "Base imponible": "20,00", "IVA": "2,00", "Cambio": "8,00", "Fecha": "05/03/2025"},
    ),
    (
        "it",
        ["TRATTORIA ROMA", [(0, "Imponibile"), (20, "20,00")], [(0, "IVA 10%"), (20, "2,00")],
        [(0, "TOTALE COMPLESSIVO"), (20, "22,00")],
         [(0, "Pagamento contante"), (20, "30,00")], [(0, "Resto"), (20, "8,00")], "Documento n. 0012-0044"],
        {"Totale": "22,00", "Subtotale": "20,00", "IVA": "2,00", "Resto": "8,00", "Contanti": "30,00"},
    ),
    (
        "pt",
        ["PASTELARIA SOL", "Data de emissão: 05-03-2025", [(0, "Total a pagar"), (20, "4,20")], [(0, "Numerário"), (20, "5,00")],
         [(0, "Troco"), (20, "0,80")], "Contribuinte nº 501234567"],
        {"Total": "4,20", "Troco": "0,80", "Numerário": "5,00", "Data de emissão": "05-03-2025", "NIF": "501234567"},
    ),
    (
        "nl",
        ["BAKKERIJ JANSEN", [(0, "Subtotaal"), (20, "11,00")], [(0, "Te betalen"), (20, "12,00")],
        [(0, "Contant"), (20, "20,00")],
         [(0, "Wisselgeld"), (20, "8,00")], "BTW 9% 0,99", "Bonnummer: 55210"],
        {"Te betalen": "12,00", "Subtotaal": "11,00", "Wisselgeld": "8,00", "BTW": "0,99", "Bonnummer": "55210"},
    ),
    (
        "pl",
        ["SKLEP ABC", "NIP: 5250001009", [(0, "Suma PTU"), (20, "2,30")], [(0, "SUMA PLN"), (20, "12,30")],
         [(0, "Gotówka"), (20, "20,00")], [(0, "Reszta"), (20, "7,70")]],
        {"Suma": "12,30", "Reszta": "7,70", "Gotówka": "20,00", "Suma PTU": "2,30", "NIP": "5250001009"},
    ),
    (
        "tr",
        ["MARKET LTD ŞTİ", "TARİH: 05.03.2025", "FİŞ NO: 0042", [(0, "TOPKDV"), (20, "1,50")],
        [(0, "GENEL TOPLAM"), (20, "16,50")],
         [(0, "NAKİT"), (20, "20,00")], [(0, "PARA ÜSTÜ"), (20, "3,50")]],
        {"Toplam": "16,50", "Toplam KDV": "1,50", "Para üstü": "3,50", "Tarih": "05.03.2025", "Fiş no": "0042"},
    ),
    (
        "vi",
        ["QUÁN PHỞ", "Ngày: 05/03/2025", [(0, "Tổng cộng"), (20, "120.000")], [(0, "Tiền mặt"), (20, "150.000")],
         [(0, "Tiền thừa"), (20, "30.000")], "Thu ngân: Lan"],
        {"Tổng cộng": "120.000", "Tiền thừa": "30.000", "Khách đưa": "150.000", "Thu ngân": "Lan"},
    ),
    (
        "id",
        ["TOKO MAJU", "Tanggal: 05/03/2025", [(0, "Total belanja"), (20, "92.500")], [(0, "Tunai"), (20, "100.000")],
         [(0, "Kembali"), (20, "7.500")], "Kasir: Ani"],
        {"Jumlah": "92.500", "Tunai": "100.000", "Kembalian": "7.500", "Kasir": "Ani"},
    ),
    (
        "ja",
        ["スーパー青葉", [(0, "小計"), (20, "¥1,164")], [(0, "消費税等"), (20, "¥116")], [(0, "合計"), (20, "¥1,280")],
         [(0, "お預り"), (20, "¥2,000")], [(0, "お釣り"), (20, "¥720")], "レジ担当: 佐藤"],
        {"合計": "¥1,280", "小計": "¥1,164", "税額": "¥116", "お釣り": "¥720", "お預かり": "¥2,000"},
    ),
    (
        "ko",
        ["행복마트", [(0, "과세물품가액"), (20, "10,000")], [(0, "부가세"), (20, "1,000")], [(0, "합계금액"), (20, "11,000")],
         [(0, "받은금액"), (20, "20,000")], [(0, "거스름돈"), (20, "9,000")], "사업자번호: 123-45-67890"],
        {"합계": "11,000", "부가세": "1,000", "거스름돈": "9,000", "받은돈": "20,000", "사업자등록번호": "123-45-67890"},
    ),
    (
        "zh-Hant",
        ["好日子商行", "統一編號：12345675", [(0, "小計"), (20, "476")], [(0, "營業稅"), (20, "24")], [(0, "總計"), (20, "$500")],
         [(0, "收現"), (20, "$1,000")], [(0, "找零"), (20, "$500.00")]],
        {"總計": "$500", "稅額": "24", "找續": "$500.00", "統編": "12345675"},
    ),
    (
        "th",
        ["ร้านใจดี", "วันที่: 05/03/2025", [(0, "ยอดก่อนภาษี"), (20, "100.00")], [(0, "ภาษีมูลค่าเพิ่ม"), (20, "7.00")],
         [(0, "ยอดสุทธิ"), (20, "107.00")], [(0, "เงินสด"), (20, "120.00")], [(0, "เงินทอน"), (20, "13.00")]],
        {"ยอดรวม": "107.00", "ภาษี": "7.00", "เงินทอน": "13.00", "เงินสด": "120.00"},
    ),
]  # fmt: skip


@pytest.mark.parametrize("language", ["en", "zh", *LANGUAGES])
def test_each_language_has_words_for_the_common_fields(language: Any) -> None:
    words = labels_of(language)
    assert set(words) <= set(KNOWN)
    assert [name for name in _COMMON if not words.get(name)] == []
    assert [name for name, printed in words.items() if len({w.casefold() for w in printed}) < len(printed)] == []


def test_an_unknown_language_is_refused() -> None:
    with pytest.raises(KeyError):
        labels_of("tlh")


def test_the_most_usual_word_is_first() -> None:
    assert labels_of("de")["change"][0] == "Rückgeld"
    assert labels_of("zh")["total_amount"][0] == "实付金额"
    assert labels_of("en")["due_date"][0] == "due date"


@pytest.mark.parametrize(("language", "rows", "asked"), _RECEIPTS, ids=[r[0] for r in _RECEIPTS])
def test_a_receipt_is_read_in_the_words_of_its_language(language: Any, rows: Any, asked: Any) -> None:
    lines = page(rows)
    assert language in page_languages(line.text for line in lines)
    found = values(lines, *asked)
    assert {key: (value or "").removeprefix("EUR ") for key, value in found.items()} == asked


@pytest.mark.parametrize(
    "rows",
    [
        [
            "KEDAI MAJU SDN BHD",
            "TAX INVOICE",
            "Invoice No: 22",
            "Total Amount 20.00",
            "Cash 50.00",
            "Change 30.00",
            "Served by: Data",
        ],
        ["BAR HARBOR GRILL", "Table 4", "Server: Rita Marko", "Subtotal 12.00", "Sales tax 1.00", "Total 13.00", "Thank you"],
        ["清和便利店", "日期：2026-05-02", "合计：8.00", "谢谢惠顾"],
    ],
)
def test_an_english_or_chinese_page_is_in_no_other_language(rows: Any) -> None:
    assert page_languages(rows) == ()


@pytest.mark.parametrize("printed", ["Rückgeld", "Ruckgeld", "RUECKGELD"])
def test_a_label_without_its_diacritics_is_found(printed: Any) -> None:
    lines = page(["BÄCKEREI", [(0, "Summe"), (20, "14,20")], [(0, printed), (20, "5,80")]])
    assert values(lines, "Rückgeld", "change") == {"Rückgeld": "5,80", "change": "5,80"}


def test_folding_keeps_the_length_of_a_text() -> None:
    for text in ("Straße", "İndirim ÜÇ", "œuvre Łódź", "Tổng cộng", "合計 ¥1", "한국어"):
        assert len(fold(text)) == len(text)
    assert fold("İNDİRİM") == "indirim"
    assert set(spellings("Straße")) == {"strase", "strasse"}
    assert {"ntva", "notva"} <= set(spellings("N° TVA"))
    assert fold_key("Date d’émission") == "datedemission"


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("USt-IdNr.", "tax_number"), ("MwSt", "tax_amount"), ("TVA", "tax_amount"), ("N° TVA", "tax_number"),
        ("BTW", "tax_amount"), ("Zwischensumme", "subtotal"), ("Summe", "total_amount"), ("Rechnungsnummer", "invoice_number"),
        ("合計", "total_amount"), ("Nr faktury", "invoice_number"), ("Ngày hóa đơn", "date"), ("Tanggal", "date"),
        ("합계", "total_amount"), ("IBAN", "iban"), ("Kontonummer", "bank_account"), ("統一編號", "tax_number"),
        ("Faelligkeitsdatum", "due_date"), ("Numero de factura", "invoice_number"),
        ("Thẻ", "paid_amount"), ("passport number", "passport_number"), ("batch no", "batch_number"),
    ],
)  # fmt: skip
def test_words_of_other_languages_name_their_field(words: Any, name: Any) -> None:
    assert lookup(words).name == name


@pytest.mark.parametrize("words", ["data", "top", "not", "the", "pH", "H", "form", "code", "x" * 300])
def test_words_of_instructions_and_short_names_are_no_fields(words: Any) -> None:
    assert lookup(words) is None


def test_a_word_has_the_meaning_of_the_language_of_the_page() -> None:
    spanish = page(["CASA PEPE", "Fecha: 05/03/2025", "Suma 20,00", "IVA 2,00", "Total a pagar 22,00", "Gracias por su visita"])
    polish = page(["SKLEP ABC", "Paragon fiskalny", "Suma 22,00", "Gotówka 30,00", "Reszta 8,00"])
    assert values(spanish, "total_amount", "subtotal") == {"total_amount": "22,00", "subtotal": "20,00"}
    assert values(polish, "total_amount", "subtotal") == {"total_amount": "22,00", "subtotal": None}


def test_printed_words_precede_synonyms() -> None:
    clinic = page(["DENTAL CLINIC", "Treatment 350.00", "Total 350.00", "Less deposit 100.00", "Balance due 250.00"])
    assert values(clinic, "Balance due", "Total", "total_amount") == {
        "Balance due": "250.00",
        "Total": "350.00",
        "total_amount": "350.00",
    }
    invoice = page(["INVOICE", "Net amount 100.00", "VAT amount 20.00", "Grand total 120.00"])
    assert values(invoice, "Net amount", "Grand total") == {"Net amount": "100.00", "Grand total": "120.00"}


def test_a_synonym_is_used_if_the_requested_words_are_not_printed() -> None:
    assert values(page(["SHOP", "Amount due 12.00"]), "Balance due") == {"Balance due": "12.00"}


def test_a_tax_number_is_no_tax_amount() -> None:
    lines = page(["BÄCKEREI GMBH", "USt-IdNr. DE123456789", "Summe 14,20 EUR"])
    assert values(lines, "VAT amount", "VAT ID") == {"VAT amount": None, "VAT ID": "DE123456789"}
    lines = page(["AU BON MOULIN SARL", "Facture FA-2017-0010", "TVA: FR11999999998", "TVA 20% 4,15", "Total TTC 24,90"])
    assert values(lines, "TVA", "N° TVA") == {"TVA": "4,15", "N° TVA": "FR11999999998"}


def test_another_number_of_the_same_kind_is_no_answer() -> None:
    lines = page(["DELTA FREIGHT LTD", "Account Number: 998877665544332", "Total 119.00"])
    assert values(lines, "IBAN", "account number") == {"IBAN": None, "account number": "998877665544332"}
    lines = page(["出租汽车专用发票", "证号：9000141435", "金额：51.00"])
    assert values(lines, "护照号码", "证号") == {"护照号码": None, "证号": "9000141435"}


def test_the_number_of_a_document_follows_its_title() -> None:
    lines = page(["Handelsrechnung (380) Nr. 471102 vom 05.03.2018", "Gesamtbetrag 12,00 EUR"])
    assert values(lines, "Invoice No", "Invoice date") == {"Invoice No": "471102", "Invoice date": "05.03.2018"}


def test_a_sum_without_tax_is_no_tax_and_one_with_tax_no_subtotal() -> None:
    lines = page(
        [
            [(0, "Rechnungssumme ohne USt."), (30, "473,00")],
            [(0, "Steuerbetrag"), (30, "56,87")],
            [(0, "Summe inkl. USt:"), (30, "529,87")],
        ]
    )
    expected = {"subtotal": "473,00", "VAT amount": "56,87", "total": "529,87"}
    assert values(lines, *expected) == expected


def test_values_belong_to_the_party_of_their_block() -> None:
    lines = page(
        ["Rechnung Nr. 12", "Verkäufer", [(0, "Name:"), (20, "Lieferant GmbH")], [(0, "USt.-Id.-Nr.:"), (20, "DE123456789")],
         "Käufer", [(0, "Name:"), (20, "Kunden AG")], [(0, "USt.-Id.-Nr.:"), (20, "DE987654321")], "Gesamtbetrag 10,00"]
    )  # fmt: skip
    expected = {
        "Vendor": "Lieferant GmbH",
        "Käufer": "Kunden AG",
        "buyer VAT number": "DE987654321",
        "seller VAT number": "DE123456789",
    }
    assert values(lines, *expected) == expected


def test_parties_beside_a_narrow_column_with_stretched_labels() -> None:
    lines = page(
        ["电子普通发票", [(0, "购"), (2, "名"), (5, "称：北京甲科技有限公司")],
         [(0, "买"), (2, "纳税人识别号：91011111AA2AAAAA00")],
         [(0, "方"), (2, "地址、电话：")], [(2, "合"), (4, "计"), (20, "¥9.10")],
         [(0, "销"), (2, "名"), (5, "称：深圳乙餐饮有限公司")], [(0, "售"), (2, "纳税人识别号：911100008000000000")],
         [(0, "方"), (2, "地址、电话：")]]
    )  # fmt: skip
    expected = {
        "购买方名称": "北京甲科技有限公司", "销售方名称": "深圳乙餐饮有限公司",
        "购买方纳税人识别号": "91011111AA2AAAAA00", "销售方纳税人识别号": "911100008000000000",
    }  # fmt: skip
    assert values(lines, *expected) == expected


def test_the_tax_stands_below_its_column_in_the_row_of_the_total() -> None:
    lines = page(
        [[(0, "货物名称"), (12, "数量"), (20, "金额"), (28, "税率"), (34, "税额")],
         [(0, "餐饮"), (12, "1"), (20, "379.25"), (28, "6%"), (34, "22.75")],
         [(0, "日用品"), (12, "1"), (20, "8.85"), (28, "13%"), (34, "1.15")],
         [(0, "合"), (4, "计"), (20, "¥388.10"), (34, "¥23.90")]]
    )  # fmt: skip
    assert values(lines, "税额") == {"税额": "¥23.90"}


def test_a_label_with_its_translation_has_the_value_below() -> None:
    lines = page([[(0, "航班 FLIGHT"), (14, "日期 DATE"), (28, "舱位 CLASS")], [(0, "AB 1234"), (14, "03DEC"), (28, "W")]])
    assert values(lines, "航班", "舱位") == {"航班": "AB 1234", "舱位": "W"}
    lines = page([[(0, "航班 FLIGHT"), (14, "日期 DATE"), (28, "舱位 CLASS")], [(0, "AB 1234"), (12, "03DEC"), (25, "W")]])
    assert values(lines, "航班", "舱位") == {"航班": "AB 1234", "舱位": "W"}


def test_short_names_of_a_laboratory_report() -> None:
    lines = page(["LABORATORY REPORT", "pH: 7.36", "Na: 140 mmol/L", "K: 4.1 mmol/L", "Phone: 03-4021 0276"])
    assert values(lines, "pH", "K", "Na", "phone") == {
        "pH": "7.36",
        "K": "4.1 mmol/L",
        "Na": "140 mmol/L",
        "phone": "03-4021 0276",
    }
