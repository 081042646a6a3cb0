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

from keng_loudspeaker.sounding.lexicon import ABBREVIATIONS, BEFORE_ROMAN, SHORTENED, SIGNS, UNITS

_DIGITS = ("không", "một", "hai", "ba", "bốn", "năm", "sáu", "bảy", "tám", "chín")
_POWERS = ("", "nghìn", "triệu", "tỷ")

_ROMAN = r"(?=[IVX])X{0,3}(?:IX|IV|V?I{0,3})"
_ROMAN_DIGITS = {"I": 1, "V": 5, "X": 10}

_NUMBER = r"\d{1,3}(?:\.\d{3})+(?:,\d+)?|\d+(?:[.,]\d+)?"
_UNIT = "|".join(sorted(map(re.escape, UNITS), key=len, reverse=True))


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
    listed = re.search(r"(?<![/\d])\d{1,2}(?:,| và| hoặc) $", m.string[: m.start()])  # ngày 5, 6 và 7/11
    before = m["before"] or ("" if listed else "ngày ")
    if year and len(year) == 2:
        year = f"20{year}"
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
        words.append(UNITS[m["unit"]])
    before = "" if m.start() == 0 or not m.string[m.start() - 1].isalpha() else " "
    after = " " if m.end() < len(m.string) and m.string[m.end()].isalpha() else ""
    return before + " ".join(words) + after


def _roman(m: re.Match[str]) -> str:
    """The numbers after a word such as "quý", written as Romans did."""

    def spoken(roman: re.Match[str]) -> str:
        values = [_ROMAN_DIGITS[c] for c in roman[0]]
        after = [*values[1:], 0]
        return integer(sum(-v if v < n else v for v, n in zip(values, after, strict=True)))

    return m["before"] + re.sub(r"[IVX]+", spoken, m["all"])


def _one_after_the_other(m: re.Match[str]) -> str:
    """A telephone number: digit by digit, with a breath between its groups."""
    groups = re.findall(r"\d+", m["digits"])
    return (m["before"] or "") + ", ".join(_one_by_one(group) for group in groups)


def _per(m: re.Match[str]) -> str:
    """What is counted for each of something: tấn/ha, người/km2, mm/24h."""
    what, per = m["what"], m["per"]
    if f"{what}/{per}" in UNITS:
        return m[0]
    hours = re.fullmatch(r"(\d+)\s?(?:h|giờ)", per)
    if hours:
        return f"{m['n']} {what} trong {hours[1]} giờ"
    if per in ("năm", "tháng", "tuần", "ngày", "người", "hộ"):
        return f"{m['n']} {what} mỗi {per}"
    return f"{m['n']} {what} trên {UNITS.get(per, per)}"


def _place(m: re.Match[str]) -> str:
    """A latitude or longitude."""
    minutes = f" {integer(int(m['minutes']))} phút" if m["minutes"] else ""
    side = {"N": "vĩ Bắc", "B": "vĩ Bắc", "E": "kinh Đông", "Đ": "kinh Đông"}[m["side"]]
    return f"{number(m['degrees'])} độ{minutes} {side}"


_D, _M, _Y = r"(?P<day>\d{1,2})", r"(?P<month>\d{1,2})", r"(?P<year>\d{4})"
_DATE_BEFORE = r"(?P<before>[Nn]gày )?"
_ALONE, _NO_MORE = r"(?<![\w/.,-])", r"(?![\w/-])"
_CLOCK = r"\d{1,2}(?:[hg]\d{0,2}|:\d{2})"
_CALL = r"(?P<before>(?:[Gg]ọi|SĐT|ĐT|[Ss]ố (?:máy|điện thoại)|[Đđ]ường dây nóng|[Hh]otline)(?: số)?:?\s)"
_COUNTED = "hộ|dân|số|diện tích|tổng|chiều|quân|nhà|xã|thôn"

#: Applied in this order; what one has put into words, no later one sees as a number.
_STEPS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (
    (
        re.compile(r"\b(?P<what>BĐ|[Bb]áo động)\s?(?P<n>I{1,3})\b"),
        lambda m: ("báo động " if m["what"] == "BĐ" else f"{m['what']} ") + integer(len(m["n"])),
    ),
    (re.compile(r"\bBĐ\s?(?=\d)"), lambda m: "báo động "),
    (
        re.compile(
            rf"(?P<before>\b(?i:{'|'.join(BEFORE_ROMAN)}) )"
            rf"(?P<all>{_ROMAN}(?:(?:, | và |-){_ROMAN})*)(?!\w)"
        ),
        _roman,
    ),
    (
        re.compile(rf"{_CALL}(?P<digits>\d(?:[\d.]*\d)?(?: \d(?:[\d.]*\d)?)*(?:(?:, | hoặc | và )\d{{3,}})*)(?!\w)"),
        _one_after_the_other,
    ),
    (re.compile(r"(?P<before>)(?<![\w.,])(?P<digits>0\d{2,3}[. ]\d{3,4}[. ]?\d{3,4})(?!\w)"), _one_after_the_other),
    (re.compile(r"(?P<before>)(?<![\w.,])(?P<digits>1[89]00[. ]\d{4,6})(?!\w)"), _one_after_the_other),
    (re.compile(r"\bQL\s?(?=\d)"), lambda m: "quốc lộ "),
    (re.compile(r"\bĐT\s?(?=\d)"), lambda m: "đường tỉnh "),
    (re.compile(r"\bĐT(?=:| (?:không|một) )"), lambda m: "điện thoại"),
    (re.compile(r"(?<![/\w])(?<!\d )(?![Kk]m[23]\b)[Kk]m\s?(?=\d)"), lambda m: "ki lô mét "),
    (re.compile(r"\bTT-Huế\b"), lambda m: "Thừa Thiên Huế"),
    (re.compile(r"\bv\.\s?v\.?(?!\w)"), lambda m: "vân vân"),
    (re.compile(r"\bv/v\b"), lambda m: "về việc"),
    (
        re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, SHORTENED))})\s?(?=[\dA-ZĐÂÊÔƠƯĂÁÀẢÃẠÓÒỎÕỌÚÙỦŨỤÍÌỈĨỊÝ])"),
        lambda m: SHORTENED[m[0].strip()] + " ",
    ),
    (re.compile(r"\bTP (?=\w)"), lambda m: "thành phố "),
    (re.compile(rf"\b(?:{'|'.join(ABBREVIATIONS)})\b"), lambda m: ABBREVIATIONS[m[0]]),
    (re.compile(r"(?<=\d)\s?÷\s?(?=\d)"), lambda m: "-"),
    (re.compile(rf"(?<=\d)(?P<unit>\s?(?:{_UNIT}))\s?[-–]\s?(?=\d)"), lambda m: f"{m['unit']} đến "),
    (
        re.compile(
            rf"(?P<n>\d)\s?(?P<what>{_UNIT}|tấn|tạ|người|hộ|con|ca)/(?P<per>\d+\s?(?:h|giờ)|[^\W\d_]+[23²³]?)(?![\w/])"
        ),
        _per,
    ),
    (re.compile(rf"(?<![\w:,.])(?P<a>{_CLOCK})\s?[-–]\s?(?={_CLOCK})"), lambda m: f"{m['a']} đến "),
    (re.compile(r"(?<=\d[hg]\d\d)'"), lambda m: ""),
    (re.compile(r"\b24/24(?: ?(?:h|giờ))?\b"), lambda m: "hai mươi tư trên hai mươi tư giờ"),
    (
        re.compile(rf"{_ALONE}(?P<a>\d{{1,2}})/(?P<b>\d{{1,2}})(?= (?:{_COUNTED})\b)"),
        lambda m: f"{integer(int(m['a']))} phần {_month(int(m['b']))}",
    ),
    (
        re.compile(rf"(?<![\w/.,])(?P<a>\d{{1,2}})\s?[-–]\s?(?=\d{{1,2}}/\d{{1,2}}{_NO_MORE})"),
        lambda m: f"{m['a']} đến ",
    ),
    (re.compile(rf"{_ALONE}{_DATE_BEFORE}{_Y}-(?P<month>\d{{2}})-(?P<day>\d{{2}}){_NO_MORE}"), _date),
    (re.compile(rf"{_ALONE}{_DATE_BEFORE}{_D}(?P<sep>[/.-]){_M}(?P=sep){_Y}{_NO_MORE}"), _date),
    (re.compile(rf"{_ALONE}{_DATE_BEFORE}{_D}/{_M}/(?P<year>\d{{2}}){_NO_MORE}"), _date),
    (re.compile(rf"{_ALONE}(?P<before>[Tt]háng )?{_M}/{_Y}{_NO_MORE}"), _month_and_year),
    (re.compile(rf"{_ALONE}{_DATE_BEFORE}{_D}/{_M}(?P<year>){_NO_MORE}"), _date),
    (re.compile(r"(?<=[Qq]uý )(?P<q>\w+)/(?P<year>\d{4})"), lambda m: f"{m['q']} năm {integer(int(m['year']))}"),
    (re.compile(r"(?P<before>\b[Tt](?:hứ|háng) )4(?![\w,.]\d|\w)"), lambda m: f"{m['before']}tư"),
    (re.compile(r"(?P<before>\b[Ll]ần thứ )1(?![\w,.]\d|\w)"), lambda m: f"{m['before']}nhất"),
    (re.compile(r"(?<![\w:,.])(?P<h>\d{1,2}):(?P<m>\d{2})(?::(?P<s>\d{2}))?(?![\w:])"), _time),
    (re.compile(r"(?<![\w:,.])(?P<h>\d{1,2})\s?[hg](?P<m>\d{2})?(?P<s>)(?![\w/])"), _time),
    (
        re.compile(rf"(?<![\d,.])(?P<degrees>{_NUMBER})°\s?(?:(?P<minutes>\d{{1,2}})['′]\s?)?(?P<side>[NBEĐ])(?!\w)"),
        _place,
    ),
    (
        re.compile(r"(?<![\w,.])(?P<a>\d{1,3})m(?P<b>\d{1,2})(?!\w|[,.]\d)"),
        lambda m: m[0] if m["b"] in ("2", "3") else f"{number(m['a'])} mét {_short(m['b'])}",  # 5m3 is a volume
    ),
    (re.compile(r"(?<=\d)\s?[x×]\s?(?=\d)"), lambda m: " nhân "),
    (re.compile(r"\s?(?P<sign>[±≥≤><~≈+])\s?(?=\d)"), lambda m: f" {SIGNS[m['sign']]} "),
    (
        re.compile(
            rf"(?P<sign>(?<![\w,.)-])[-−](?=\d))?(?<![\d,.])(?P<a>{_NUMBER})(?:\s?[-–]\s?(?P<b>{_NUMBER}))?"
            rf"(?:\s?(?P<unit>{_UNIT})(?![\w/²³]))?"
        ),
        _measure,
    ),
    (re.compile(r"\s?&\s?"), lambda m: " và "),
    (re.compile(r"\s?[()\[\]{}\"“”«»]+\s?"), lambda m: ", "),  # espeak-ng takes [[…]] for phonemes
    (re.compile(r"[/\\_*#<>|=~^`@+±≥≤≈]+"), lambda m: " "),
    (re.compile(r"(?:\s*,)+(?=\s*[.,;:!?])"), lambda m: ""),
    (re.compile(r"(?<=[.;:!?])\s*,"), lambda m: ""),
    (re.compile(r"\s+(?=[.,;:!?])"), lambda m: ""),
    (re.compile(r"\s+"), lambda m: " "),
)


def _short(digits: str) -> str:
    """What follows a measure's unit: 1m50 is một mét năm mươi, 1m7 một mét bảy, 1m05 một mét không năm."""
    return _one_by_one(digits) if digits[0] == "0" else integer(int(digits))


def speakable(text: str) -> str:
    """``text`` ready for a Vietnamese voice: one line, no digits, no control characters, NFC."""
    text = unicodedata.normalize("NFC", text)
    text = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in text)
    for pattern, replace in _STEPS:
        text = pattern.sub(replace, text)
    # Digits of other scripts and superscripts that were no part of a unit.
    text = "".join(f" {_DIGITS[unicodedata.digit(c)]} " if unicodedata.digit(c, -1) >= 0 else c for c in text)
    return unicodedata.normalize("NFC", " ".join(text.split()).strip(" ,"))
