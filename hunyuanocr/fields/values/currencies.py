"""Currencies by their printed sign or code, as ISO 4217 codes.

Some signs belong to several currencies. The page decides (`PageStyle`): ¥ is JPY on a Japanese page and CNY on others, $ is USD
unless the page prints another dollar.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from hunyuanocr.fields.values.style import PLAIN, PageStyle

# The codes of ISO 4217 in use, without those of funds and metals.
_ISO_4217 = """
AED AFN AMD ANG AOA ARS AUD AWG AZN BBD BDT BGN BHD BIF BMD BND BRL BSD BTN BWP BYN BZD CAD CDF CHF CLP CNY COP CRC CVE CZK
DJF DKK DZD EGP ERN ETB EUR FJD FKP GBP GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS
KHR KMF KPW KRW KWD KYD KZT LBP LKR LRD LSL LYD MDL MGA MKD MMK MNT MRU MUR MVR MWK MXN MYR MZN NGN NIO NOK NPR NZD OMR PAB
PGK PHP PKR PLN PYG QAR RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SRD SSP STN SVC SYP SZL THB TJS TMT TND TTD TWD TZS UAH
UGX USD UYU UZS VES VND VUV WST XAF XCD XOF XPF YER ZAR ZMW
"""
_CODES = frozenset(_ISO_4217.split())
# Codes that are also words: only after an amount with decimals (36.80 TRY), never before a number (CUP 3).
_WORD_CODES = frozenset({"ALL", "BAM", "BOB", "CUP", "DOP", "GEL", "LAK", "MAD", "MOP", "NAD", "PEN", "RON", "SOS", "TOP", "TRY"})
_SIGNS: Mapping[str, str] = MappingProxyType(
    {
        "¥": "CNY", "元": "CNY", "圆": "CNY", "圓": "CNY", "块": "CNY", "塊": "CNY", "rmb": "CNY", "人民币": "CNY",
        "人民幣": "CNY",
        "y": "CNY", "羊": "CNY", "円": "JPY", "日元": "JPY", "€": "EUR", "欧元": "EUR", "euro": "EUR", "£": "GBP", "英镑": "GBP",
        "rm": "MYR", "$": "USD", "us$": "USD", "美元": "USD", "s$": "SGD", "hk$": "HKD", "港币": "HKD", "港幣": "HKD",
        "港元": "HKD",
        "nt$": "TWD", "a$": "AUD", "au$": "AUD", "c$": "CAD", "ca$": "CAD", "nz$": "NZD", "mx$": "MXN", "r$": "BRL", "j$": "JMD",
        "₩": "KRW", "원": "KRW", "₹": "INR", "rs": "INR", "rs.": "INR", "rp": "IDR", "rp.": "IDR", "₫": "VND", "đ": "VND",
        "vnđ": "VND", "฿": "THB", "บาท": "THB", "₱": "PHP", "₺": "TRY", "tl": "TRY", "zł": "PLN", "zl": "PLN", "kč": "CZK",
        "kc": "CZK", "ft": "HUF", "lei": "RON", "₽": "RUB", "₴": "UAH", "₪": "ILS", "₦": "NGN", "₡": "CRC", "₲": "PYG",
        "₵": "GHS",
        "₸": "KZT", "₮": "MNT", "₼": "AZN", "₾": "GEL", "₭": "LAK", "៛": "KHR", "৳": "BDT", "sfr": "CHF",
        "sfr.": "CHF", "dhs": "AED", "dh": "MAD", "s/": "PEN", "s/.": "PEN", "ksh": "KES", "kr": "", "kr.": "", "r": "ZAR",
    }
)  # fmt: skip
# In other cases these are words.
_CASES = {"ft": {"Ft"}, "kc": {"Kc"}, "zl": {"zl", "ZL"}, "lei": {"lei", "LEI"}, "tl": {"TL"}, "r": {"R"}}
_ONLY_BEFORE = {"y", "羊", "r", "s/", "s/.", "rs", "rs.", "rp", "rp."}
_ONLY_AFTER = {"ft", "kc", "zl", "lei", "tl", "元", "圆", "圓", "块", "塊", "円", "원", "บาท"}
_YEN, _YUAN = {"¥", "y", "羊"}, {"元", "圆", "圓", "块", "塊"}
# Recognised in lower case and next to digits.
_EVERYDAY = frozenset({"rm", "rmb", "cny", "myr", "usd", "sgd", "hkd", "eur", "gbp", "jpy", "chf"})
_GLUED = frozenset({"rs", "rs.", "rp", "rp.", "r", "y"})
WORDS = "人民币|人民幣|美元|港币|港幣|港元|欧元|英镑|日元|บาท"


def is_currency(sign: str, style: PageStyle = PLAIN, *, before: bool = False, decimals: bool = True, apart: bool = True) -> bool:
    """Return whether the text next to an amount is a currency.

    `decimals`: the amount has decimals. `apart`: a space is between them; a code next to digits (BND1167) is part of a number.
    """
    if sign in _WORD_CODES:
        return decimals and not before
    key = sign.lower()
    if key in _EVERYDAY:
        return True
    if sign.isascii() and sign.isalpha() and not (decimals or apart or key in _GLUED):
        return False
    if sign in _CODES:
        return True
    if key not in _SIGNS or sign not in _CASES.get(key, {sign}) or key in (_ONLY_AFTER if before else _ONLY_BEFORE):
        return False
    return style.rand if key == "r" else key != "y" or decimals


def currency(sign: str, style: PageStyle = PLAIN) -> str | None:
    """Return the ISO 4217 code of a printed sign or code; None if several currencies share it."""
    key = sign.lower()
    if key in _YEN:
        return "JPY" if style.kana else "CNY"
    if key in _YUAN:
        return "TWD" if style.taiwan else "CNY"
    if key == "$":
        return style.dollar or ("TWD" if style.taiwan else "USD")
    upper = sign.upper()
    return upper if upper in _CODES or upper in _WORD_CODES else _SIGNS.get(key) or None
