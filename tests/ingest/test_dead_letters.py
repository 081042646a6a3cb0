"""Dead letters: kept in bounds, shown, replayed after a fix, dropped."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from keng_contracts.errors import Problem
from keng_contracts.telemetry import Flag
from keng_ingest.cli import cli
from keng_ingest.dead_letters import DeadLetters, local_time
from keng_ingest.replay import replay
from keng_ingest.sort import DeadLetter, Rules, kind_of, sort
from keng_signals.derived import Plan
from keng_store.protocol import Row, RowRefused
from keng_store.sqlite import SqliteStore
from tests.ingest.test_sort import NOW, RULES, TOPIC, level, pack
from tests.support.broker import credentials
from tests.support.registry import LEVEL, sample

STRANGER = Rules.of(sample(sensors=[{"id": "phu-oc/level", "name": "x", "node": "tram-khac", "unit": "m"}]))


@pytest.fixture
def table(tmp_path: Path) -> DeadLetters:
    return DeadLetters(tmp_path / "dead-letters.sqlite")


@pytest.fixture
def store(tmp_path: Path) -> SqliteStore:
    return SqliteStore(tmp_path / "readings.sqlite")


def bury(table: DeadLetters, *messages: tuple[str, bytes], rules: Rules = STRANGER, now: int = NOW) -> None:
    table.keep(sort(messages, rules, {}, now).dead, now)


def test_after_the_registry_is_mended_a_replay_stores_the_readings(table: DeadLetters, store: SqliteStore) -> None:
    bury(table, (TOPIC, pack(level(3.0), level(3.1, NOW + 1000))))
    [letter] = table.list()
    assert letter.reason.startswith("unknown node")
    assert [(one.stored, one.reason) for one in replay([letter], table, store, RULES, Plan(), NOW)] == [(2, "")]
    assert [row.value for row in store.range(LEVEL, 0, 2**42)] == [3.0, 3.1]
    assert table.list() == []


def test_what_is_still_wrong_stays_with_the_reason_of_today(table: DeadLetters, store: SqliteStore) -> None:
    bury(table, (TOPIC, pack(level(3.0)).replace(b"3.0", b'"x"')))
    [done] = replay(table.list(), table, store, RULES, Plan(), NOW)
    assert (done.stored, done.reason) == (0, "record 0: v is not a number")
    assert [letter.reason for letter in table.list()] == [done.reason]


def test_a_dry_run_changes_nothing(table: DeadLetters, store: SqliteStore) -> None:
    bury(table, (TOPIC, pack()))
    assert [one.stored for one in replay(table.list(), table, None, RULES, Plan(), NOW)] == [1]
    assert len(table.list()) == 1
    assert store.counts("quang-tho") == {}


def test_a_row_that_the_store_refused_is_tried_again(table: DeadLetters, store: SqliteStore) -> None:
    table.keep([DeadLetter(LEVEL, f"{NOW} 4.57 1".encode(), "store: field type conflict", 1)], NOW)
    list(replay(table.list(), table, store, RULES, Plan(), NOW))
    assert store.range(LEVEL, 0, 2**42) == [Row(LEVEL, NOW, 4.57, Flag.GOOD)]
    assert table.list() == []


def test_what_the_store_refuses_again_stays(
    table: DeadLetters, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> None:
        raise RowRefused("out of range")

    monkeypatch.setattr(store, "write", refuse)
    bury(table, (TOPIC, pack()))
    [done] = replay(table.list(), table, store, RULES, Plan(), NOW)
    assert (done.stored, done.reason) == (0, "store: out of range")
    assert len(table.list()) == 1


def test_the_table_never_grows_beyond_its_bound_and_the_oldest_go(tmp_path: Path) -> None:
    table = DeadLetters(tmp_path / "dead-letters.sqlite", max_bytes=10_000)
    for number in range(50):
        table.keep([DeadLetter(TOPIC, b"%04d" % number * 250, "not JSON", 0)], NOW + number)
    kept = table.list()
    assert sum(letter.size for letter in kept) <= 10_000
    assert kept[-1].last_ms == NOW + 49
    assert table.dropped == 50 - len(kept)


def test_every_reason_is_counted_under_a_few_words() -> None:
    dead = sort([("x", b""), (TOPIC, b"\xff"), (TOPIC, b"[]"), (TOPIC, pack())], STRANGER, {}, NOW).dead
    assert [letter.kind for letter in dead] == ["topic", "not a pack", "not a pack", "unknown node"]
    assert kind_of("more than 10000 records") == "too large"


def test_the_command_line_lists_shows_replays_and_drops(tmp_path: Path) -> None:
    table = DeadLetters(tmp_path / "dead-letters.sqlite")
    bury(table, (TOPIC, pack()), (TOPIC, b"\xff no pack"))
    bury(table, (TOPIC, b"\xff no pack"), now=NOW + 3_600_000)
    settings = tmp_path / "ingest.toml"
    settings.write_text(
        f'state = "{tmp_path}"\n[broker]\ncredentials = "{credentials() / "ingest"}"\n'
        f'[store]\nurl = "sqlite:///{tmp_path / "readings.sqlite"}"\n'
    )

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(cli, ["dead-letters", *arguments, "--settings", str(settings)])
        assert result.exit_code == 0, result.output
        return result.stdout

    listed = [json.loads(line) for line in run("list", "--json").splitlines()]
    pack_id, other_id = (str(letter["id"]) for letter in listed)
    assert [(letter["times"], letter["last_ms"] - letter["first_ms"]) for letter in listed] == [(1, 0), (2, 3_600_000)]
    assert f"{local_time(NOW)} … {local_time(NOW + 3_600_000)}  ×2        9 B  {TOPIC}\n        not JSON" in run("list")
    assert run("show", pack_id).encode() == pack()
    assert "1 readings would be stored, 1 of 2 dead letters would be done with." in run("replay", "--all", "--dry-run")
    assert "1 readings stored, 1 of 1 dead letters done with." in run("replay", pack_id)
    assert "1 dead letters would be dropped." in run("drop", "--all", "--dry-run")
    assert "1 dead letters dropped." in run("drop", other_id)
    assert "No dead letters." in run("list")
    assert SqliteStore(tmp_path / "readings.sqlite").counts("quang-tho") == {LEVEL: 1}


def test_where_no_ingest_has_run_no_table_is_made_and_the_place_is_told(tmp_path: Path) -> None:
    settings = tmp_path / "ingest.toml"
    settings.write_text(f'state = "{tmp_path}"\n')
    result = CliRunner().invoke(cli, ["dead-letters", "list", "--settings", str(settings)])
    assert result.exit_code == 2
    assert f"{tmp_path / 'dead-letters.sqlite'}: there is no dead-letter table" in result.output
    assert not (tmp_path / "dead-letters.sqlite").exists()


def test_a_table_that_is_damaged_is_moved_aside_and_one_that_is_forbidden_is_not(tmp_path: Path) -> None:
    damaged = tmp_path / "dead-letters.sqlite"
    damaged.write_bytes(b"no database" * 100)
    with pytest.raises(Problem, match="move it aside"):
        DeadLetters(damaged)
    with pytest.raises(Problem, match=r"unable to open database file\); check owner and mode"):
        DeadLetters(tmp_path)
