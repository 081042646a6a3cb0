"""Vietnamese text as it is spoken: numbers, dates, times, units and abbreviations spelled out. Pure.

Speech engines read "3,06 m" as "three comma zero six em" or worse, and a warning must be understood at once; so what an
engine gets holds no digit, no unit sign and no abbreviation. Words are left exactly as they were, NFC, diacritics kept.

>>> speakable("Mực nước 3,06 m, trên BĐ2, lúc 21:30 ngày 17/11/2025.")
'Mực nước ba phẩy không sáu mét, trên báo động hai, lúc hai mươi mốt giờ ba mươi phút ngày mười bảy \
tháng mười một năm hai nghìn không trăm hai mươi lăm.'
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

_DIGITS = ("không", "một", "hai", "ba", "bốn", "năm", "sáu", "bảy", "tám", "chín")
_POWERS = ("", "nghìn", "triệu", "tỷ")

_UNITS = {
    "mm": "mi li mét",
    "cm": "xăng ti mét",
    "dm": "đề xi mét",
    "m": "mét",
    "km": "ki lô mét",
    "ha": "héc ta",
    "m2": "mét vuông",
    "m²": "mét vuông",
    "km2": "ki lô mét vuông",
    "km²": "ki lô mét vuông",
    "m3": "mét khối",
    "m³": "mét khối",
    "m/s": "mét trên giây",
    "km/h": "ki lô mét trên giờ",
    "mm/h": "mi li mét trên giờ",
    "m3/s": "mét khối trên giây",
    "m³/s": "mét khối trên giây",
    "ug/m3": "mi crô gam trên mét khối",
    "µg/m³": "mi crô gam trên mét khối",
    "μg/m³": "mi crô gam trên mét khối",
    "kg": "ki lô gam",
    "g": "gam",
    "%": "phần trăm",
    "°C": "độ xê",
    "°": "độ",
}

_ABBREVIATIONS = {
    "UBND": "Ủy ban nhân dân",
    "HĐND": "Hội đồng nhân dân",
    "BCH": "Ban chỉ huy",
    "PTDS": "phòng thủ dân sự",
    "PCTT": "phòng chống thiên tai",
    "TKCN": "tìm kiếm cứu nạn",
    "KTTV": "khí tượng thủy văn",
    "ATNĐ": "áp thấp nhiệt đới",
    "BĐ": "báo động",
    "TP": "thành phố",
    "QL": "quốc lộ",
}
_ROMAN = {"I": "một", "II": "hai", "III": "ba"}

_NUMBER = r"\d{1,3}(?:\.\d{3})+(?:,\d+)?|\d+(?:[.,]\d+)?"
_UNIT = "|".join(sorted(map(re.escape, _UNITS), key=len, reverse=True))


def integer(n: int) -> str:
    """A whole number in words.

    >>> integer(2025), integer(21), integer(105), integer(34)
    ('hai nghìn không trăm hai mươi lăm', 'hai mươi mốt', 'một trăm linh năm', 'ba mươi tư')
    """
    if n < 0:
        return f"âm {integer(-n)}"
    if n >= 10**12:
        return _one_by_one(str(n))
    groups = []
    while True:
        n, group = divmod(n, 1000)
        groups.append(group)
        if not n:
            break
    words = []
    for power in range(len(groups) - 1, -1, -1):
        if groups[power] or len(groups) == 1:
            words.append(_below_thousand(groups[power], full=power < len(groups) - 1))
            words.append(_POWERS[power])
    return " ".join(word for word in words if word)


def _below_thousand(n: int, *, full: bool) -> str:
    """``full``: something stands before it, so the hundreds are named even if there are none (không trăm)."""
    hundreds, rest = divmod(n, 100)
    tens, ones = divmod(rest, 10)
    words = [f"{_DIGITS[hundreds]} trăm"] if hundreds or full else []
    if tens == 0:
        if ones:
            words.append(f"linh {_DIGITS[ones]}" if words else _DIGITS[ones])
        elif not words:
            words.append(_DIGITS[0])
    elif tens == 1:
        words.append("mười" + {0: "", 5: " lăm"}.get(ones, f" {_DIGITS[ones]}"))
    else:
        last = {0: "", 1: " mốt", 4: " tư", 5: " lăm"}.get(ones, f" {_DIGITS[ones]}")
        words.append(f"{_DIGITS[tens]} mươi{last}")
    return " ".join(words)


def number(text: str) -> str:
    """A number as written in Vietnamese, in words: comma before decimals, dots between thousands.

    >>> number("3,06"), number("4,57"), number("1.250"), number("4,00")
    ('ba phẩy không sáu', 'bốn phẩy năm mươi bảy', 'một nghìn hai trăm năm mươi', 'bốn')
    """
    if re.fullmatch(r"\d{1,3}(?:\.\d{3})+(?:,\d+)?", text):
        text = text.replace(".", "")
    whole, _, fraction = text.replace(".", ",").partition(",")
    if not fraction:
        return _one_by_one(whole) if len(whole) > 1 and whole[0] == "0" else integer(int(whole))
    fraction = "" if not fraction.strip("0") else fraction
    if not fraction:
        return integer(int(whole))
    small = integer(int(fraction)) if fraction[0] != "0" and len(fraction) <= 2 else _one_by_one(fraction)
    return f"{integer(int(whole))} phẩy {small}"


def _one_by_one(digits: str) -> str:
    return " ".join(_DIGITS[int(d)] for d in digits)


def _date(m: re.Match[str]) -> str:
    day, month, year = int(m["day"]), int(m["month"]), m["year"]
    if not (1 <= day <= 31 and 1 <= month <= 12):
        return m[0]
    before = m["before"] or "ngày "
    tail = f" năm {integer(int(year))}" if year else ""
    return f"{before}{integer(day)} tháng {_month(month)}{tail}"


def _month_and_year(m: re.Match[str]) -> str:
    month = int(m["month"])
    if not 1 <= month <= 12:
        return m[0]
    return f"{m['before'] or 'tháng '}{_month(month)} năm {integer(int(m['year']))}"


def _month(month: int) -> str:
    return "tư" if month == 4 else integer(month)  # the fourth month is "tháng tư"


def _time(m: re.Match[str]) -> str:
    hour, minute, second = int(m["h"]), int(m["m"] or 0), int(m["s"] or 0)
    if hour > 24 or minute > 59 or second > 59:
        return m[0]
    words = [f"{integer(hour)} giờ"]
    if minute or second:
        words.append(f"{integer(minute)} phút")
    if second:
        words.append(f"{integer(second)} giây")
    return " ".join(words)


def _measure(m: re.Match[str]) -> str:
    words = [number(m["a"])]
    if m["sign"]:
        words.insert(0, "âm")
    if m["b"]:
        words += ["đến", number(m["b"])]
    if m["unit"]:
        words.append(_UNITS[m["unit"]])
    before = "" if m.start() == 0 or not m.string[m.start() - 1].isalpha() else " "
    after = " " if m.end() < len(m.string) and m.string[m.end()].isalpha() else ""
    return before + " ".join(words) + after


_D, _M, _Y = r"(?P<day>\d{1,2})", r"(?P<month>\d{1,2})", r"(?P<year>\d{4})"
_DATE_BEFORE = r"(?P<before>[Nn]gày )?"
_ALONE, _NO_MORE = r"(?<![\w/.,-])", r"(?![\w/-])"

#: Applied in this order; what one has put into words, no later one sees as a number.
_STEPS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (
    (
        re.compile(r"\b(?P<what>BĐ|[Bb]áo động)\s?(?P<n>I{1,3})\b"),
        lambda m: ("báo động " if m["what"] == "BĐ" else f"{m['what']} ") + _ROMAN[m["n"]],
    ),
    (re.compile(r"\bBĐ\s?(?=\d)"), lambda m: "báo động "),
    (re.compile(rf"\b(?:TP\.\s?|TP (?=\w)|(?:{'|'.join(_ABBREVIATIONS)})\b)"), lambda m: _abbreviation(m[0])),
    (re.compile(rf"{_ALONE}{_DATE_BEFORE}{_Y}-(?P<month>\d{{2}})-(?P<day>\d{{2}}){_NO_MORE}"), _date),
    (re.compile(rf"{_ALONE}{_DATE_BEFORE}{_D}(?P<sep>[/-]){_M}(?P=sep){_Y}{_NO_MORE}"), _date),
    (re.compile(rf"{_ALONE}(?P<before>[Tt]háng )?{_M}/{_Y}{_NO_MORE}"), _month_and_year),
    (re.compile(rf"{_ALONE}{_DATE_BEFORE}{_D}/{_M}(?P<year>){_NO_MORE}"), _date),
    (re.compile(r"(?<![\w:,.])(?P<h>\d{1,2}):(?P<m>\d{2})(?::(?P<s>\d{2}))?(?![\w:])"), _time),
    (re.compile(r"(?<![\w:,.])(?P<h>\d{1,2})\s?[hg](?P<m>\d{2})?(?P<s>)(?![\w/])"), _time),
    (
        re.compile(
            rf"(?P<sign>(?<![\w,.)-])[-−](?=\d))?(?<![\d,.])(?P<a>{_NUMBER})(?:\s?[-–]\s?(?P<b>{_NUMBER}))?"
            rf"(?:\s?(?P<unit>{_UNIT})(?![\w/²³]))?"
        ),
        _measure,
    ),
    (re.compile(r"\s?&\s?"), lambda m: " và "),
    (re.compile(r"\s?[()\[\]{}\"“”«»]+\s?"), lambda m: ", "),  # espeak-ng takes [[…]] for phonemes
    (re.compile(r"[/\\_*#<>|=~^`@+]+"), lambda m: " "),
    (re.compile(r"(?:\s*,)+(?=\s*[.,;:!?])"), lambda m: ""),
    (re.compile(r"(?<=[.;:!?])\s*,"), lambda m: ""),
    (re.compile(r"\s+(?=[.,;:!?])"), lambda m: ""),
    (re.compile(r"\s+"), lambda m: " "),
)


def _abbreviation(text: str) -> str:
    return "thành phố " if text.startswith("TP.") or text == "TP " else _ABBREVIATIONS[text]


def speakable(text: str) -> str:
    """``text`` ready for a Vietnamese voice: one line, no digits, no control characters, NFC."""
    text = unicodedata.normalize("NFC", text)
    text = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in text)
    for pattern, replace in _STEPS:
        text = pattern.sub(replace, text)
    # Digits of other scripts and superscripts that were no part of a unit.
    text = "".join(f" {_DIGITS[unicodedata.digit(c)]} " if unicodedata.digit(c, -1) >= 0 else c for c in text)
    return unicodedata.normalize("NFC", " ".join(text.split()).strip(" ,"))
