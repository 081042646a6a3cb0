"""What an operator sees of a measuring node: a real agent, a real broker, the page in a real browser."""

from __future__ import annotations

import asyncio
import re
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from tests.support.broker import RunningBroker
from tests.support.browser import LIVE_MS, visit
from tests.support.console import RunningConsole, running_console
from tests.support.edge import NODE, bus, ingest, outbox, slave, start_edge
from tests.support.modbus_slave import ModbusSlaves
from tests.support.processes import until
from tests.support.services import command

pytestmark = pytest.mark.browser

ARTEFACTS = Path(__file__).parents[2] / "artefacts"
LINES = 4


def buses(slaves: list[ModbusSlaves]) -> str:
    """Fast lines of seven quantities each, to fill a small outbox in seconds."""
    return "".join(
        bus(f"bus-{n}", one.port, slave(f"dat-{n}", "soil-7in1-a", 1, f"ruong-{n}", 0.05), baud=115_200)
        for n, one in enumerate(slaves)
    )


async def say(folder: Path) -> dict[str, Any]:
    return await asyncio.to_thread(outbox, folder)


async def dropped(page: Page) -> int:
    """How many readings the page says were dropped; 0 when it says nothing of it."""
    found = re.search(r"([\d.]+) số liệu đã bị bỏ khi chưa gửi được", await page.locator("#nodes").inner_text())
    return int(found[1].replace(".", "")) if found else 0


async def test_every_drop_of_an_outbox_that_overflows_is_counted_published_and_seen(
    broker: RunningBroker, tmp_path: Path, browser: Browser
) -> None:
    edge_folder = tmp_path / "edge"
    edge_folder.mkdir()
    with ExitStack() as stack:
        registers = {(1, 3): {number: 100 + number for number in range(40)}}
        slaves = [stack.enter_context(ModbusSlaves(tmp_path / f"bus-{n}", registers)) for n in range(LINES)]
        console = stack.enter_context(running_console(broker, tmp_path))
        page = await visit(browser, console)
        more = "outbox_max_mb = 0.25\ncommit_readings = 50\n"
        edge = stack.enter_context(start_edge(broker, edge_folder, buses(slaves), more))
        nodes = page.locator("#nodes")
        await expect(nodes).to_contain_text("trực tuyến", timeout=LIVE_MS)
        await expect(nodes).to_contain_text("số liệu đang chờ lưu", timeout=LIVE_MS)  # there is no ingest yet

        await asyncio.to_thread(edge.says, "connected to")
        broker.kill()
        await expect(page.locator("#notices")).to_contain_text("mất kết nối với máy chủ tin", timeout=LIVE_MS)
        while not (await say(edge_folder))["dropped"]:
            assert edge.running
        broker.start()
        async with ingest(broker, receipting=True) as stored:
            for one in slaves:
                one.pull_out()
            await until(lambda: drained(edge_folder), within=40, what="the rest is stored")
            told = await say(edge_folder)
            await expect(nodes).to_contain_text("mọi số liệu đã được lưu", timeout=LIVE_MS)
            assert await dropped(page) == told["dropped"] > 0
            kept = sum(len(times) for times in stored.rows().values())
            assert told["committed"] == kept + told["dropped"], "nothing is missing that was not counted"

            await expect(nodes).to_contain_text("dat-0:")
            await tell(console, "interval", "dat-0", "2")
            await expect(nodes).to_contain_text("đo dat-0 mỗi 2 giây – đã làm", timeout=LIVE_MS)
            await picture(page, "measuring-node.png", 1440)
            await picture(page, "measuring-node-phone.png", 360)
            assert page.complaints == []  # type: ignore[attr-defined]

        edge.kill()
        await expect(nodes).to_contain_text("mất liên lạc", timeout=60_000)
        assert await dropped(page) == told["dropped"], "its last will knows of no drops; its own last word stays"


async def drained(folder: Path) -> bool:
    return (await say(folder))["readings"] == 0


async def tell(console: RunningConsole, *words: str) -> None:
    line = [command("keng-console"), "tell", NODE, *words, "--settings", console.folder / "console.toml"]
    await asyncio.to_thread(subprocess.run, line, check=True, timeout=60)


async def picture(page: Page, name: str, width: int) -> None:
    """Nothing is wider than the screen; the picture is kept for people to look at."""
    await page.set_viewport_size({"width": width, "height": 780})
    assert await page.evaluate("document.documentElement.scrollWidth") <= width
    ARTEFACTS.mkdir(exist_ok=True)
    await page.locator("#nodes").screenshot(path=ARTEFACTS / name)
