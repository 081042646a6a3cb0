"""A real browser on a console's page."""

from __future__ import annotations

import os

from playwright.async_api import Browser, Page, expect

from tests.support.console import RunningConsole

CHROMIUM = os.environ.get("KENG_CHROMIUM", "/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
#: What the page may take to show what came, in ms.
LIVE_MS = 20_000


async def visit(
    browser: Browser, console: RunningConsole, width: int = 1440, height: int = 900, path: str = "/"
) -> Page:
    """The page, open and live; what the browser complains about is collected in ``page.complaints``."""
    page = await browser.new_page(viewport={"width": width, "height": height}, locale="vi-VN")
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.complaints = complaints  # type: ignore[attr-defined]
    await page.goto(console.url + path)
    await expect(page.locator("#link")).to_have_text("Trực tiếp" if "en" not in path else "Live", timeout=LIVE_MS)
    return page
