"""The names of the months in the languages of the trade, without diacritics, because photographs and readers lose them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

# English, German, French, Spanish, Italian, Portuguese, Dutch, Polish, Turkish, Indonesian, Malay; in lower case.
# Some also as readers confuse their letters with digits: Ju1, 0ct.
_LATIN = (
    "jan january januar janner janv janvier ene enero gennaio janeiro januari styczen stycznia sty ocak oca",
    "feb february februar fevr fev fevrier febrero febbraio fevereiro februari pebruari luty lutego subat",
    "mar march marz maerz mrz mars marzo marco maart mrt marzec marca maret mac",
    "apr april avr avril abr abril aprile kwi kwiecien kwietnia nisan apri1",
    "may mai mayo maggio maio mei maj maja mayis",
    "jun june juni juin junio giugno giu junho cze czerwiec czerwca haziran haz",
    "jul july juli juil juillet julio luglio lug julho lipiec lipca temmuz julai ju1 ju1y",
    "aug august aout agosto augustus sierpien sierpnia agustos agu agustus agt ogos",
    "sep sept september septembre septiembre setiembre settembre setembro wrz wrzesien wrzesnia eylul eyl",
    "oct october okt oktober octobre octubre ottobre ott outubro paz pazdziernik pazdziernika ekim 0ct 0ctober",
    "nov november novembre noviembre novembro listopad listopada kasim nopember nop n0v n0vember",
    "dec december dez dezember decembre dic diciembre dicembre dezembro grudzien grudnia gru aralik disember desember 0ec",
)
# Short names that are also other words (2 SET 19, CHECK OUT 20): a year of four digits must follow.
_LATIN_WEAK = ("gen", "sub lut", "mart", "kwi nis", "mag", "", "lip tem", "ago sie", "set", "out eki", "lis kas", "dis des ara")
_THAI = (
    "มกราคม ม.ค.", "กุมภาพันธ์ ก.พ.", "มีนาคม มี.ค.", "เมษายน เม.ย.", "พฤษภาคม พ.ค.", "มิถุนายน มิ.ย.", "กรกฎาคม ก.ค.",
    "สิงหาคม ส.ค.", "กันยายน ก.ย.", "ตุลาคม ต.ค.", "พฤศจิกายน พ.ย.", "ธันวาคม ธ.ค.",
)  # fmt: skip


def _numbers(*tables: tuple[str, ...]) -> dict[str, int]:
    return {name: number for table in tables for number, names in enumerate(table, start=1) for name in names.split()}


# Name in lower case without diacritics → number of the month.
MONTHS: Mapping[str, int] = MappingProxyType(_numbers(_LATIN_WEAK, _LATIN, _THAI))
STRONG = "|".join(sorted(_numbers(_LATIN), key=len, reverse=True))
ALL = "|".join(name.replace(".", r"\.") for name in sorted(MONTHS, key=len, reverse=True))
THAI = "|".join(name.replace(".", r"\.") for name in sorted(_numbers(_THAI), key=len, reverse=True))
