"""The console as a service: its parts put together, and the order in which they come up."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator
from importlib.metadata import version

import uvicorn

from keng_console import desk
from keng_console.answers import answers
from keng_console.board import Board
from keng_console.cap.exchange import Exchange
from keng_console.database import Database
from keng_console.desk import Desk
from keng_console.listener import Listener
from keng_console.live import MAX_PLAYBACK, Live
from keng_console.overview import overview
from keng_console.owner import Owner
from keng_console.pages import Pages, Rendering
from keng_console.readings import Readings
from keng_console.settings import ConsoleSettings, require_loopback
from keng_console.speakers.announcer import Announcer
from keng_console.speakers.plans import Plans
from keng_console.speakers.programmer import Programmer
from keng_console.speakers.sender import Speakers
from keng_console.speakers.voice import Voices
from keng_console.speakers.web import router as voice_page
from keng_console.talk import NAME
from keng_console.teller import Teller
from keng_console.views import Overview
from keng_console.web import Health, asset, create_app
from keng_contracts.errors import Problem
from keng_runtime import service
from keng_runtime.clock import new_boot_id, now_ms
from keng_runtime.mqtt import Link

log = logging.getLogger(__name__)

#: What the broker keeps for us while we are away, in seconds: a day of evidence and alerts.
SESSION_S = 86_400
#: A message of a live voice is a frame or a few of them.
MAX_WEBSOCKET_BYTES = 1 << 16
#: The page is drawn again this often for what only time changes, and no more often than SHORTEST_S for news.
REDRAW_S, SHORTEST_S = 1.0, 0.25


class Console:
    """Everything that one console has, for use inside one event loop."""

    def __init__(self, settings: ConsoleSettings, link: Link, database: Database) -> None:
        self._settings = settings
        self._link = link
        self._database = database
        self._news = asyncio.Event()
        self._database_answers = True
        self.live = Live()
        self.owner = Owner(settings.registry_file, database, link.credentials.signing_key(), self._registry_changed)
        self.readings = Readings(settings.store, self.live, settings.chart_hours)
        self.teller = Teller(link, link.credentials.signing_key(), database, self.live, self._news.set)
        key = link.credentials.signing_key()
        self.programmer = Programmer(Plans(database.engine), link, key, settings.programme, lambda: self.owner.current)
        self.speakers = Speakers(link, key, database.engine, self.live)
        voices = Voices(link, self.speakers, self.live)
        self.exchange = Exchange(settings.cap, link.credentials, self.speakers, self.live, database, self._news.set)
        bulletins = self.exchange.bulletins
        announcer = Announcer(self.speakers, self.live, bulletins)
        self.desk = Desk(
            answers(self.teller, database, self.programmer, voices, announcer, bulletins, lambda: self.owner.current)
        )
        self.listener = Listener(link, self.live, database, self._news.set, self.teller.heard, announcer.played)
        self._pages = Pages(asset)
        self.board = Board(new_boot_id(), self._render)
        self.app = create_app(
            self._pages, self.board, self.view, self.health, database.recent_playback, version("keng-console")
        )
        self.app.include_router(self.exchange.routes)
        self.app.include_router(voice_page(voices, self._pages, lambda: self.live.registry, settings.cap.public_url))
        for node, event in database.recent_playback(MAX_PLAYBACK):
            self.live.played(node, event)
        self._registry_changed()

    def view(self) -> Overview:
        """The overview now."""
        self.live.broker_connected = self._link.connected
        return overview(
            self.live,
            now_ms(),
            chart_hours=self._settings.chart_hours,
            time_lapse=self._settings.time_lapse,
            registry_fault=str(self.owner.fault or ""),
            registry_taken_ms=self.owner.taken_ms or None,
        )

    def health(self) -> Health:
        connected, readable, answers = self._link.connected, self.live.store_readable, self._database_answers
        registry = self.live.registry
        return Health(
            ok=connected and readable and answers and registry is not None,
            broker_connected=connected,
            store_readable=readable,
            database_answers=answers,
            registry_version=registry.version if registry else None,
        )

    async def run(self, stop: asyncio.Event, listening: socket.socket, door: socket.socket) -> None:
        """Serve the pages and the desk until told to stop."""
        server = _Server(
            uvicorn.Config(
                self.app,
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                ws_max_size=MAX_WEBSOCKET_BYTES,
            )
        )
        try:
            await service.until(
                stop,
                self.owner.watch(self._link),
                self._hear(),
                self.listener.keep_evidence(),
                self.teller.keep_answers(),
                self.desk.serve(door),
                self.programmer.keep(),
                self.speakers.run(),
                *self.exchange.jobs(),
                self._read_store(),
                self._redraw(),
                self._check_database(),
                _serve(server, listening, self.board),
            )
        finally:
            self.readings.close()

    async def _hear(self) -> None:
        """Once it is known which commune this is."""
        await self.owner.ready.wait()
        assert self.owner.current is not None
        await self.listener.listen(self.owner.current.commune.id)

    async def _read_store(self) -> None:
        await self.owner.ready.wait()
        await self.readings.follow()

    async def _redraw(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REDRAW_S):
                    await self._news.wait()
            self._news.clear()
            try:
                self.board.refresh_watched()
            except Exception:  # a fault of ours in drawing must not end the receipts of evidence
                log.exception("the page can't be drawn")
            await asyncio.sleep(SHORTEST_S)

    async def _check_database(self) -> None:
        while True:
            self._database_answers = await asyncio.to_thread(self._database.check)
            await asyncio.sleep(10)

    def _registry_changed(self) -> None:
        if self.owner.current is not None and self.owner.current is not self.live.registry:
            self.live.adopt(self.owner.current)
        self._news.set()

    def _render(self, language: str) -> Rendering:
        return self._pages.render(self.view(), language)


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the service has its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _serve(server: uvicorn.Server, listening: socket.socket, board: Board) -> None:
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        await asyncio.shield(serving)
    finally:
        board.close()  # event streams end by themselves; uvicorn waits for them
        server.should_exit = True
        await serving


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; raises :class:`Problem` when the port is taken or the address is not this machine's."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(100)
    except OSError as error:
        listening.close()
        todo = "choose another port, or end what uses it" if port else "set host to 127.0.0.1"
        raise Problem(
            f"the pages can't be served there ({error.strerror})", where=f"{host}:{port}", todo=todo
        ) from None
    return listening


async def main(settings: ConsoleSettings, stop: asyncio.Event) -> None:
    """The service; ``stop`` ends it."""
    require_loopback(settings.host)
    for chatty in ("uvicorn.error", "alembic.runtime.migration"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    database = await asyncio.to_thread(Database, settings.database)
    try:
        async with Link(settings.broker, session_expiry_s=SESSION_S) as link:
            console = Console(settings, link, database)
            with desk.listen(settings.state / NAME) as door, listen(settings.host, settings.port) as listening:
                port = listening.getsockname()[1]
                name = f"[{settings.host}]" if ":" in settings.host else settings.host
                log.info("the page is at http://%s:%d/", name, port)
                service.notify("READY=1")
                await console.run(stop, listening, door)
    finally:
        database.close()
