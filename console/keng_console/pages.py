"""From the overview to HTML: one page made of sections, each with its own id, in Vietnamese or English. Pure.

A section is rendered alone, so that the page can be sent whole once and then piece by piece. The age of a reading
("12 giây trước") is a ``<time data-age>`` that the browser counts on by itself; its text is left out of a section's
``mark``, by which two renderings are compared, so that growing old is no change.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from keng_console import hydrograph, order_words
from keng_console.orders import Told
from keng_console.views import GaugeView, Overview, Situation
from keng_console.words import Words, clock, moment, words
from keng_contracts.telemetry import Flag

_AGES = re.compile(r"(<time [^>]*data-age[^>]*>)[^<]*")


@dataclass(frozen=True, slots=True)
class Section:
    """A piece of the page. ``tone`` (``calm``, ``watch``, ``blind``, ``l1`` to ``l4``) colours it."""

    id: str
    html: str
    tone: str = ""

    @property
    def mark(self) -> str:
        """What must be equal for two renderings to say the same."""
        return self.tone + _AGES.sub(r"\1", self.html)


@dataclass(frozen=True, slots=True)
class Rendering:
    """All sections in the order of the page, its title, and the tone of the whole."""

    language: str
    now_ms: int
    title: str
    tone: str
    sections: tuple[Section, ...]


class Pages:
    """The templates of this package. ``asset`` turns the name of a static file into its address."""

    def __init__(self, asset: Callable[[str], str]) -> None:
        self._jinja = Environment(
            loader=PackageLoader("keng_console"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._jinja.globals["asset"] = asset
        self._jinja.filters["fill"] = _fill
        self._template = self._jinja.get_template

    def render(self, view: Overview, language: str) -> Rendering:
        """Every section of the page."""
        tools = _Tools(view, words(language))
        context = {"view": view, "t": tools, "_": tools.words.gettext, "ngettext": tools.words.counted}

        def section(id_: str, template: str, tone: str = "", **more: Any) -> Section:
            html = self._template(template).render(**context, **more)
            return Section(id_, unicodedata.normalize("NFC", _tight(html)), tone)

        tone = tools.tone
        sections = [
            section("headline", "headline.html", tone),
            section("situation", "situation.html"),
            section("notices", "notices.html"),
            *(section(f"gauge-{g.slug}", "gauge.html", tools.gauge_tone(g), gauge=g) for g in view.gauges),
            section("alerts", "alerts.html"),
            section("bulletins", "bulletins.html"),
            section("speakers", "speakers.html"),
            *(section(f"station-{s.id}", "station.html", station=s) for s in view.stations),
            section("nodes", "nodes.html"),
            section("about", "about.html"),
        ]
        return Rendering(language, view.now_ms, tools.title, tone, tuple(sections))

    def page(self, view: Overview, rendering: Rendering, revision: str) -> str:
        """The whole document. ``revision`` is where the live updates go on."""
        tools = _Tools(view, words(rendering.language))
        sections = {s.id: (Markup(s.html), s.tone) for s in rendering.sections}  # made by autoescaping templates
        html = self._template("page.html").render(
            view=view, t=tools, _=tools.words.gettext, sections=sections, rendering=rendering, revision=revision
        )
        return unicodedata.normalize("NFC", html)

    def voice(self, language: str, to: list[str] | None, *, gong_s: float, exercise: bool) -> str:
        """The page at which a person speaks live to some places; None when its address can't be used any more."""
        html = self._template("voice.html").render(
            language=language, to=to, gong_s=gong_s, exercise=exercise, _=words(language).gettext
        )
        return unicodedata.normalize("NFC", html)


class _Tools:
    """What templates ask for: names, numbers and times in one language, at one moment."""

    def __init__(self, view: Overview, in_words: Words) -> None:
        self.view = view
        self.words = in_words
        self.zone = ZoneInfo(view.timezone)
        self.number = in_words.number
        self.unit = in_words.unit
        self.lasts = in_words.lasts
        self.hours = in_words.hours
        self.language = in_words.language

    # -- names --------------------------------------------------------------------------------------------------

    def level(self, level: int, official: bool) -> str:
        """``Báo động 3`` for an official gauge, ``Cảnh báo tại chỗ mức 3`` for the commune's own."""
        _ = self.words.gettext
        if level >= 4 and official:
            return _("Above the record")
        return (_("Flood alarm level %(n)d") if official else _("Local warning level %(n)d")) % {"n": level}

    def level_short(self, level: int, official: bool) -> str:
        """The same within a sentence, or with its first letter raised on a chart: ``báo động 3``."""
        _ = self.words.gettext
        if level >= 4 and official:
            return _("the record")
        return (_("alarm %(n)d") if official else _("local level %(n)d")) % {"n": level}

    @cached_property
    def headline(self) -> str:
        """The situation in one line of words, without any number that changes."""
        _ = self.words.gettext
        head = self.view.headline
        if head.situation is Situation.ALERT or head.situation is Situation.ABOVE:
            if head.situation is Situation.ABOVE:
                short = self.level_short(head.level, head.official)
                return _("Water above %(level)s at %(station)s, no alert yet") % {
                    "level": short,
                    "station": head.station,
                }
            return _("%(level)s at %(station)s") % {
                "level": self.level(head.level, head.official),
                "station": head.station,
            }
        if head.situation is Situation.BLIND:
            return _("No fresh data: the situation is not known")
        if head.situation is Situation.NO_REGISTRY:
            return _("Waiting for the commune's registry")
        return _("No alert")

    @cached_property
    def title(self) -> str:
        drill = self.words.gettext("EXERCISE") + " · " if self.view.exercise else ""
        place = f"{self.view.commune} · " if self.view.commune else ""
        return f"{drill}{self.headline} · {place}Kẻng"

    # -- tones --------------------------------------------------------------------------------------------------

    @cached_property
    def tone(self) -> str:
        head = self.view.headline
        if head.situation is Situation.ALERT:
            return f"l{head.level}"
        if head.situation is Situation.CALM:
            return "calm"
        return "watch" if head.situation is Situation.ABOVE else "blind"

    def gauge_tone(self, gauge: GaugeView) -> str:
        return f"l{gauge.above}" if gauge.above else ""

    # -- numbers and times --------------------------------------------------------------------------------------

    def quantity(self, value: float, decimals: int, unit: str) -> str:
        """``4,57 m`` with a space that does not break."""
        return f"{self.number(value, decimals)}\u00a0{self.unit(unit)}".rstrip()

    def dbfs(self, level: float) -> str:
        return f"{self.number(level, 1)}\u00a0dBFS"

    def clock(self, time_ms: int) -> str:
        return clock(time_ms, self.view.now_ms, self.zone)

    def today(self) -> str:
        return f"{moment(self.view.now_ms, self.zone):%H:%M}"

    def when(self, time_ms: int) -> str:
        """Time of day on a chart, with seconds where its span is short."""
        return f"{moment(time_ms, self.zone):%H:%M:%S}" if self.view.chart_hours < 0.5 else self.clock(time_ms)

    def row_time(self, time_ms: int) -> str:
        """The same for a row of its table, always with the day where it may change."""
        then = moment(time_ms, self.zone)
        return self.when(time_ms) if self.view.chart_hours < 0.5 else f"{then:%H:%M} {then.day}/{then.month}"

    def age(self, time_ms: int) -> Markup:
        """An age that the browser counts on; the time itself is in it for whoever hovers."""
        then = moment(time_ms, self.zone)
        return Markup('<time data-age datetime="{}" title="{}">{}</time>').format(
            then.isoformat(timespec="milliseconds"),
            f"{then:%H:%M:%S} {then.day}/{then.month}",
            self.words.ago(time_ms, self.view.now_ms),
        )

    # -- orders -------------------------------------------------------------------------------------------------

    def order(self, told: Told) -> str:
        """The last order to a node, and how it stands."""
        return f"{order_words.action(self.words, told.order.action)} – {order_words.stands(self.words, told)}"

    # -- the chart ----------------------------------------------------------------------------------------------

    def chart(self, gauge: GaugeView) -> Markup:
        _ = self.words.gettext
        assert gauge.chart is not None
        spans = {"station": gauge.station, "hours": self.hours(self.view.chart_hours)}
        described = [
            _("Highest: %(value)s at %(time)s.")
            % {
                "value": self.quantity(gauge.chart.highest.value, gauge.sensor.decimals, gauge.sensor.unit),
                "time": self.when(gauge.chart.highest.time_ms),
            }
            if gauge.chart.highest
            else _("No data in this time."),
            _("The table below has the numbers."),
        ]
        return Markup(  # built by hydrograph.draw, which escapes its words
            hydrograph.draw(
                gauge.chart,
                gauge.thresholds,
                id_=f"chart-{gauge.slug}",
                title=_("Water level at %(station)s, last %(hours)s") % spans,
                description=" ".join(described),
                zone=self.zone,
                number=self.number,
                name=lambda level: _capital(self.level_short(level, gauge.official)),
                no_data=_("no data"),
            )
        )

    def table(self, gauge: GaugeView) -> list[hydrograph.Cell]:
        assert gauge.chart is not None
        return hydrograph.table(gauge.chart, self.zone)

    def has_gap(self, gauge: GaugeView) -> bool:
        return gauge.chart is not None and bool(hydrograph.gaps(gauge.chart))

    def has_suspect(self, gauge: GaugeView) -> bool:
        return gauge.chart is not None and any(row.flag is Flag.SUSPECT for row in gauge.chart.rows)

    def reached(self, gauge: GaugeView, value: float) -> int:
        """The highest level whose threshold the value has reached."""
        return max((t.level for t in gauge.thresholds if value >= t.value), default=0)


def _fill(text: str, /, **values: Any) -> str:
    """A message with its places filled in."""
    return text % values


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _tight(html: str) -> str:
    """Without the templates' own line ends and indentation: they would be a tenth of the page."""
    return re.sub(r"\s*\n\s*", "\n", html).strip()
