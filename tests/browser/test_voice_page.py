"""Somebody speaks into a browser, and a real loudspeaker says it: the page behind a one-time address."""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, async_playwright, expect
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.support import services
from tests.support.broker import COMMUNE, RunningBroker
from tests.support.browser import ARGUMENTS, CHROMIUM
from tests.support.console import RunningConsole, running_console
from tests.support.processes import eventually
from tests.support.services import command

pytestmark = pytest.mark.browser
NODE = "loa-phuoc-yen"
ARTEFACTS = Path(__file__).parents[2] / "artefacts"
#: The browser's own microphone that is none: it beeps once a second.
MICROPHONE = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]


@pytest.fixture
async def speaking_browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=CHROMIUM, args=[*ARGUMENTS, *MICROPHONE])
        yield chromium
        await chromium.close()


@pytest.fixture
def console(broker: RunningBroker, tmp_path: Path) -> Iterator[RunningConsole]:
    """With one loudspeaker that is there."""
    node = services.settings(
        broker, NODE, tmp_path / NODE, f'commune = "{COMMUNE}"\ndevice = "null"\nclock = "trusted"\n'
    )
    with (
        running_console(broker, tmp_path, '[cap]\npublic_url = "https://keng.example.vn"\n') as running,
        services.start("keng-loudspeaker", NODE, tmp_path, node),
    ):
        eventually(lambda: [s["state"] for s in running.overview()["speakers"]].count("online") == 1, within=30)
        yield running


async def address(console: RunningConsole, *more: str) -> str:
    """What ``keng console speak --link`` prints, at the port that this console has."""
    line = [command("keng-console"), "speak", "--to", NODE, "--link", "--night", "Trần Thị Lan", *more]
    line += ["--settings", console.folder / "console.toml"]
    ran = await asyncio.to_thread(subprocess.run, line, capture_output=True, text=True, check=True, timeout=30)
    return console.url + re.findall(r"/voice/\S+", ran.stdout)[0]


async def sound_of(console: RunningConsole) -> str:
    return (await address(console, "--no-gong")).replace("http", "ws") + "/sound"


async def visit(browser: Browser, url: str) -> Page:
    page = await browser.new_page(viewport={"width": 360, "height": 740}, locale="vi-VN")
    page.complaints = []  # type: ignore[attr-defined]
    page.on("console", lambda said: page.complaints.append(said.text) if said.type == "error" else None)  # type: ignore[attr-defined]
    page.on("pageerror", lambda error: page.complaints.append(str(error)))  # type: ignore[attr-defined]
    await page.goto(url)
    return page


async def test_a_person_speaks_into_a_browser_and_sees_which_loudspeakers_sounded(
    console: RunningConsole, speaking_browser: Browser
) -> None:
    page = await visit(speaking_browser, await address(console, "--no-gong"))
    await expect(page.get_by_role("status")).to_have_text("Chưa bấm nút thì chưa ai nghe.")
    await page.get_by_role("button", name="Bắt đầu nói").click()
    await expect(page.get_by_role("status")).to_have_text("Đang phát. Nói đi.")
    await expect(page.locator("#heard")).to_contain_text("đang phát", timeout=20_000)
    await page.screenshot(path=ARTEFACTS / "voice-phone.png")
    await page.get_by_role("button", name="Kết thúc").click()
    await expect(page.locator("#heard")).to_contain_text(re.compile(r"đã phát xong, −[\d,]+ dBFS"), timeout=20_000)
    await expect(page.get_by_role("status")).to_have_text("Đã dừng.")
    assert page.complaints == []  # type: ignore[attr-defined]


async def test_an_address_is_for_one_person_once(console: RunningConsole, speaking_browser: Browser) -> None:
    url = await address(console, "--no-gong")
    first, second = await visit(speaking_browser, url), await visit(speaking_browser, url)
    await first.get_by_role("button").click()
    await expect(first.get_by_role("status")).to_have_text("Đang phát. Nói đi.")
    await second.get_by_role("button").click()
    await expect(second.get_by_role("status")).to_have_text("Mất kết nối, không ai nghe nữa. Xin địa chỉ mới.")
    await second.reload()
    await expect(second.get_by_role("heading")).to_have_text("Địa chỉ này không dùng được nữa")
    await first.close()  # whoever closes the page has ended
    eventually(lambda: '"playing":""' in (console.folder / NODE / "status.json").read_text().replace(" ", ""))


async def test_a_page_of_another_site_can_not_use_an_address(console: RunningConsole) -> None:
    sound = await sound_of(console)
    for origin in ("https://example.org", None):
        with pytest.raises(InvalidStatus):
            await asyncio.to_thread(connect, sound, origin=origin)
    page = "/voice/" + sound.split("/")[-2]
    assert console.get(page)[0] == 200, "and it is not used up by that"
    for origin, address_ in ((console.url, sound), ("https://keng.example.vn", await sound_of(console))):
        with await asyncio.to_thread(connect, address_, origin=origin) as socket:
            assert NODE in socket.recv(timeout=20)
