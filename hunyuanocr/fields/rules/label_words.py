"""The printed labels of the known fields in the languages of a page.

A word may be the label of one field in one language and of another in a second (Suma: total in Polish, subtotal in Spanish).
Therefore a page is read with the words of English, Chinese and the languages that it is recognised to be in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from hunyuanocr.chinese import to_simplified
from hunyuanocr.fields.catalogue import KNOWN, LANGUAGES, labels_of
from hunyuanocr.fields.folding import fold, fold_key, spellings

Weights = Mapping[str, float]  # field name → strength of the word as a label of it, 0 … 1

_LATIN = tuple(language for language in LANGUAGES if language not in ("zh-Hant", "ja", "ko", "th"))
_SCRIPTS = (
    ("ja", re.compile(r"[\u3041-\u3096\u30a1-\u30fa\uff66-\uff9d]")),
    ("ko", re.compile(r"[\uac00-\ud7a3]")),
    ("th", re.compile(r"[\u0e01-\u0e5b]")),
)
_MIN_LETTERS = 3  # of a script, before its language is assumed
# Words of pages that are no labels, or labels too short to be found among the letters of other words.
_TYPICAL = {
    "de": "mwst ust bar danke ihren einkauf vielen dank strasse gmbh euro uhr rechnung steuer januar februar maerz marz mai juni"
    " juli oktober dezember und der das fur",
    "fr": "tva ttc merci rue avenue vous votre siret ht cb sarl janvier fevrier mars avril juin juillet aout septembre octobre"
    " novembre decembre le la des du et",
    "es": "iva gracias calle por su visita nif cif avda enero febrero marzo abril mayo junio julio agosto septiembre octubre"
    " noviembre diciembre el los y",
    "it": "iva grazie via piazza arrivederci piva srl gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre"
    " novembre dicembre il della e",
    "pt": "iva obrigado obrigada rua pela sua visita volte sempre nif contribuinte cnpj janeiro fevereiro marco abril maio junho"
    " julho agosto setembro outubro novembro dezembro os da e",
    "nl": "btw bedankt voor uw bezoek kvk graag tot ziens straat januari februari maart april mei juni juli augustus oktober"
    " het een",
    "pl": "nip ptu zl pln dziekujemy zapraszamy ul paragon fiskalny niefiskalny styczen luty marzec kwiecien maj czerwiec lipiec"
    " sierpien wrzesien pazdziernik listopad grudzien sp zoo",
    "tr": "kdv tl tesekkur ederiz fis cad sok sti ltd tic vd ocak subat mart nisan mayis haziran temmuz agustos eylul ekim kasim"
    " aralik ve",
    "vi": "vnd mst camon quykhach hengaplai duong phuong quan thanhpho congty tnhh",
    "id": "rp ppn npwp terimakasih selamat jalan kunjungan belanja januari februari maret juni juli agustus oktober desember dan"
    " atas",
}
# Words of English pages that are labels in other languages.
_ENGLISH = frozenset(
    [
        "data", "note", "notes", "base", "port", "carte", "charge", "service", "services", "material", "position", "unit", "form",
        "mobile", "portable", "code", "station", "page", "articles", "article", "points", "point", "site", "contact", "client",
        "patient", "operator", "operators", "server", "order", "transport", "number", "terminal", "table", "ticket", "tickets",
        "transaction", "transactions", "total", "taxes", "reference", "restaurant", "hospital", "dose", "name", "bank", "product",
        "products", "debit", "hotel", "menu", "sale", "version", "invoice", "produce", "item", "department", "instruction",
        "instructions", "card", "cards", "email", "website", "internet", "diagnosis", "specimen", "outlet", "unite", "date",
    ]
)  # fmt: skip
_MIN_SCORE, _MIN_SHARE = 0.8, 0.6
_ENGLISH_SHARE = 0.25  # other languages on a page with many English labels need that much evidence for each of them


def label_key(text: str) -> str:
    """Return the key of a label: folded letters and digits, traditional characters as simplified ones."""
    return fold_key(to_simplified(text))


def page_languages(texts: Iterable[str]) -> tuple[str, ...]:
    """Return the languages of a page other than English and simplified Chinese, the likeliest first."""
    texts = list(texts)
    joined = "".join(text for text in texts if not text.isascii())
    found = [language for language, letters in _SCRIPTS if len(letters.findall(joined)) >= _MIN_LETTERS]
    if "ja" not in found and sum(a != b for a, b in zip(joined, to_simplified(joined), strict=True)) >= _MIN_LETTERS:
        found.append("zh-Hant")
    return (*found, *_latin_languages(texts))


def _latin_languages(texts: Iterable[str]) -> list[str]:
    evidence, english = _evidence()
    seen = {key for text in texts for key in _word_sequences(fold(text))}
    scores = dict.fromkeys(_LATIN, 0.0)
    for key in seen & evidence.keys():
        for language, weight in evidence[key].items():
            scores[language] += weight
    least = max(_MIN_SCORE, _MIN_SHARE * max(scores.values()), _ENGLISH_SHARE * len(seen & english))
    return sorted((language for language in _LATIN if scores[language] >= least), key=lambda language: -scores[language])[:3]


def _word_sequences(text: str) -> Iterable[str]:
    """Yield each word of a text, and each sequence of two to four words, without the spaces."""
    words = re.findall(r"[a-z]+", text)
    for start in range(len(words)):
        for end in range(start + 1, min(start + 4, len(words)) + 1):
            yield "".join(words[start:end])


@lru_cache(maxsize=1)
def _evidence() -> tuple[dict[str, dict[str, float]], frozenset[str]]:
    """Return how strongly each word indicates each language, and the labels that indicate English."""
    english = {key for printed in labels_of("en").values() for word in printed for key in spellings(word)}
    languages: dict[str, set[str]] = {}
    for language in _LATIN:
        labels = {key for printed in labels_of(language).values() for word in printed for key in spellings(word)}
        labels = {key for key in labels if len(key) >= 4 and key not in english | _ENGLISH} | set(_TYPICAL[language].split())
        for key in labels:
            languages.setdefault(key, set()).add(language)
    evidence = {
        key: dict.fromkeys(found, min(len(key) / 6, 1.0) / len(found) ** 0.5 if len(key) > 2 else 0.2)
        for key, found in languages.items()
    }
    return evidence, frozenset(key for key in english - evidence.keys() if len(key) >= 4 and key != "total")


@lru_cache(maxsize=64)
def label_table(languages: tuple[str, ...]) -> Mapping[str, Weights]:
    """Return the fields of each label in English, Chinese and these languages; the languages' meaning has priority."""
    table = weighted((name, field.printed_labels) for name, field in KNOWN.items())
    own: dict[str, dict[str, float]] = {}
    for language in languages:
        for key, fields in weighted(labels_of(language).items()).items():
            merged = own.setdefault(key, {})
            for name, weight in fields.items():
                merged[name] = max(weight, merged.get(name, 0.0))
    for key, fields in own.items():
        table[key] = {**table[key], **fields} if table.get(key, {}).keys() & fields.keys() else fields
    return table


def weighted(words: Iterable[tuple[str, Sequence[str]]]) -> dict[str, dict[str, float]]:
    """Return the fields of each word with their weights, which decrease from 1 with the position in the list."""
    table: dict[str, dict[str, float]] = {}
    for name, printed in words:
        for rank, word in enumerate(printed):
            for key in spellings(to_simplified(word)):
                if key:
                    table.setdefault(key, {}).setdefault(name, 1 - 0.3 * rank / len(printed))
    return table


@lru_cache(maxsize=64)
def label_starts(languages: tuple[str, ...]) -> Mapping[str, Sequence[int]]:
    """Return the lengths of the labels by their first two letters."""
    return starts(label_table(languages))


def starts(words: Iterable[str]) -> dict[str, list[int]]:
    """Return the lengths of the words by their first two letters, the longest first."""
    lengths: dict[str, set[int]] = {}
    for word in words:
        lengths.setdefault(word[:2], set()).add(len(word))
    return {start: sorted(values, reverse=True) for start, values in lengths.items()}
