"""The page as a person has it: the real console, broker and store, in a real browser."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from keng_contracts.commands import Priority
from keng_contracts.playback import PlaybackEvent, What
from keng_contracts.status import EdgeStatus, SourceHealth, SpeakerStatus
from keng_contracts.telemetry import Clock, Reading
from keng_runtime.clock import now_ms
from tests.support.broker import RunningBroker
from tests.support.browser import LIVE_MS, visit
from tests.support.console import (
    RunningConsole,
    alert,
    flood_rows,
    ready,
    running_console,
    say_alert,
    say_played,
    say_status,
    write_rows,
)
from tests.support.processes import eventually
from tests.support.telemetry import edge

pytestmark = pytest.mark.browser

ARTEFACTS = Path(__file__).parents[2] / "artefacts"
JOB = "phu-oc-level-1-3"


@contextmanager
def console_with_a_flood(broker: RunningBroker, folder: Path) -> Iterator[RunningConsole]:
    """A console whose store holds two days up to báo động 3, minus four hours of silence."""
    now = now_ms()
    rows = [r for r in flood_rows(now, 14.3) if not now - 26 * 3_600_000 < r.time_ms < now - 22 * 3_600_000]
    write_rows(f"sqlite:///{folder / 'readings.sqlite'}", rows)
    with running_console(broker, folder) as running:
        ready(running)
        yield running


@pytest.fixture
def console(broker: RunningBroker, tmp_path: Path) -> Iterator[RunningConsole]:
    """A console of the test's own, where only the store has spoken."""
    with console_with_a_flood(broker, tmp_path) as running:
        yield running


@pytest.fixture(scope="module")
def alarmed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningConsole]:
    """The commune at báo động 3, for tests that only look."""
    with RunningBroker() as broker, console_with_a_flood(broker, tmp_path_factory.mktemp("alarmed")) as running:
        asyncio.run(set_the_scene(broker, running))
        yield running


async def set_the_scene(broker: RunningBroker, console: RunningConsole) -> None:
    """The commune at báo động 3: everyone has spoken."""
    async with edge(broker) as one:
        now = now_ms()
        others = [("phu-oc/rain", 214.6, "mm"), ("phuoc-yen/soil-moisture", 48.2, "%"), ("uy-ban/pm2-5", 18.4, "ug/m3")]
        await one.send(
            [
                Reading("quang-tho/phu-oc/level", now, 4.60, "m"),
                *(Reading(f"quang-tho/{name}", now, value, unit) for name, value, unit in others),
                Reading("quang-tho/phuoc-yen/soil-temperature", now - 240_000, 24.3, "Cel"),
                Reading("quang-tho/uy-ban/pm10", now - 900_000, 31.0, "ug/m3"),
            ]
        )
    failing = SourceHealth(id="soil", ok=False, error="no answer from slave 3")
    node = EdgeStatus(state="online", at_ms=now_ms(), clock=Clock.SYNCED, outbox_readings=2, sources=[failing])
    await say_status(broker, "tram-phu-oc", node)
    playing = SpeakerStatus(state="online", at_ms=now_ms(), clock=Clock.SYNCED, playing=JOB)
    await say_status(broker, "loa-phuoc-yen", playing)
    started = PlaybackEvent(
        boot="0123456789abcdef",
        seq=1,
        at_ms=now_ms() - 4000,
        clock=Clock.SYNCED,
        what=What.STARTED,
        play=JOB,
        kind="siren",
        priority=Priority.EMERGENCY,
        level_dbfs=-12.4,
    )
    await say_played(broker, "loa-phuoc-yen", started)
    await say_status(broker, "loa-niem-pho", SpeakerStatus(state="offline", at_ms=now_ms() - 3_600_000))
    await say_alert(broker, alert(3, now_ms() - 1_200_000, value=4.57))
    eventually(lambda: console.overview()["headline"]["situation"] == "alert", what="the console knows the alert")
    eventually(lambda: console.overview()["speakers"][0]["sound"] is not None, what="the console has the evidence")


async def test_the_page_shows_the_flood_and_pictures_of_it_are_kept(alarmed: RunningConsole, browser: Browser) -> None:
    page = await visit(browser, alarmed)
    await expect(page.get_by_role("heading", level=1)).to_have_text("Báo động 3 tại Phú Ốc")
    gauge = page.locator("#gauge-phu-oc-level")
    await expect(gauge.locator(".big")).to_contain_text("4,60")
    await expect(gauge).to_contain_text("Trên báo động 3")
    chart = gauge.get_by_role("img", name="Mực nước tại Phú Ốc, 48 giờ gần nhất")
    for name in ("Báo động 1", "Báo động 2", "Báo động 3"):
        await expect(chart.get_by_text(name, exact=True)).to_be_visible()
    await expect(gauge).to_contain_text("vùng xám: không có số liệu")
    await expect(page.locator("#alerts")).to_contain_text("Loa thôn Phước Yên đã xác nhận có tiếng")
    await expect(page.locator("#speakers")).to_contain_text("Đang phát: còi hú, −12,4")
    await expect(page.locator("#speakers")).to_contain_text("mất liên lạc")
    await expect(page.locator("#nodes")).to_contain_text("no answer from slave 3")
    await expect(page.locator("#station-uy-ban")).to_contain_text("mất tín hiệu")
    await expect(page.locator("#station-phuoc-yen")).to_contain_text("số liệu cũ")

    ARTEFACTS.mkdir(exist_ok=True)
    await page.screenshot(path=ARTEFACTS / "overview.png", full_page=True)
    assert page.complaints == []  # type: ignore[attr-defined]  # nothing that the policy forbids, no script error

    for width, name in ((360, "overview-phone.png"), (1440, None)):
        await page.set_viewport_size({"width": width, "height": 780})
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
        if name:
            await page.screenshot(path=ARTEFACTS / name, full_page=True)


async def test_readings_and_alerts_arrive_without_a_reload(
    broker: RunningBroker, console: RunningConsole, browser: Browser
) -> None:
    page = await visit(browser, console)
    await page.evaluate("window.since = 'the first load'")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Nước trên báo động 3 tại Phú Ốc, chưa có cảnh báo")
    await page.get_by_text("Bảng số liệu").click()
    async with edge(broker) as one:
        await one.level(4.71)
        await expect(page.locator("#gauge-phu-oc-level .big")).to_contain_text("4,71", timeout=LIVE_MS)
        await say_alert(broker, alert(3, now_ms(), value=4.71))
        await expect(page.get_by_role("heading", level=1)).to_have_text("Báo động 3 tại Phú Ốc", timeout=LIVE_MS)
        await expect(page).to_have_title("Báo động 3 tại Phú Ốc · Xã Quảng Thọ · Kẻng")
        await expect(page.locator("body")).to_have_attribute("data-tone", "l3")
        await say_alert(broker, alert(0, now_ms(), value=1.3, version=2, peak_level=3))
        await one.level(1.31)
        await expect(page.get_by_role("heading", level=1)).to_have_text("Không có cảnh báo", timeout=LIVE_MS)
    await expect(page.locator("#gauge-phu-oc-level details").first).to_have_attribute("open", "")  # left as it was
    assert await page.evaluate("window.since") == "the first load"
    assert page.complaints == []  # type: ignore[attr-defined]


async def test_ages_count_on_by_themselves(broker: RunningBroker, console: RunningConsole, browser: Browser) -> None:
    async with edge(broker) as one:
        await one.level(1.2)
    eventually(lambda: console.overview()["gauges"][0]["sensor"]["reading"]["value"] == 1.2)
    page = await visit(browser, console)
    age = page.locator("#gauge-phu-oc-level .reading time[data-age]")
    await expect(age).to_have_text("vừa xong")
    await expect(age).to_have_text(re.compile(r"^\d+ giây trước$"), timeout=LIVE_MS)


async def test_a_lost_console_is_told_and_found_again(
    broker: RunningBroker, console: RunningConsole, browser: Browser
) -> None:
    page = await visit(browser, console)
    port = console.url.rpartition(":")[2]
    console.process.kill()
    await expect(page.locator("#link")).to_contain_text("Mất kết nối. Thông tin có thể đã cũ", timeout=LIVE_MS)
    with running_console(broker, console.folder, port=int(port)):
        await expect(page.locator("#link")).to_have_text("Trực tiếp", timeout=40_000)


async def test_everything_is_reached_by_keyboard_in_order(alarmed: RunningConsole, browser: Browser) -> None:
    page = await visit(browser, alarmed)
    reached = []
    for _ in range(5):
        await page.keyboard.press("Tab")
        reached.append(await page.evaluate("document.activeElement.textContent.trim()"))
    assert reached == [
        "Tới phần mực nước",
        "English",
        "Bảng số liệu",
        "Các ngưỡng và căn cứ",
        "cùng nội dung dạng JSON",
    ]
    await page.locator("summary").first.focus()
    await page.keyboard.press("Enter")
    table = page.get_by_role("table", name="Mực nước tại Phú Ốc, 48 giờ gần nhất")
    await expect(table).to_be_visible()
    assert 24 <= await table.get_by_role("row").count() <= 26
    await expect(table).to_contain_text("không có số liệu")


async def test_landmarks_are_there_and_the_headline_is_announced(alarmed: RunningConsole, browser: Browser) -> None:
    page = await visit(browser, alarmed)
    for role in ("banner", "main", "contentinfo"):
        await expect(page.get_by_role(role)).to_have_count(1)  # type: ignore[arg-type]
    for name in ("Mực nước", "Cảnh báo", "Loa", "Nút đo", "Số liệu khác"):
        await expect(page.get_by_role("region", name=name, exact=True)).to_have_count(1)
    assert await page.locator("#headline").get_attribute("aria-live") == "assertive"
    assert await page.locator("#link").get_attribute("role") == "status"


CONTRAST = """() => {
  const rgb = (c) => (c.match(/[\\d.]+/g) || []).map(Number);
  const lum = ([r, g, b]) => [r, g, b].map((v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (el) => {
    for (let e = el; e; e = e.parentElement) {
      const style = getComputedStyle(e);
      const c = rgb(style.backgroundColor);
      if (c.length && (c.length < 4 || c[3] === 1)) return c;
    }
    return [255, 255, 255];
  };
  const poor = [];
  for (const el of document.querySelectorAll("body *")) {
    const own = [...el.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || el.closest(".sr, .skip, noscript, desc, title") || !el.getClientRects().length) continue;
    const style = getComputedStyle(el);
    const svg = el.namespaceURI.includes("svg");
    const back = behind(svg ? el.closest(".card") : el);
    let opacity = 1;
    for (let e = el; e; e = e.parentElement) opacity *= Number(getComputedStyle(e).opacity);
    const front = rgb(svg ? style.fill : style.color).slice(0, 3).map((v, i) => v * opacity + back[i] * (1 - opacity));
    const [a, b] = [lum(front), lum(back)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && style.fontWeight >= 600);
    if (ratio < (large ? 3 : 4.5)) poor.push(`${el.textContent.trim().slice(0, 30)}: ${ratio.toFixed(2)}`);
  }
  return poor;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_text_has_the_contrast_of_wcag_aa_by_day_and_by_night(
    alarmed: RunningConsole, browser: Browser, scheme: str
) -> None:
    page = await visit(browser, alarmed)
    await page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    assert await page.evaluate(CONTRAST) == []


async def test_english_is_one_link_away(alarmed: RunningConsole, browser: Browser) -> None:
    page = await visit(browser, alarmed)
    await page.get_by_role("link", name="English").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Flood alarm level 3 at Phú Ốc")
    await expect(page.locator("#link")).to_have_text("Live", timeout=LIVE_MS)


async def test_without_scripts_the_page_says_all(alarmed: RunningConsole, browser: Browser) -> None:
    context = await browser.new_context(java_script_enabled=False, locale="vi-VN")
    page = await context.new_page()
    await page.goto(alarmed.url)
    await expect(page.get_by_role("heading", level=1)).to_have_text("Báo động 3 tại Phú Ốc")
    assert "Tự tải lại mỗi 15 giây" in await page.locator("#link").inner_text()
