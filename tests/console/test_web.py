"""The pages over HTTP: headers, languages, caching, health. The service itself is tested as a process."""

from __future__ import annotations

import gzip
import json

import httpx
import pytest

from keng_console.board import Board
from keng_console.live import Live
from keng_console.overview import overview
from keng_console.pages import Pages
from keng_console.settings import require_loopback
from keng_console.views import Overview
from keng_console.web import Health, asset, create_app
from keng_contracts.errors import Problem
from keng_contracts.playback import PlaybackEvent, What
from keng_contracts.telemetry import Clock, Flag
from keng_store.protocol import Row
from tests.support.registry import LEVEL, sample

NOW = 1_763_345_000_000


@pytest.fixture
def client() -> httpx.AsyncClient:
    live = Live()
    live.adopt(sample())
    live.broker_connected = True
    live.tracks[LEVEL].hear(Row(LEVEL, NOW, 1.2, Flag.GOOD))
    pages = Pages(asset)

    def view() -> Overview:
        return overview(live, NOW, chart_hours=48)

    def evidence(each: int) -> list[tuple[str, PlaybackEvent]]:
        event = PlaybackEvent(boot="0123456789abcdef", seq=each, at_ms=NOW, clock=Clock.SYNCED, what=What.STARTED)
        return [("loa-phuoc-yen", event)]

    board = Board("boot", lambda language: pages.render(view(), language))
    app = create_app(pages, board, view, lambda: Health(False, True, False, True, 1), evidence, "0.1.0")
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:8080")


@pytest.mark.parametrize("path", ["/", "/healthz", "/api/overview", asset("console.css"), "/no-such-page"])
async def test_every_answer_has_the_strict_policy(client: httpx.AsyncClient, path: str) -> None:
    headers = (await client.get(path)).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == policy["img-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"


async def test_vietnamese_is_the_default_and_english_can_be_had(client: httpx.AsyncClient) -> None:
    assert 'lang="vi"' in (await client.get("/")).text
    assert 'lang="en"' in (await client.get("/?lang=en")).text
    from_an_english_browser = await client.get("/", headers={"Accept-Language": "en-GB,en;q=0.8"})
    assert from_an_english_browser.headers["content-language"] == "vi"
    assert 'lang="vi"' in (await client.get("/?lang=en%22%3E")).text


async def test_static_files_are_cached_by_their_digest_and_revalidated_without(client: httpx.AsyncClient) -> None:
    for name in ("console.css", "console.js", "icon.svg"):
        assert f'"{asset(name)}"' in (await client.get("/")).text
        assert (await client.get(asset(name))).headers["cache-control"] == "public, max-age=31536000, immutable"
        plain = await client.get(f"/static/{name}")
        assert plain.headers["cache-control"] == "no-cache"
        again = await client.get(f"/static/{name}", headers={"If-None-Match": plain.headers["etag"]})
        assert again.status_code == 304
    assert (await client.get("/static/../settings.py")).status_code == 404
    assert (await client.get("/")).headers["cache-control"] == "no-store"


async def test_the_page_is_compressed_for_who_asks(client: httpx.AsyncClient) -> None:
    async with client.stream("GET", "/", headers={"Accept-Encoding": "gzip"}) as answer:
        raw = b"".join([piece async for piece in answer.aiter_raw()])
    assert answer.headers["content-encoding"] == "gzip"
    assert "Kẻng" in gzip.decompress(raw).decode() and len(raw) < 6_000


async def test_another_site_s_name_for_this_machine_is_refused(client: httpx.AsyncClient) -> None:
    assert (await client.get("/", headers={"Host": "evil.example"})).status_code == 400
    assert (await client.get("/", headers={"Host": "localhost:9000"})).status_code == 200
    assert (await client.get("/", headers={"Host": "[::1]:8080"})).status_code == 200


async def test_without_scripts_the_page_renews_itself(client: httpx.AsyncClient) -> None:
    assert '<noscript><meta http-equiv="refresh" content="15"></noscript>' in (await client.get("/")).text


async def test_the_same_as_data_and_documented(client: httpx.AsyncClient) -> None:
    data = (await client.get("/api/overview")).json()
    assert data["headline"]["situation"] == "calm"
    gauge = data["gauges"][0]
    assert gauge["sensor"]["reading"] == {"value": 1.2, "time_ms": NOW, "flag": 1}
    assert [t["value"] for t in gauge["thresholds"]] == [1.5, 3.0, 4.5]
    paths = (await client.get("/openapi.json")).json()["paths"]
    assert set(paths) == {"/api/overview", "/api/playback", "/healthz"}
    assert "GaugeView" in json.dumps((await client.get("/openapi.json")).json())


async def test_evidence_can_be_had_as_data(client: httpx.AsyncClient) -> None:
    rows = (await client.get("/api/playback?each=7")).json()
    assert [(row["speaker"], row["event"]["seq"], row["event"]["what"]) for row in rows] == [
        ("loa-phuoc-yen", 7, "started")
    ]
    assert (await client.get("/api/playback?each=0")).status_code == 422


async def test_health_says_what_is_missing(client: httpx.AsyncClient) -> None:
    answer = await client.get("/healthz")
    assert answer.status_code == 503
    assert answer.json() == {
        "ok": False,
        "broker_connected": True,
        "store_readable": False,
        "database_answers": True,
        "registry_version": 1,
    }


async def test_documentation_pages_that_load_from_elsewhere_are_off(client: httpx.AsyncClient) -> None:
    assert (await client.get("/docs")).status_code == (await client.get("/redoc")).status_code == 404


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.5", "::1", "localhost"])
def test_loopback_is_allowed(host: str) -> None:
    require_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org", ""])
def test_what_others_could_reach_is_refused_with_the_way_out(host: str) -> None:
    with pytest.raises(Problem, match=r"operators can't log in yet.*set host to 127\.0\.0\.1.*ssh -L"):
        require_loopback(host)
