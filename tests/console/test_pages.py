"""What a person reads: both languages, safe text, and a size that a flood-time link can carry."""

from __future__ import annotations

import io
import re
import unicodedata
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

import keng_console
from keng_console.live import Live
from keng_console.overview import overview
from keng_console.pages import Pages, Rendering
from keng_console.views import Overview
from keng_console.web import STATIC, asset
from keng_console.words import Words, choose, words
from keng_contracts.alerts import Forecast
from keng_contracts.status import EdgeStatus, SourceHealth, SpeakerStatus
from keng_contracts.telemetry import Flag
from keng_store.protocol import Row
from tests.support.console import alert, flood_rows
from tests.support.registry import LEVEL, sample

NOW = 1_763_345_000_000
PAGES = Pages(asset)
PACKAGE = Path(keng_console.__file__).parent


def flood(**commune: Any) -> Live:
    """Báo động 3 with a full chart, a source that fails and loudspeakers at work."""
    registry = sample(commune={**sample().commune.model_dump(), **commune})
    live = Live()
    live.adopt(registry)
    live.broker_connected = live.store_readable = True
    live.tracks[LEVEL].restore(flood_rows(NOW, 14.3, every_s=360))
    for series, track in live.tracks.items():
        if series != LEVEL:
            track.hear(Row(series, NOW - 12_000, 21.5, Flag.GOOD))
    live.alert("phu-oc-level", alert(3, NOW - 600_000))
    live.edge_status(
        "tram-phu-oc",
        EdgeStatus(state="online", outbox_readings=3, sources=[SourceHealth(id="pm", ok=False, error="CRC")]),
        NOW,
    )
    live.speaker_status("loa-phuoc-yen", SpeakerStatus(state="online", playing="phu-oc-level-1-3"), NOW)
    return live


def view(live: Live, now_ms: int = NOW, **more: Any) -> Overview:
    return overview(live, now_ms, **{"chart_hours": 48.0, **more})


def html(live: Live, language: str = "vi", **more: Any) -> str:
    seen = view(live, **more)
    return PAGES.page(seen, PAGES.render(seen, language), "boot-0")


def text(markup: str) -> str:
    """The words of a page, without its markup."""
    found: list[str] = []
    parser = HTMLParser()
    parser.handle_data = found.append  # type: ignore[method-assign]
    parser.feed(markup)
    return " ".join(" ".join(found).split())


def section(rendering: Rendering, id_: str) -> str:
    return next(s.html for s in rendering.sections if s.id == id_)


def test_the_alert_is_said_in_vietnamese_with_numbers_as_vietnamese_writes_them() -> None:
    said = text(html(flood()))
    assert "Báo động 3 tại Phú Ốc" in said
    assert "4,60 m" in said.replace("\u00a0", " ")
    assert "đang lên" in said and "m/giờ" in said
    assert "Loa thôn Phước Yên đã xác nhận có tiếng" in said
    assert "12 giây trước" in said
    assert "Đang phát" in said


def test_the_same_in_english() -> None:
    said = text(html(flood(), "en"))
    assert "Flood alarm level 3 at Phú Ốc" in said
    assert "4.60 m" in said.replace("\u00a0", " ")
    assert "12 seconds ago" in said
    assert not re.search(r"báo động|giây trước", said)


def test_a_commune_s_own_gauge_never_says_bao_dong() -> None:
    live = flood()
    live.adopt(sample(stations=[{**s.model_dump(), "official": ""} for s in sample().stations]))
    live.alerts.clear()
    live.alert("phu-oc-level", alert(3, NOW, official=False))
    said = text(html(live))
    assert "Cảnh báo tại chỗ mức 3 tại Phú Ốc" in said
    assert "báo động" not in said.casefold()


def test_an_exercise_can_not_be_mistaken() -> None:
    page = html(flood(exercise=True))
    assert "data-exercise" in page
    assert text(page).count("DIỄN TẬP") >= 3  # title, bar, headline
    assert "DIỄN TẬP" not in html(flood())


def test_calm_is_said_calmly_and_silence_is_not_calm() -> None:
    live = Live()
    live.adopt(sample())
    live.broker_connected = True
    live.tracks[LEVEL].hear(Row(LEVEL, NOW, 1.2, Flag.GOOD))
    assert "Không có cảnh báo" in text(html(live))
    later = view(live, NOW + 3_600_000)
    said = text(PAGES.page(later, PAGES.render(later, "vi"), "boot-0"))
    assert "chưa rõ tình hình" in said and "Im lặng không có nghĩa là an toàn" in said
    assert "mất tín hiệu" in said


def test_an_alert_without_data_is_told_to_be_frozen_not_over() -> None:
    seen = view(flood(), NOW + 3_600_000)
    rendering = PAGES.render(seen, "vi")
    assert "Báo động 3" in section(rendering, "headline")
    assert "chưa phải đã an toàn" in section(rendering, "situation")


def test_silence_at_a_raised_level_says_what_was_last_and_that_somebody_has_to_look() -> None:
    seen = view(flood(), NOW + 7_200_000)
    rendering = PAGES.render(seen, "vi")
    alerts = text(section(rendering, "alerts"))
    assert "cảnh báo được giữ nguyên, chưa phải đã hết. Lần đo cuối 4,60 m, 2 giờ trước" in alerts
    assert "Cần người xem mực nước, từ chỗ an toàn" in alerts
    assert "Cần người xem mực nước, từ chỗ an toàn" in text(section(rendering, "situation"))
    assert "lần đo cuối 4,60 m lúc" in text(section(rendering, "situation"))


@pytest.mark.parametrize(("latest_ms", "said"), [(NOW + 7_200_000, "muộn nhất 11:03."), (None, "hoặc không tới")])
def test_a_forecast_is_told_with_how_sure_it_is(latest_ms: int | None, said: str) -> None:
    live = flood()
    ahead = Forecast(
        level=4,
        made_ms=NOW,
        expected_ms=NOW + 3_600_000,
        earliest_ms=NOW + 2_400_000,
        latest_ms=latest_ms,
        rate_per_h=0.21,
    )
    live.alert("phu-oc-level", alert(3, NOW - 600_000, version=2, forecast=ahead))
    rendering = PAGES.render(view(live), "vi")
    for place in ("situation", "gauge-phu-oc-level"):
        words = text(section(rendering, place))
        assert "Nếu nước còn lên như hiện nay (0,21 m/giờ): tới mức lịch sử vào khoảng 10:03, sớm nhất 09:43," in words
        assert said in words and "không phải bản tin dự báo" in words


def test_a_page_without_a_registry_names_the_mistakes() -> None:
    said = text(html(Live(), registry_fault="commune.toml: sensors x/y: unit: is missing"))
    assert "Đang chờ sổ đăng ký" in said and "unit: is missing" in said


@pytest.mark.parametrize("flag", list(Flag))
def test_quality_is_said_in_words(flag: Flag) -> None:
    live = flood()
    live.tracks["quang-tho/phu-oc/rain"].correct(Row("quang-tho/phu-oc/rain", NOW - 1000, 3.0, flag))
    said = text(section(PAGES.render(view(live), "vi"), "station-phu-oc"))
    expected = {1: "tốt", 2: "chưa đánh giá", 3: "nghi ngờ", 4: "sai", 9: "thiếu"}[int(flag)]
    assert expected in said


def test_whatever_a_node_or_the_registry_says_is_only_text() -> None:
    live = flood(name="Xã <script>alert(1)</script>")
    evil = SourceHealth(id="<img src=x>", ok=False, error='"><script>alert(2)</script>')
    live.edge_status("tram-phu-oc", EdgeStatus(state="online", sources=[evil]), NOW)
    live.speaker_status("loa-la", SpeakerStatus(state="online", playing="<b>x"), NOW)
    page = html(live)
    assert "<script>alert" not in page and "<img src=x>" not in page and "<b>x" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_all_text_is_nfc() -> None:
    live = flood(name=unicodedata.normalize("NFD", "Xã Quảng Thọ"))
    page = html(live)
    assert unicodedata.is_normalized("NFC", page) and "Xã Quảng Thọ" in page
    for file in PACKAGE.rglob("*"):
        if file.suffix in (".po", ".html", ".py", ".js", ".css", ".toml"):
            assert unicodedata.is_normalized("NFC", file.read_text(encoding="utf-8")), file


def test_the_whole_page_with_its_assets_is_below_60_kilobytes() -> None:
    page = len(html(flood()).encode())
    assets = sum(file.stat().st_size for file in STATIC.iterdir())
    assert page + assets < 60_000


def test_nothing_in_the_page_needs_a_loose_content_security_policy() -> None:
    for page in (html(flood(exercise=True)), html(Live())):
        assert "style=" not in page and "<style" not in page and "javascript:" not in page
        assert not re.search(r"<script(?![^>]*\bsrc=)", page) and not re.search(r"\son\w+=", page)
        assert not re.search(r'(?:src|href)="(?:https?:)?//', page)


def test_growing_old_is_no_change_of_a_section() -> None:
    live = flood()
    one, two = PAGES.render(view(live), "vi"), PAGES.render(view(live, NOW + 2000), "vi")
    before, after = ({s.id: s.mark for s in rendering.sections} for rendering in (one, two))
    assert before == after
    assert section(one, "station-phu-oc") != section(two, "station-phu-oc")
    dead = PAGES.render(view(live, NOW + 400_000), "vi")
    assert {s.id: s.mark for s in dead.sections}["station-phu-oc"] != before["station-phu-oc"]


def test_ids_are_unique_and_labels_point_at_something() -> None:
    page = html(flood())
    ids = re.findall(r'\sid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    for names in re.findall(r'aria-labelledby="([^"]+)"', page):
        assert set(names.split()) <= set(ids)
    assert re.search(r'<a class="skip" href="#main"', page) and '<main id="main"' in page


# -- languages --------------------------------------------------------------------------------------------------


def catalogue(language: str) -> Catalog:
    file = PACKAGE / "locale" / language / "LC_MESSAGES" / "messages.po"
    return read_po(io.StringIO(file.read_text(encoding="utf-8")), locale=language)


@pytest.mark.parametrize("language", ["vi", "en"])
def test_the_catalogue_has_every_message_of_the_pages_and_no_other(language: str) -> None:
    methods = [("templates/**.html", "jinja2"), ("**.py", "python")]
    asked = {found[2] for found in extract_from_dir(PACKAGE, methods, {})}
    known = {message.id: message for message in catalogue(language) if message.id}
    assert {i if isinstance(i, str) else tuple(i) for i in asked} == set(known)
    for message in known.values():
        said = message.string if isinstance(message.string, tuple) else (message.string,)
        ids = message.id if isinstance(message.id, tuple) else (message.id,)
        assert all(said) and not message.fuzzy
        places = set(re.findall(r"%\(\w+\)[sd]", "".join(ids)))
        assert all(set(re.findall(r"%\(\w+\)[sd]", one)) == places for one in said), message.id


@pytest.mark.parametrize(("asked", "language"), [(None, "vi"), ("", "vi"), ("xx", "vi"), ("vi", "vi"), ("en", "en")])
def test_the_language_is_the_one_asked_for_else_vietnamese(asked: str | None, language: str) -> None:
    assert choose(asked) == language


@pytest.mark.parametrize(
    ("age_s", "vi", "en"),
    [
        (-30, "vừa xong", "just now"),
        (4, "vừa xong", "just now"),
        (12, "12 giây trước", "12 seconds ago"),
        (59, "59 giây trước", "59 seconds ago"),
        (200, "3 phút trước", "3 minutes ago"),
        (7200, "2 giờ trước", "2 hours ago"),
        (200_000, "2 ngày trước", "2 days ago"),
    ],
)
def test_ages_are_humane(age_s: int, vi: str, en: str) -> None:
    assert words("vi").ago(NOW - age_s * 1000, NOW) == vi
    assert words("en").ago(NOW - age_s * 1000, NOW) == en


def test_numbers_have_the_language_s_comma_and_a_true_minus() -> None:
    vi, en = words("vi"), words("en")
    assert (vi.number(4.567, 2), en.number(4.567, 2)) == ("4,57", "4.57")
    assert (vi.number(-12.4, 1), vi.number(-0.001, 2), vi.number(12345)) == ("−12,4", "0,00", "12.345")
    assert (vi.unit("Cel"), vi.unit("ug/m3"), vi.unit("m")) == ("°C", "µg/m³", "m")


@pytest.mark.parametrize(
    ("hours", "vi", "en"), [(48, "48 giờ", "48 hours"), (1, "1 giờ", "1 hour"), (0.05, "3 phút", "3 minutes")]
)
def test_the_span_of_a_chart_is_said_in_words(hours: float, vi: str, en: str) -> None:
    said: list[Words] = [words("vi"), words("en")]
    assert [one.hours(hours) for one in said] == [vi, en]


def test_an_alarm_is_read_in_the_pages_own_language() -> None:
    live = flood()
    fields = {"kind": "rain", "severity": "severe", "hazard": "raised", "cleared_ms": None, "raised_ms": NOW - 600_000}
    live.alert("mua", alert(0, NOW, id="mua", headline="Mưa <lớn>", headline_en="Heavy rain", **fields))
    assert "Mưa &lt;lớn&gt;" in html(live) and "Heavy rain" not in html(live)
    assert "Heavy rain" in html(live, "en")


def test_what_is_wrong_with_a_loudspeakers_machine_is_on_the_page_as_text() -> None:
    live = flood()
    status = SpeakerStatus(state="online", temperature_c=81.26, problems=["hot: 80 °C or more", "<b>y"])
    live.speaker_status("loa-niem-pho", status, NOW)
    page = html(live)
    assert "81 °C" in page and "hot: 80 °C or more" in page and "<b>y" not in page
