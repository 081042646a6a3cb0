"""Numbers in Vietnamese words. Pure.

Said as in the north and on the national radio: *nghìn*, *linh*, *mươi tư*, *tỷ*; a billion is counted on in thousands
(*nghìn tỷ*).
"""

from __future__ import annotations

import re

DIGITS = ("không", "một", "hai", "ba", "bốn", "năm", "sáu", "bảy", "tám", "chín")
_POWERS = ("", "nghìn", "triệu")
_BILLION = 10**9
#: From here on a number is no number to a listener: its digits are said.
_TOO_LARGE = 10**18

#: A number as it is written: dots (or, where there are several, commas or spaces) between thousands, a comma, or where
#: nothing else can be meant a dot, before decimals.
NUMBER = (
    r"\d{1,3}(?:\.\d{3})+(?!\d)(?:,\d+)?"
    r"|\d{1,3}(?:,\d{3}){2,}(?!\d)(?:\.\d+)?"
    r"|\d{1,3}(?: \d{3}){2,}(?!\d)(?:,\d+)?"
    r"|\d+(?:[.,]\d+)?"
)
_BY_DOTS = re.compile(r"\d{1,3}(?:\.\d{3})+(?:,\d+)?")
_BY_COMMAS = re.compile(r"\d{1,3}(?:,\d{3}){2,}(?:\.\d+)?")

_ROMAN_DIGITS = {"I": 1, "V": 5, "X": 10, "L": 50}
#: A Roman number up to 89; matches nothing that is empty.
ROMAN = r"(?=[IVXL])(?:XL|L?X{0,3})(?:IX|IV|V?I{0,3})"


def integer(n: int) -> str:
    """A whole number in words.

    >>> integer(2025), integer(21), integer(105), integer(34)
    ('hai nghìn không trăm hai mươi lăm', 'hai mươi mốt', 'một trăm linh năm', 'ba mươi tư')
    >>> integer(1_200_000_000_000)
    'một nghìn hai trăm tỷ'
    """
    if n < 0:
        return f"âm {integer(-n)}"
    if n >= _TOO_LARGE:
        return one_by_one(str(n))
    billions, rest = divmod(n, _BILLION)
    words = [integer(billions), "tỷ"] if billions else []
    for power in (2, 1, 0):
        group = rest // 1000**power % 1000
        if group or (n == 0 and power == 0):
            words += [_below_thousand(group, full=bool(words)), _POWERS[power]]
    return " ".join(word for word in words if word)


def _below_thousand(n: int, *, full: bool) -> str:
    """``full``: something stands before it, so the hundreds are named even if there are none (không trăm)."""
    hundreds, rest = divmod(n, 100)
    tens, ones = divmod(rest, 10)
    words = [f"{DIGITS[hundreds]} trăm"] if hundreds or full else []
    if tens == 0:
        if ones:
            words.append(f"linh {DIGITS[ones]}" if words else DIGITS[ones])
        elif not words:
            words.append(DIGITS[0])
    elif tens == 1:
        words.append("mười" + {0: "", 5: " lăm"}.get(ones, f" {DIGITS[ones]}"))
    else:
        last = {0: "", 1: " mốt", 4: " tư", 5: " lăm"}.get(ones, f" {DIGITS[ones]}")
        words.append(f"{DIGITS[tens]} mươi{last}")
    return " ".join(words)


def number(text: str) -> str:
    """A number as :data:`NUMBER` has it, in words.

    >>> number("3,06"), number("4,57"), number("1.250"), number("4,00")
    ('ba phẩy không sáu', 'bốn phẩy năm mươi bảy', 'một nghìn hai trăm năm mươi', 'bốn')
    """
    text = text.replace(" ", "")
    if _BY_DOTS.fullmatch(text):
        text = text.replace(".", "")
    elif _BY_COMMAS.fullmatch(text):
        text = text.replace(",", "")
    whole, _, fraction = text.replace(".", ",").partition(",")
    if not fraction:
        # 05 is a five on a form; what is longer is a code.
        return one_by_one(whole) if len(whole) > 2 and whole[0] == "0" else _whole(whole)
    if not fraction.strip("0"):
        return _whole(whole)
    small = integer(int(fraction)) if fraction[0] != "0" and len(fraction) <= 2 else one_by_one(fraction)
    return f"{_whole(whole)} phẩy {small}"


def _whole(digits: str) -> str:
    return integer(int(digits)) if len(digits) <= 18 else one_by_one(digits)


def one_by_one(digits: str) -> str:
    """Each digit by its name."""
    return " ".join(DIGITS[int(d)] for d in digits)


def month(n: int | str) -> str:
    """The fourth month is "tháng tư"."""
    return "tư" if int(n) == 4 else integer(int(n))


def short(digits: str) -> str:
    """What follows a measure's unit: 1m50 is một mét năm mươi, 1m7 một mét bảy, 1m05 một mét không năm."""
    return one_by_one(digits) if digits[0] == "0" else integer(int(digits))


def roman(text: str) -> str:
    """A Roman number in words.

    >>> roman("XIV"), roman("XLI")
    ('mười bốn', 'bốn mươi mốt')
    """
    values = [_ROMAN_DIGITS[c] for c in text]
    return integer(sum(-v if v < n else v for v, n in zip(values, [*values[1:], 0], strict=True)))
