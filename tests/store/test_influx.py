"""What a server can answer, or not answer: only a 204 is success, and nothing is taken as kept before."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from keng_contracts.telemetry import Flag
from keng_store.influx import InfluxStore
from keng_store.protocol import Row, RowRefused, StoreUnavailable
from keng_store.settings import StoreSettings, open_store
from keng_store.writing import write_all
from tests.support.influx import Answer, Call, Fault, Front, RunningInflux
from tests.support.processes import free_port

LEVEL = "quang-tho/phu-oc/level"
NOON = 1_763_258_400_000


def levels(count: int, start_ms: int = NOON) -> list[Row]:
    return [Row(LEVEL, start_ms + i, 1.0 + i / 100, Flag.GOOD) for i in range(count)]


@pytest.fixture
def store(front: Front, database: str) -> Iterator[InfluxStore]:
    with closing(InfluxStore(front.url, database, timeout_s=0.3)) as opened:
        yield opened


def on_write(answer: Answer | Fault) -> Callable[[Call], Answer | Fault | None]:
    return lambda call: answer if call.path == "/write" else None


def row_writes(front: Front) -> list[Call]:
    """The writes of readings; those of marks carry no precision."""
    return [call for call in front.calls if call.path == "/write" and "precision" in call.query]


@pytest.mark.parametrize(
    "answer",
    [
        Answer(500, '{"error":"engine: cache-max-memory-size exceeded"}'),
        Answer(503, "Service Unavailable", {"Content-Type": "text/plain"}),
        Answer(502),
        Answer(429, '{"message":"limit reached"}'),
        Answer(401, '{"code":"unauthorized","message":"unauthorized access"}'),
        Answer(403, '{"error":"forbidden"}'),
        Answer(404, '{"error":"database not found"}'),
        Answer(200, "<html>Log in to the hotel's network</html>"),
        Answer(302, "", {"Location": "http://127.0.0.1:9/"}),
        Fault.HANG,
        Fault.CUT,
        Fault.TAKE_AND_CUT,
    ],
    ids=lambda answer: str(answer.status if isinstance(answer, Answer) else answer.name),
)
def test_any_answer_but_success_keeps_the_rows_with_the_caller(
    store: InfluxStore, front: Front, answer: Answer | Fault
) -> None:
    store.write(levels(3))
    front.rule = on_write(answer)
    with pytest.raises(StoreUnavailable, match="InfluxDB at http"):
        write_all(store, levels(10))
    front.rule = lambda _: None
    assert write_all(store, levels(10)) == []
    assert store.range(LEVEL, 0, 1 << 42) == levels(10), "none lost, none doubled"


@pytest.mark.parametrize(("header", "seconds"), [("7", 7.0), ("", None), ("Fri, 21 Nov 2025 07:28:00 GMT", None)])
def test_a_server_that_asks_for_patience_says_for_how_long(
    store: InfluxStore, front: Front, header: str, seconds: float | None
) -> None:
    front.rule = on_write(Answer(429, "", {"Retry-After": header}))
    with pytest.raises(StoreUnavailable) as told:
        store.write(levels(1))
    assert told.value.retry_after_s == seconds


def test_a_server_that_is_not_up_yet_is_unavailable_and_then_works(influx: RunningInflux) -> None:
    port = free_port()
    with closing(InfluxStore(f"http://127.0.0.1:{port}", "keng")) as store:
        with pytest.raises(StoreUnavailable, match="does not answer"):
            store.write(levels(1))
        with pytest.raises(StoreUnavailable):
            store.latest("quang-tho")


def test_one_bad_line_in_a_batch_is_found_by_halving(store: InfluxStore, front: Front) -> None:
    rows = levels(64)
    culprit = f" {rows[41].time_ms}"

    def refuse(call: Call) -> Answer | None:
        bad = call.path == "/write" and any(line.endswith(culprit) for line in call.body.splitlines())
        return Answer(400, '{"error":"partial write: field type conflict dropped=1"}') if bad else None

    front.rule = refuse
    assert write_all(store, rows) == [(rows[41], "partial write: field type conflict dropped=1")]
    assert store.range(LEVEL, 0, 1 << 42) == rows[:41] + rows[42:]
    assert len(row_writes(front)) == 13  # 1 + 2·log2(64)


def test_a_field_that_someone_else_gave_another_type_is_told_in_the_servers_words(
    influx: RunningInflux, database: str
) -> None:
    influx.query(f'CREATE DATABASE "{database}"')
    influx.write(database, f"reading,commune=x value=1i {NOON}000000")
    with closing(InfluxStore(influx.url, database)) as store:
        refused = write_all(store, levels(2))
    assert [row for row, _ in refused] == levels(2)
    assert "field type conflict" in refused[0][1]


def test_points_of_others_in_the_same_measurement_do_no_harm(influx: RunningInflux, database: str) -> None:
    with closing(InfluxStore(influx.url, database)) as store:
        store.write(levels(1))
        influx.write(database, f"reading,commune=quang-tho,station=phu-oc,quantity=level value=9.5 {NOON + 1}000000")
        assert store.range(LEVEL, 0, 1 << 42)[1:] == [Row(LEVEL, NOON + 1, 9.5, Flag.NOT_EVALUATED)]
        assert store.latest("quang-tho") == {LEVEL: Row(LEVEL, NOON + 1, 9.5, Flag.NOT_EVALUATED)}


def test_a_body_too_large_is_halved_until_it_fits_and_stays_so(store: InfluxStore, front: Front) -> None:
    def at_most_100_lines(call: Call) -> Answer | None:
        too_large = call.path == "/write" and len(call.body.splitlines()) > 100
        return Answer(413, '{"error":"Request Entity Too Large"}') if too_large else None

    front.rule = at_most_100_lines
    store.write(levels(1000))
    assert store.counts("quang-tho") == {LEVEL: 1000}
    front.calls.clear()
    store.write(levels(1000))
    assert all(call.body.count("\n") < 100 for call in front.calls), "it has learnt"


def test_a_single_row_too_large_is_refused(store: InfluxStore, front: Front) -> None:
    front.rule = on_write(Answer(413))
    with pytest.raises(RowRefused):
        store.write(levels(4))


def test_a_database_that_was_dropped_is_made_again(store: InfluxStore, influx: RunningInflux, database: str) -> None:
    store.write(levels(3))
    influx.query(f'DROP DATABASE "{database}"')
    with pytest.raises(StoreUnavailable, match="404"):
        store.write(levels(5))
    store.write(levels(5))
    assert store.counts("quang-tho") == {LEVEL: 5}


@pytest.mark.parametrize(
    "answer",
    [
        Answer(500, '{"error":"timeout"}'),
        Answer(200, '{"results":[{"statement_id":0,"error":"query-timeout limit exceeded"}]}'),
        Answer(200, "<html>Log in to the hotel's network</html>"),
        Answer(200, "{}"),
        Answer(200, "[]"),
        Fault.HANG,
        Fault.CUT,
    ],
    ids=lambda answer: answer.body[:24] if isinstance(answer, Answer) else answer.name,
)
def test_a_query_that_fails_is_unavailable_and_never_an_empty_answer(
    store: InfluxStore, front: Front, answer: Answer | Fault
) -> None:
    store.write(levels(3))
    front.rule = lambda call: answer if call.path == "/query" else None
    for ask in (lambda: store.latest("quang-tho"), lambda: store.range(LEVEL, 0, NOON * 2, 9)):
        with pytest.raises(StoreUnavailable):
            ask()


def test_large_bodies_are_compressed_on_the_way_to_another_machine(front: Front, database: str) -> None:
    with closing(InfluxStore(front.url, database, compress=True)) as store:
        store.write(levels(2000))
        store.write(levels(3))
        assert store.range(LEVEL, 0, 1 << 42) == levels(2000)
    assert [call.headers.get("content-encoding") for call in row_writes(front)] == ["gzip", None]


def test_what_was_written_before_a_kill_is_there_and_nothing_twice() -> None:
    with RunningInflux() as influx, closing(InfluxStore(influx.url, "keng")) as store:
        kept: list[Row] = []
        for round_ in range(3):
            stop = threading.Timer(0.15, influx.kill)
            batch = levels(50, start_ms=NOON + 50 * len(kept))
            while True:
                try:
                    store.write(batch)
                except StoreUnavailable:
                    break
                if stop.ident is None:  # a server that answers is killed, not one that is still starting
                    stop.start()
                kept += batch
                batch = levels(50, start_ms=batch[-1].time_ms + 1)
            stop.join()
            influx.start()
            assert len(kept) > 0, f"nothing was written in round {round_}"
            store.write(batch)  # the one that was under way: there or not, once
            kept += batch
            assert store.range(LEVEL, 0, 1 << 42) == sorted(set(kept))


def test_user_and_password_are_shown_to_the_server() -> None:
    with RunningInflux(auth=True) as influx:
        influx.query("CREATE USER chi WITH PASSWORD 'bo-song 71518' WITH ALL PRIVILEGES")
        with closing(InfluxStore(influx.url, "keng", user="chi", password="bo-song 71518")) as store:
            store.write(levels(3))
            store._call("POST", "/query", {"q": "CREATE USER ghi WITH PASSWORD 'x'"})
            store._call("POST", "/query", {"q": "GRANT ALL ON keng TO ghi"})
            assert store.counts("quang-tho") == {LEVEL: 3}
        with (
            closing(InfluxStore(influx.url, "keng", user="chi", password="wrong")) as store,
            pytest.raises(StoreUnavailable, match=r"401.*check the token or the user"),
        ):
            store.write(levels(1))
        with closing(InfluxStore(influx.url, "keng", user="ghi", password="x")) as store:
            store.write(levels(5))  # may write, but not create databases: needs no more
            assert store.counts("quang-tho") == {LEVEL: 5}


def test_the_settings_reach_the_server(front: Front) -> None:
    front.rule = lambda call: Answer(204)
    with closing(open_store(StoreSettings(url=f"{front.url}/behind/a-proxy/keng"), read_only=True)) as store:
        store.write(levels(1))
    assert front.calls[-1].path == "/behind/a-proxy/write" and front.calls[-1].query["db"] == "keng"
    assert "authorization" not in front.calls[-1].headers
    with closing(InfluxStore(front.url, "keng", user="chi", password="mật khẩu", read_only=True)) as named:
        named.write(levels(1))
    shown = front.calls[-1].headers["authorization"]
    assert base64.b64decode(shown.removeprefix("Basic ")).decode() == "chi:mật khẩu"
