"""Operational data: one suite for both databases; PostgreSQL runs where its server is installed."""

from __future__ import annotations

import getpass
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.orm import Session

from keng_console.cap.judge import Known, Received
from keng_console.cap.message import Reference
from keng_console.cap.records import MAX_UNPROVEN, Records
from keng_console.database import UNREADABLE, Database, DatabaseUnavailable, Evidence
from keng_console.models import Base
from keng_console.orders import Answer, Told
from keng_contracts.edge_commands import Identify, Reload, SetInterval
from keng_contracts.errors import Problem
from keng_contracts.playback import PlaybackEvent, What
from keng_contracts.telemetry import Clock
from tests.support.processes import free_port

BOOT = "0123456789abcdef"


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A PostgreSQL server of the run's own, as a user that it accepts to run under."""
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not binaries or importlib.util.find_spec("psycopg") is None:
        pytest.skip("PostgreSQL or psycopg is not installed; SQLite, the default, is tested")
    user = "postgres" if os.geteuid() == 0 else getpass.getuser()
    prefix = ["runuser", "-u", user, "--"] if os.geteuid() == 0 else []
    folder = Path(tempfile.mkdtemp(prefix="keng-postgres-"))
    shutil.chown(folder, pwd.getpwnam(user).pw_uid)
    port = free_port()
    control = [*prefix, str(binaries[-1] / "pg_ctl"), "-D", str(folder / "data"), "-s", "-w"]
    quiet: dict[str, Any] = {"check": True, "stdout": subprocess.DEVNULL, "cwd": "/"}
    try:
        initdb = [*prefix, str(binaries[-1] / "initdb"), "-D", str(folder / "data"), "-U", "keng", "-A", "trust"]
        subprocess.run([*initdb, "-E", "UTF8", "--no-sync"], **quiet)
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
        subprocess.run([*control, "-o", options, "-l", str(folder / "log"), "start"], **quiet)
        yield f"postgresql+psycopg://keng@127.0.0.1:{port}"
        subprocess.run([*control, "-m", "immediate", "stop"], **quiet)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'console.sqlite'}"
        return
    server = request.getfixturevalue("postgres")
    admin = create_engine(f"{server}/postgres", isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text("DROP DATABASE IF EXISTS keng"))
        connection.execute(text("CREATE DATABASE keng"))
    yield f"{server}/keng"
    admin.dispose()


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    opened = Database(url)
    yield opened
    opened.close()


def evidence(seq: int, node: str = "loa-phuoc-yen", **more: Any) -> Evidence:
    fields = {"boot": BOOT, "seq": seq, "at_ms": 1000 + seq, "clock": Clock.SYNCED, "what": What.STARTED, "play": "p"}
    event = PlaybackEvent(**{**fields, **more})
    return Evidence(node, event.boot, event.seq, event, event.to_bytes(), 5000)


def test_migrations_make_from_nothing_exactly_what_the_models_say(url: str) -> None:
    Database(url).close()
    Database(url).close()  # and find nothing to do the second time
    engine = create_engine(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    ours = {"registry_version", "playback_event", "edge_order", "edge_answer"}
    ours |= {"cap_issued", "cap_received", "speaker_order", "programme_plan"}
    assert ours | {"alembic_version"} == set(inspect(engine).get_table_names())
    engine.dispose()


def test_an_event_that_comes_twice_is_kept_once(database: Database) -> None:
    database.keep_playback([evidence(1), evidence(2)])
    database.keep_playback([evidence(2, play="other"), evidence(3)])
    kept = [(node, event.seq, event.play) for node, event in database.recent_playback(10)]
    assert kept == [("loa-phuoc-yen", 1, "p"), ("loa-phuoc-yen", 2, "p"), ("loa-phuoc-yen", 3, "p")]


def test_the_newest_events_of_every_node_come_back_in_order(database: Database) -> None:
    database.keep_playback([evidence(seq, node) for seq in range(30) for node in ("loa-a", "loa-b")])
    kept = database.recent_playback(3)
    assert [event.seq for node, event in kept if node == "loa-b"] == [27, 28, 29]
    assert len(kept) == 6


def test_an_event_that_is_not_understood_is_kept_as_it_came_and_not_shown(database: Database) -> None:
    odd = Evidence("loa-a", BOOT, 7, None, b'{"boot":"0123456789abcdef","seq":7,"what":"sung"}', 5000)
    database.keep_playback([odd, evidence(8, "loa-a", play="nul\0byte", reason="Lũ")])
    assert [event.seq for _, event in database.recent_playback(10)] == [8]
    with database._engine.connect() as connection:
        rows = connection.execute(text("SELECT what, play, payload FROM playback_event ORDER BY seq")).all()
    assert rows[0] == (UNREADABLE, "", '{"boot":"0123456789abcdef","seq":7,"what":"sung"}')
    assert rows[1][1] == "nulbyte"


def test_registry_versions_are_kept_and_the_newest_holds(database: Database) -> None:
    assert database.registry_in_force() is None
    for version in (1, 20251117001, 2):
        database.keep_registry(version, f'{{"version": {version}}}', 123)
    kept = database.registry_in_force()
    assert kept is not None and (kept.version, kept.taken_ms) == (20251117001, 123)
    with pytest.raises(DatabaseUnavailable):
        database.keep_registry(2, "again", 124)


def test_a_counter_is_never_used_twice_and_stays_above_the_clock(database: Database, url: str) -> None:
    def keep(jti: str, now_ms: int) -> int:
        return database.keep_order(jti, "tram-a", Identify(), "lan", now_ms, BOOT).ctr

    assert [keep("a" * 8, 5000), keep("b" * 8, 5000), keep("c" * 8, 10)] == [5000, 5001, 5002]
    again = Database(url)
    assert again.keep_order("d" * 8, "tram-b", Identify(), "lan", 20, BOOT).ctr == 5003
    again.close()


def test_an_order_is_kept_with_its_answers_and_a_refusal_of_nobodys_order_beside_it(database: Database) -> None:
    order = database.keep_order("a" * 8, "tram-a", SetInterval(sensor="mua", interval_s=None), "lan", 5000, BOOT)
    database.keep_order("b" * 8, "tram-b", Reload(), "root", 6000, BOOT)
    done = Answer("tram-a", "a" * 8, 1, 5100, True, "mua: as set\0")
    forged = Answer("tram-a", "", 2, 5200, False, "refused: replayed")
    assert [database.keep_answer(one) for one in (done, forged, forged)] == [True, True, False]
    assert not database.keep_answer(replace(done, at_ms=3, jti="c" * 8)), "no order of ours"
    assert not database.keep_answer(replace(done, at_ms=3, node="tram-b")), "an order to another node"
    told, refused = database.orders(10, "tram-a")
    assert told == [Told(order, (replace(done, detail="mua: as set"),))]
    assert refused == [forged]
    assert {one.order.node for one in database.last_orders()} == {"tram-a", "tram-b"}


def test_what_came_in_is_known_again_if_it_was_proven_and_what_was_not_is_kept_in_bounds(database: Database) -> None:
    records = Records(database.engine)
    row = Received(
        1,
        "test",
        "tinh",
        "a@b",
        "id-1",
        "2025-11-17T03:00:00+07:00",
        "Alert",
        "played",
        "",
        "khan-cap",
        "toan-xa,ven-song",
        "cap-1",
        "Lũ",
        "<alert/>",
    )
    rows = [row, row._replace(identifier="id-2")]
    for number in range(MAX_UNPROVEN + 20):
        rows.append(row._replace(signer="", verdict="unsigned", identifier=f"id-{number}\0", play=""))
    for one in rows:
        with Session(database.engine) as session, session.begin():
            records.keep_received(session, one)
    name = Reference("a@b", "id-1", "2025-11-17T03:00:00+07:00")
    assert records.known([name]) == {name: Known("tinh", "cap-1", ("toan-xa", "ven-song"))}
    assert len(records.received(10_000, proven=False)) == MAX_UNPROVEN
    assert [row.identifier for row in records.received(10_000, proven=True)] == ["id-2", "id-1"]


def test_a_database_that_is_locked_keeps_nothing_and_says_so(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'console.sqlite'}"
    database = Database(url)
    with database._engine.connect() as quick:
        quick.exec_driver_sql("PRAGMA busy_timeout=0")
        other = create_engine(url)
        with other.connect() as holder:
            holder.exec_driver_sql("BEGIN EXCLUSIVE")
            quick.close()
            with pytest.raises(DatabaseUnavailable, match="locked"):
                database.keep_playback([evidence(1)])
            holder.rollback()
        other.dispose()
    assert database.recent_playback(5) == []
    database.close()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nonsense", "is no usable database URL"),
        ("mysql+pymysql://x/y", "is no usable database URL"),
        ("sqlite:////proc/none/console.sqlite", "unable to open database file"),
    ],
)
def test_a_database_that_can_not_be_used_says_why(url: str, said: str) -> None:
    with pytest.raises(Problem, match=said):
        Database(url)


def test_a_password_in_the_url_is_never_told() -> None:
    with pytest.raises(Problem) as caught:
        Database(f"postgresql+psycopg://keng:tiger@127.0.0.1:{free_port()}/keng")
    assert "tiger" not in str(caught.value)
