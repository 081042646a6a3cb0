"""Vietnamese and English for the pages: catalogues, numbers, ages and times of day. Pure but for reading its files.

The catalogues are ``locale/<language>/LC_MESSAGES/messages.po``, read as they are; nothing has to be compiled.
"""

from __future__ import annotations

import gettext
import io
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from pathlib import Path
from zoneinfo import ZoneInfo

from babel.dates import format_timedelta
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal

LANGUAGES = ("vi", "en")
#: What is younger than this is "just now" (also in static/console.js).
JUST_NOW_MS = 5_000

#: How people write units whose SenML or UCUM symbol is not what is on the instrument.
_UNITS = {"Cel": "°C", "ug/m3": "µg/m³", "%RH": "%", "pH": ""}


def choose(asked: str | None) -> str:
    """The language of a page: ``?lang=``, else Vietnamese. A browser's own wish is not asked: many of a commune's
    computers were set up in English, and who sits before them reads Vietnamese."""
    return asked if asked in LANGUAGES else "vi"


class Words:
    """One language."""

    def __init__(self, language: str, translations: gettext.NullTranslations) -> None:
        self.language = language
        self.gettext: Callable[[str], str] = translations.gettext
        self.ngettext: Callable[[str, str, int], str] = translations.ngettext

    def counted(self, one: str, many: str, num: int) -> str:
        """The right plural with the number in place of ``%(num)d``."""
        return self.ngettext(one, many, num) % {"num": num}

    def number(self, value: float, decimals: int = 0, *, signed: bool = False) -> str:
        """``4,57`` or ``4.57``, with a true minus sign; ``signed`` writes the plus too."""
        text = _decimal(self.language, abs(value), decimals)
        if value < 0 and any(digit in text for digit in "123456789"):
            return "−" + text
        return "+" + text if signed and value > 0 else text

    def unit(self, symbol: str) -> str:
        return _UNITS.get(symbol, symbol)

    def ago(self, time_ms: int, now_ms: int) -> str:
        """``vừa xong``, ``12 giây trước``, ``3 phút trước``."""
        age_ms = now_ms - time_ms
        if age_ms < JUST_NOW_MS:
            return self.gettext("just now")
        return format_timedelta(-timedelta(milliseconds=age_ms), add_direction=True, threshold=1, locale=self.language)

    def lasts(self, seconds: float) -> str:
        """A duration: ``42 giây``, ``3 phút``."""
        return format_timedelta(timedelta(seconds=seconds), threshold=1, locale=self.language)

    def hours(self, hours: float) -> str:
        """The span of a chart: ``48 giờ``, ``2 phút``."""
        if hours >= 1:
            decimals = 0 if hours == int(hours) else 1
            return f"{self.number(hours, decimals)} " + self.ngettext("hour", "hours", 1 if hours == 1 else 2)
        return self.lasts(hours * 3600)


@lru_cache(4096)  # the same few thousand numbers are on the page again and again
def _decimal(language: str, value: float, decimals: int) -> str:
    return format_decimal(value, "#,##0" + ("." + "0" * decimals if decimals else ""), locale=language)


def moment(time_ms: int, zone: ZoneInfo) -> datetime:
    """Local time in the commune's zone."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).astimezone(zone)


def clock(time_ms: int, now_ms: int, zone: ZoneInfo) -> str:
    """``21:05`` for today, ``21:05 17/11`` for another day."""
    then, now = moment(time_ms, zone), moment(now_ms, zone)
    return f"{then:%H:%M}" if then.date() == now.date() else f"{then:%H:%M} {then.day}/{then.month}"


@cache
def words(language: str) -> Words:
    """The words of a language of :data:`LANGUAGES`."""
    file = Path(__file__).parent / "locale" / language / "LC_MESSAGES" / "messages.po"
    compiled = io.BytesIO()
    text = unicodedata.normalize("NFC", file.read_text(encoding="utf-8"))
    write_mo(compiled, read_po(io.StringIO(text), locale=language))
    compiled.seek(0)
    return Words(language, gettext.GNUTranslations(compiled))
