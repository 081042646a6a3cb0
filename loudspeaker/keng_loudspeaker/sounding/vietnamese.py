"""Vietnamese text as it is spoken: numbers, dates, times, units and abbreviations spelled out. Pure.

Speech engines read "3,06 m" as "three comma zero six em" or worse, and a warning must be understood at once; so what an
engine gets holds no digit, no sign and no abbreviation. Words are left exactly as they were, NFC, diacritics kept.

>>> speakable("Mực nước 3,06 m, trên BĐ2, lúc 21:30 ngày 17/11/2025.")
'Mực nước ba phẩy không sáu mét, trên báo động hai, lúc hai mươi mốt giờ ba mươi phút ngày mười bảy \
tháng mười một năm hai nghìn không trăm hai mươi lăm.'
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import cache

from keng_loudspeaker.sounding import lexicon
from keng_loudspeaker.sounding.lexicon import ABBREVIATIONS, ISSUERS, LETTERS, SHORTENED, SIGNS, UNITS
from keng_loudspeaker.sounding.numerals import NUMBER, ROMAN, integer, month, number, one_by_one, roman, short

_UNIT = "|".join(sorted(map(re.escape, UNITS), key=len, reverse=True))

Words = Callable[[re.Match[str]], str]


def _date(m: re.Match[str]) -> str:
    day, month_, year = int(m["day"]), int(m["month"]), m["year"]
    if not (1 <= day <= 31 and 1 <= month_ <= 12):
        return m[0]
    listed = re.search(r"(?<![/\d])\d{1,2}(?:,| và| hoặc) $", m.string[: m.start()])  # ngày 5, 6 và 7/11
    before = m["before"] or ("" if listed else "ngày ")
    if year and len(year) == 2:
        year = f"20{year}"
    return f"{before}{integer(day)} tháng {month(month_)}{_of_year(year)}"


def _of_year(year: str | None) -> str:
    return f" năm {integer(int(year))}" if year else ""


def _month_and_year(m: re.Match[str]) -> str:
    if not 1 <= int(m["month"]) <= 12:
        return m[0]
    return f"{m['before'] or 'tháng '}{month(m['month'])}{_of_year(m['year'])}"


def _time(m: re.Match[str]) -> str:
    hour, minute, second = int(m["h"]), int(m["m"] or 0), int(m["s"] or 0)
    if hour > 24 or minute > 59 or second > 59:
        return m[0]
    parts = [f"{integer(hour)} giờ", f"{integer(minute)} phút" if minute or second else ""]
    return " ".join(part for part in [*parts, f"{integer(second)} giây" if second else ""] if part)


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


def _romans(m: re.Match[str]) -> str:
    """The numbers after a word such as "quý", written as Romans did."""
    return m["before"] + re.sub(r"[IVXL]+", lambda one: roman(one[0]), m["all"].replace("-", " đến "))


def _one_after_the_other(m: re.Match[str]) -> str:
    """A telephone number: digit by digit, with a breath between its groups."""
    digits = re.sub(r"(?<!\d)(\d{3,4})(\d{3})(\d{3})(?!\d)", r"\1 \2 \3", m["digits"])
    return (m["before"] or "") + ", ".join(one_by_one(group) for group in re.findall(r"\d+", digits))


def _per(m: re.Match[str]) -> str:
    """What is counted for each of something: tấn/ha, người/km2, mm/24h."""
    what, per = m["what"], m["per"]
    if f"{what}/{per}" in UNITS:
        return m[0]
    hours = re.fullmatch(r"(\d+)\s?(?:h|giờ)", per)
    if hours:
        return f"{m['n']} {what} trong {hours[1]} giờ"
    if re.fullmatch(lexicon.EACH, per):
        return f"{m['n']} {what} mỗi {per}"
    return f"{m['n']} {what} trên {UNITS.get(per, per)}"


def _place(m: re.Match[str]) -> str:
    """A latitude or longitude."""
    minutes = f" {integer(int(m['minutes']))} phút" if m["minutes"] else ""
    side = {"N": "vĩ Bắc", "B": "vĩ Bắc", "E": "kinh Đông", "Đ": "kinh Đông"}[m["side"]]
    return f"{number(m['degrees'])} độ{minutes} {side}"


def _share(m: re.Match[str]) -> str:
    """A part of something, or so many of so many."""
    if int(m["b"]) > 4 and re.fullmatch(lexicon.COUNTABLE, m["of"]):
        return f"{integer(int(m['a']))} trên {integer(int(m['b']))}"
    return f"{m['before']}{integer(int(m['a']))} phần {month(m['b'])}"


def _document(m: re.Match[str]) -> str:
    """The number of a decree or a letter, as the news have it: number, year and who gave it."""
    who = "Quốc hội khóa " + integer(int(m["assembly"])) if m["assembly"] else ISSUERS[m["issuer"]]
    return f"{number(m['n'])}{_of_year(m['year'])} của {who}"


def _plate(m: re.Match[str]) -> str:
    """A vehicle's number: its place, its series, its digits."""
    series = " ".join(one_by_one(c) if c.isdigit() else c for c in m["series"])
    return f"{one_by_one(m['place'])} {series}, {', '.join(map(one_by_one, m['n'].split('.')))}"


def _address(m: re.Match[str]) -> str:
    said = []
    for part in re.findall(r"[A-Za-z]+|\d+|[.@/_-]", re.sub(r"^https?://|^www\.|/$", "", m[0])):
        word = lexicon.IN_ADDRESSES.get(part.lower()) or lexicon.FOREIGN.get(part.lower())
        said.append(word or (one_by_one(part) if part[0].isdigit() else part))
    return " ".join(said)


def _capitals(m: re.Match[str]) -> str:
    """What can't be said as a word is said by its letters."""
    word = re.fullmatch(lexicon.SYLLABLE, m[0].lower()) or (len(m[0]) > 5 and re.search("[AEIOUY]", m[0]))
    return m[0] if word else " ".join(LETTERS[c] for c in m[0])


def _say(words: str) -> Words:
    return lambda m: words


_D, _M, _Y = r"(?P<day>\d{1,2})", r"(?P<month>\d{1,2})", r"(?P<year>\d{4})"
_DATE_BEFORE = r"(?P<before>(?i:ngày|mùng|mồng|đường|phố|cầu|thôn|công viên|quảng trường) )?"
_PART_OF_DAY = r"(?P<before>\b(?i:(?<!các )ngày|đêm|sáng|trưa|chiều|tối|hôm|rạng sáng|lễ|dịp) )"
_ALONE, _NO_MORE = r"(?<![\w/.,-])", r"(?![\w/-])"
_NO_DAY = "".join(
    f"(?<!{before} )" for before in ("gày", "GÀY", "từ", "Từ", "đến", "sáng", "trưa", "hiều", "tối", "đêm", "hôm", "và")
)
_CLOCK = r"\d{1,2}(?:[hg]\d{0,2}|:\d{2})"
_CALL = (
    r"(?P<before>(?:[Gg]ọi|SĐT|ĐT|[Ff]ax|[Ss]ố (?:máy|điện thoại)|[Đđ]ường dây nóng|[Hh]otline|[Tt]ổng đài|"
    r"[Cc]ấp cứu|[Cc]ứu hỏa|[Cc]ảnh sát|CMND|CCCD|MST|STK|[Mm]ã số thuế|[Ss]ố tài khoản)(?: số)?:?\s)"
)
_CAPITAL = "A-ZĐÂÊÔƠƯĂÁÀẢÃẠÓÒỎÕỌÚÙỦŨỤÍÌỈĨỊÝ"
_PERSON = "".join(f"(?<!{one} )" for one in ("ông", "Ông", "bà", "Bà", "anh", "Anh", "chị", "Chị", "em", "Em"))
_ISSUER = "|".join(sorted(ISSUERS, key=len, reverse=True))
_SHORT = "|".join(sorted(map(re.escape, SHORTENED), key=len, reverse=True))
_ABBREVIATION = "|".join(sorted(map(re.escape, ABBREVIATIONS), key=len, reverse=True))

#: Applied in this order; what one has put into words, no later one sees as a number.
_RULES: tuple[tuple[str, Words], ...] = (
    # Lines of a list, and what was written as an address, a number of a document, a plate, a telephone number.
    (r"(?:^|(?<=[.;:] ))[-•*]\s+", _say("")),
    (r"(?<![\w@])[\w.+-]+@[\w-]+(?:\.[\w-]+)+", _address),
    (r"(?:https?://|\bwww\.)[\w./-]*\w/?", _address),
    (r"(?<![\w.@])(?:[A-Za-z0-9-]+\.)+(?:vn|com|net|org)(?:/[\w./-]*\w)?(?![\w@])", _address),
    (
        rf"(?<![\w/.,-])(?P<n>\d+)(?:/{_Y})?[/-](?:(?:{lexicon.DOCUMENTS})[-/])?"
        rf"(?:(?P<issuer>{_ISSUER})|QH(?P<assembly>\d{{1,2}}))(?![\w/])",
        _document,
    ),
    (r"\bBS:?\s(?=\d\d-?[A-ZĐ])", _say("biển số ")),
    (r"(?<![\w/.,-])(?P<place>\d{2})-?(?P<series>[A-ZĐ]{1,2}\d?)[- ](?P<n>\d{3}\.\d{2})(?!\w)", _plate),
    (r"(?<![\w/.,-])(?P<place>\d{2})-?(?P<series>[A-ZĐ]{1,2}\d?)-(?P<n>\d{4,5})(?!\w)", _plate),
    (rf"{_CALL}(?P<digits>\(?\d(?:[\d.]*\d)?\)?(?:[ -]\d(?:[\d.]*\d)?)*(?:(?:, | hoặc | và )\d{{3,}})*)(?!\w)",
     _one_after_the_other),
    (r"(?P<before>)(?<![\w.,])(?P<digits>\(?0\d{2,3}\)?[. -](?:\d[. -])?\d{3,4}[. -]?\d{3,4})(?!\w)",
     _one_after_the_other),
    (r"(?P<before>)(?<![\w.,])(?P<digits>0\d{9})(?!\w)", _one_after_the_other),
    (r"(?P<before>)(?<![\w.,])(?P<digits>1[89]00[. ]\d{4,6})(?!\w)", _one_after_the_other),
    (r"(?<![\w.,])\+84[ .]?(?P<digits>\d{2,3}[ .]?\d{3}[ .]?\d{3,4})(?!\w)",
     lambda m: "cộng tám tư, " + ", ".join(one_by_one(group) for group in re.findall(r"\d+", m["digits"]))),
    (r"(?P<before>(?<![Tt]ổng )\b[Ss]ố )(?P<digits>11[1-5])(?=[.,;:!?)]|$| (?:hoặc|và|để|khi|nếu))",
     _one_after_the_other),
    (r"(?P<before>(?<![Tt]ổng )\b[Ss]ố )(?P<digits>0\d)(?![\w,./-])", _one_after_the_other),
    # Levels and Roman numbers.
    (r"(?<=[\dI])\s?-\s?(?=cấp \d|BĐ\s?[1-3I])", _say(" đến ")),
    (r"\b(?P<what>BĐ|(?i:báo động))\s?(?P<n>I{1,3})\b",
     lambda m: ("báo động " if m["what"] == "BĐ" else f"{m['what']} ") + roman(m["n"])),
    (r"\bBĐ\s?(?P<n>[1-3])\s?-\s?(?:BĐ)?\s?(?P<to>[1-3])(?![\w,.]\d|\w)",
     lambda m: f"báo động {m['n']} đến báo động {m['to']}"),
    (r"\bBĐ\s?(?=\d)", _say("báo động ")),
    (rf"(?P<before>\b(?i:{'|'.join(lexicon.BEFORE_ROMAN)}) (?:số )?)(?P<all>{ROMAN}(?:(?:, | và |-){ROMAN})*)(?!\w)",
     _romans),
    (rf"(?:^|(?<=[.!?;:] ))(?!X\.){ROMAN}(?=[.)] )", lambda m: roman(m[0])),
    (rf"(?<![\w.-])(?!(?:[IVXL]|[XVL]I)\b){ROMAN}(?![\w-])", lambda m: roman(m[0])),  # "VI" may be "VI PHẠM"
    # Roads, titles and abbreviations.
    (r"\bQL\s?(?=\d)", _say("quốc lộ ")),
    (r"\bTL\s?(?=\d)", _say("tỉnh lộ ")),
    (r"\bĐT\.?\s?(?=\d)", _say("đường tỉnh ")),
    (r"\bĐT(?=:| (?:không|một) )", _say("điện thoại")),
    (r"(?<![/\w])(?<!\d )(?!(?i:km[23])\b)(?i:km)\s?(?=\d)", _say("ki lô mét ")),
    (r"\bTT-Huế\b", _say("Thừa Thiên Huế")),
    (r"\bTP\.?\s?HCM\b", _say("thành phố Hồ Chí Minh")),
    (r"\bv\.\s?v\.?(?!\w)", _say("vân vân")),
    (r"\b(?i:v/v)\b", _say("về việc")),
    (r"\b(?i:đ/c)(?=:)", _say("địa chỉ")),
    (r"\b(?i:đ/c)\b", _say("đồng chí")),
    (r"\b(?i:k/g)\b", _say("kính gửi")),
    (rf"(?<!\w){_PERSON}(?:{_SHORT})\s?(?=[\d{_CAPITAL}])", lambda m: SHORTENED[m[0].strip()] + " "),
    (r"\bT[Pp] (?=\w)", _say("thành phố ")),
    (r"\bCT(?= (?:UBND|HĐND|UBMTTQ|MTTQ)\b)", _say("chủ tịch")),
    (r"(?P<before>\b(?i:hướng|gió) )(?P<to>[ĐTNB]{1,3})\b",
     lambda m: m["before"] + " ".join(lexicon.DIRECTIONS[c] for c in m["to"])),
    (r"\bCA(?= (?:xã|phường|huyện|tỉnh|thành|TP|thị))", _say("công an")),
    (r"\bT(?P<n>[2-7])(?P<more>\s?(?:-|,|và|đến)\s?)CN\b", lambda m: f"T{m['n']}{m['more']}chủ nhật"),
    (r"\bT\.?(?P<month>1[0-2]|0?[1-9])/(?=\d{4}\b)", lambda m: f"tháng {m['month']}/"),
    (r"\bT(?P<n>[2-7])(?:(?P<to>\s?-\s?)(?=T[2-7])|(?!\w|\.\d))",
     lambda m: f"thứ {month(m['n'])}" + (" đến " if m["to"] else "")),
    (rf"(?<!\w)(?:{_ABBREVIATION})(?!\w)", lambda m: ABBREVIATIONS[m[0]]),
    (rf"(?<!\w)(?P<word>(?i:{'|'.join(lexicon.FOREIGN)}))(?!\w)(?:-(?P<year>\d))?",
     lambda m: lexicon.FOREIGN[m["word"].lower()] + (f" {m['year']}" if m["year"] else "")),
    # From … to …, for each …, parts of …
    (rf"(?<=\d)(?P<unit>\s?(?:{_UNIT}))\s?-\s?(?=\d)", lambda m: f"{m['unit']} đến "),
    (r"(?<=\d)\s?~\s?(?=\d)", _say("-")),
    (rf"/(?P<who>{lexicon.EACH})/(?P<when>{lexicon.EACH})\b", lambda m: f" mỗi {m['who']} mỗi {m['when']}"),
    (rf"(?P<n>\d)\s?(?P<what>{_UNIT}|{lexicon.COUNTED})/(?P<per>\d+\s?(?:h|giờ)|[^\W\d_]+[23]?)(?![\w/])", _per),
    (rf"(?<![\w:,.])(?P<a>{_CLOCK})\s?-\s?(?={_CLOCK})", lambda m: f"{m['a']} đến "),
    (r"(?<![\w:,.])(?P<a>\d{1,2})\s?-\s?(?=\d{1,2}[hg](?!\w))", lambda m: f"{m['a']} đến "),
    (r"(?<=\d[hg]\d\d)(?:'|p\b|ph\b)", _say("")),
    (r"\b24/24(?: ?(?:h|giờ))?\b", _say("hai mươi tư trên hai mươi tư giờ")),
    (r"\b24/7\b", _say("hai mươi tư giờ cả bảy ngày")),
    (rf"{_ALONE}{_NO_DAY}(?P<before>)(?P<a>\d{{1,3}})/(?P<b>\d{{1,3}})"
     rf"(?= (?P<of>{lexicon.PARTS_OF}|{lexicon.COUNTABLE})\b)", _share),
    (rf"(?P<before>\b(?i:{lexicon.SHARE}) )(?P<a>\d{{1,2}})/(?P<b>[2-9]|10){_NO_MORE}(?P<of>)", _share),
    (r"(?P<before>\b(?i:tỷ số|tỉ số|thắng|thua|hòa) )(?P<a>\d{1,2})\s?-\s?(?P<b>\d{1,2})(?![\w/-])",
     lambda m: f"{m['before']}{integer(int(m['a']))} {integer(int(m['b']))}"),
    (r"(?P<before>\b(?i:nhà|ngõ|hẻm|kiệt|ngách|số nhà|số) )(?P<n>\d+[A-Z]?(?:/\d+[A-Z]?)+)(?![\w/])",
     lambda m: m["before"] + m["n"].replace("/", " trên ")),
    # Days, months, years.
    (rf"(?<![\w/.,])(?P<a>\d{{1,2}})\s?-\s?(?=\d{{1,2}}/\d{{1,2}}{_NO_MORE})", lambda m: f"{m['a']} đến "),
    (r"(?<=\d[hg])/(?=\d{1,2}/\d)|(?<=\d[hg]\d\d)/(?=\d{1,2}/\d)", _say(" ")),
    (r"(?P<before>\b(?i:đợt|lần|kỳ|số|khóa|tập|quý) )(?P<n>\d{1,3})/(?P<year>(?:19|20)\d\d)(?![\w/])",
     lambda m: f"{m['before']}{m['n']}{_of_year(m['year'])}"),
    (r"(?<![\w/.,-])(?P<a>\d{1,2}/\d{1,2}(?:/\d{4})?)\s?-\s?(?=(?i:ngày )?\d{1,2}/\d)", lambda m: f"{m['a']} đến "),
    (rf"{_ALONE}{_DATE_BEFORE}{_Y}-(?P<month>\d{{2}})-(?P<day>\d{{2}}){_NO_MORE}", _date),
    (rf"{_ALONE}{_DATE_BEFORE}{_D}(?P<sep>[/.-]){_M}(?P=sep){_Y}{_NO_MORE}", _date),
    (rf"{_ALONE}{_DATE_BEFORE}{_D}/{_M}/(?P<year>\d{{2}}){_NO_MORE}", _date),
    (rf"{_ALONE}(?P<before>(?i:tháng) )?{_M}[/-]{_Y}{_NO_MORE}", _month_and_year),
    (rf"{_ALONE}{_DATE_BEFORE}{_D}/{_M}(?P<year>){_NO_MORE}", _date),
    (rf"{_PART_OF_DAY}{_D}-{_M}(?P<year>)(?![\w/-]| tháng)", _date),
    (r"(?<=[Qq]uý )(?P<q>\w+)/(?P<year>\d{4})", lambda m: m["q"] + _of_year(m["year"])),
    (r"(?P<before>\b(?i:thứ|tháng) )0?4(?![\w,.]\d|\w)", lambda m: f"{m['before']}tư"),
    (r"(?P<before>\b(?i:lần thứ|hạng|thứ) )1(?![\w,.]\d|\w)", lambda m: f"{m['before']}nhất"),
    (r"(?<![\w/.,-])\d{1,3}(?:-\d{1,3}){2,}(?![\w/-])", lambda m: ", ".join(map(number, m[0].split("-")))),
    (r"(?<=\d)/(?=\d)", _say(" trên ")),
    # Times of day, places, measures, whatever is a number still.
    (r"(?<![\w:,.])(?P<h>\d{1,2}):(?P<m>\d{2})(?::(?P<s>\d{2}))?(?![\w:])", _time),
    (r"(?<![\w:,.])(?P<h>\d{1,2})(?:\s?h|g)(?P<m>\d{2})?(?P<s>)(?![\w/])", _time),
    (rf"(?<![\d,.])(?P<degrees>{NUMBER})°\s?(?:(?P<minutes>\d{{1,2}})'\s?)?(?P<side>[NBEĐ])(?!\w)", _place),
    (r"(?<![\w,.])(?P<a>\d{1,3})m(?P<b>\d{1,2})(?!\w|[,.]\d)",
     lambda m: m[0] if m["b"] in ("2", "3") else f"{number(m['a'])} mét {short(m['b'])}"),  # 5m3 is a volume
    (r"(?<=\d)\s?x\s?(?=\d)", _say(" nhân ")),
    (r"(?<![\w.,])(?<!\d )(?P<a>\d{1,3}) (?P<b>\d{3})(?= ?(?:đồng|đ|VNĐ|m3/s)(?!\w))", lambda m: f"{m['a']}.{m['b']}"),
    (r"(?<![\w.,])\d+(?:\.\d+){2,}(?![\w,])",
     lambda m: m[0] if re.fullmatch(r"\d{1,3}(?:\.\d{3})+", m[0]) else " chấm ".join(map(number, m[0].split(".")))),
    (r"(?P<before>\b(?i:mục|điều|khoản|bảng|hình|phiên bản) )(?P<a>\d{1,3})\.(?P<b>\d{1,2})(?!\w|[.,]\d)",
     lambda m: f"{m['before']}{number(m['a'])} chấm {number(m['b'])}"),
    (rf"(?P<sign>[$€])\s?(?P<n>{NUMBER})", lambda m: f"{number(m['n'])} {UNITS[m['sign']]}"),
    (r"\s?(?P<sign>[±≥≤≈]|[><~+](?=\s?(?:-?\d|báo động))|(?:(?<=\w)|(?<=\w ))=(?=\s?\w))\s?",
     lambda m: f" {SIGNS[m['sign']]} "),
    (rf"(?P<sign>(?<![\w,.)-])-(?=\d))?(?<![\d,.])(?P<a>{NUMBER})(?:\s?-\s?(?P<b>{NUMBER}))?"
     rf"(?:\s?(?P<unit>{_UNIT})(?![\w/]))?", _measure),
    # What is left of signs and punctuation.
    (r"\s?%", _say(" phần trăm")),
    (r"\s?&\s?", _say(" và ")),
    (r"(?<=\w)'(?=\w)", _say("")),
    (r"\s+-+\s+|\s?[()\[\]{}\"“”„«»]+\s?", _say(", ")),  # espeak-ng takes [[…]] for phonemes
    (rf"(?<![\w])[{''.join(LETTERS)}]{{2,8}}(?!\w)", _capitals),
)  # fmt: skip


@cache  # when there is something to say: it takes longer than all else of the module
def _steps() -> tuple[tuple[re.Pattern[str], Words], ...]:
    return tuple((re.compile(pattern), words) for pattern, words in _RULES)


_PAUSES = "?!.:;,"  # the strongest first
#: What has no meaning before it is known where a line ends, and which letters and digits are meant.
_LINE = re.compile(r"[ \t]*\n\s*(?:\n\s*|(?=[-•*+]\s|\d+[.)]\s))")
_SPELLINGS = str.maketrans(lexicon.SPELLINGS)
#: More rounds than any text was found to need.
_ROUNDS = 6


def speakable(text: str) -> str:
    """``text`` ready for a Vietnamese voice: one line of Latin letters, spaces and ``.,;:!?``, NFC.

    What is ready already stays as it is. Letters of other scripts have no sound in the voice, and are left out.
    """
    text = _plain(text)
    for _ in range(_ROUNDS):  # an abbreviation may come to light where a sign was taken away
        before = text
        for pattern, words in _steps():
            text = pattern.sub(words, text)
        text = _tidy(text)
        if text == before:
            break
    return text


def _plain(text: str) -> str:
    """One spelling for what looks alike; one line."""
    text = re.sub(r"(?<=\d)(?=[½⅓¼¾⅔])", " và", text)
    text = re.sub(r"(?<=\d)(?=[²³])", " mũ ", text)
    text = re.sub(r"(?<=\d)[\u00a0\u2009\u202f](?=\d{3}(?!\d))", ".", text)
    text = unicodedata.normalize("NFKC", text.translate(_SPELLINGS)).translate(_SPELLINGS)
    text = _LINE.sub(". ", text)
    return "".join(map(_character, text)).strip()


def _character(c: str) -> str:
    category = unicodedata.category(c)
    if category == "Cf":  # such as a joiner within a word
        return ""
    if category[0] in "CZ":
        return " "
    return str(unicodedata.digit(c)) if unicodedata.digit(c, -1) >= 0 else c


def _tidy(text: str) -> str:
    text = "".join(c if c in _PAUSES or unicodedata.name(c, "").startswith("LATIN") else " " for c in text)
    text = re.sub(r"\s*[?!.:;,][?!.:;,\s]*", lambda m: min(m[0].replace(" ", ""), key=_PAUSES.index) + " ", text)
    return unicodedata.normalize("NFC", " ".join(text.split()).strip(" ,;:"))
