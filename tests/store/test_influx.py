"""What a server can answer, or not answer: only a 204 is success, and nothing is taken as kept before."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from keng_contracts.errors import Problem
from keng_contracts.telemetry import Flag
from keng_store.influx import InfluxStore
from keng_store.maintenance import DAY_MS, Maintenance
from keng_store.protocol import Resolution, Row, RowRefused, StoreUnavailable
from keng_store.rollup import bucket_of
from keng_store.settings import RollupSettings, StoreSettings, open_store
from keng_store.writing import write_all
from tests.store.conftest import Clock
from tests.support.influx import Answer, Call, Fault, Front, RunningInflux
from tests.support.processes import free_port

LEVEL = "quang-tho/phu-oc/level"
NOON = 1_763_258_400_000


def levels(count: int, start_ms: int = NOON) -> list[Row]:
    return [Row(LEVEL, start_ms + i, 1.0 + i / 100, Flag.GOOD) for i in range(count)]


@pytest.fixture
def front(influx: RunningInflux) -> Iterator[Front]:
    with Front(influx.url) as standing:
        yield standing


@pytest.fixture
def database(influx: RunningInflux) -> str:
    return influx.new_database().rpartition("/")[2]


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


class Version2:
    """As much of the API of InfluxDB 2.7 as setting up needs, by its reference documentation."""

    def __init__(self, *, bucket: bool = False, mapping: bool = False, allowed: bool = True) -> None:
        self.buckets = [{"id": "b1", "orgID": "0123456789abcdef", "name": "keng"}] if bucket else []
        self.mappings: list[dict[str, object]] = [{"id": "m1", "database": "keng"}] if mapping else []
        self.allowed = allowed
        self.lines: list[str] = []

    def __call__(self, call: Call) -> Answer:
        as_json = {"Content-Type": "application/json"}
        if call.path == "/ping":
            return Answer(204, "", {"X-Influxdb-Version": "v2.7.11", "X-Influxdb-Build": "OSS"})
        if call.headers.get("authorization") != "Token let-me-in":
            return Answer(401, '{"code":"unauthorized","message":"unauthorized access"}', as_json)
        if call.path == "/write":
            self.lines += [line for line in call.body.splitlines() if line.startswith("reading,")]
            return Answer(204)
        if not self.allowed:
            return Answer(403, '{"code":"forbidden","message":"insufficient permissions"}', as_json)
        if call.path == "/api/v2/orgs":
            known = call.query.get("org") == "quang-tho"
            orgs = [{"id": "0123456789abcdef", "name": "quang-tho"}] if known else []
            return Answer(200, json.dumps({"orgs": orgs}), as_json)
        rows: list[dict[str, object]] = self.buckets if call.path == "/api/v2/buckets" else self.mappings  # type: ignore[assignment]
        if call.method == "POST":
            rows.append({"id": "b1", **json.loads(call.body)})
            return Answer(201, json.dumps(rows[-1]), as_json)
        return Answer(200, json.dumps({"buckets": self.buckets, "content": self.mappings}), as_json)


def test_on_version_2_bucket_and_mapping_are_made_once(front: Front) -> None:
    server = front.rule = Version2()
    for _ in range(2):
        with closing(InfluxStore(front.url, "keng", token="let-me-in", org="quang-tho")) as store:
            store.write(levels(1))
    assert [(bucket["name"], bucket["orgID"]) for bucket in server.buckets] == [("keng", "0123456789abcdef")]
    assert server.mappings == [
        {
            "id": "b1",
            "orgID": "0123456789abcdef",
            "bucketID": "b1",
            "database": "keng",
            "retention_policy": "autogen",
            "default": True,
        }
    ]
    assert len(server.lines) == 2


def test_on_version_2_a_token_for_the_bucket_alone_is_enough(front: Front) -> None:
    server = front.rule = Version2(bucket=True, mapping=True, allowed=False)
    with closing(InfluxStore(front.url, "keng", token="let-me-in", org="quang-tho")) as store:
        store.write(levels(1))
    assert server.lines == [f"reading,commune=quang-tho,quantity=level,station=phu-oc value=1.0,flag=1i {NOON}"]


@pytest.mark.parametrize("org", ["", "another"])
def test_on_version_2_a_bucket_needs_its_organization(front: Front, org: str) -> None:
    front.rule = Version2()
    with (
        closing(InfluxStore(front.url, "keng", token="let-me-in", org=org)) as store,
        pytest.raises(Problem, match="org"),
    ):
        store.write(levels(1))


def test_on_version_3_nothing_is_set_up(front: Front) -> None:
    front.rule = lambda call: Answer(200, '{"version":"3.4.1"}') if call.path == "/ping" else Answer(204)
    with closing(InfluxStore(front.url, "keng", token="apiv3_x")) as store:
        store.write(levels(1))
    assert {(call.method, call.path) for call in front.calls} == {("GET", "/ping"), ("POST", "/write")}


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


# -- roll-ups, where versions differ ------------------------------------------------------------------------------


def rolled_up(store: InfluxStore, clock: Clock, raw_days: int = 10) -> None:
    maintenance = Maintenance(store, RollupSettings(raw_days=raw_days))
    clock.pass_minutes(30)
    while maintenance.step(clock.now_ms()).more:
        pass


def hourly(clock: Clock) -> list[Row]:
    """Every fourth of a hundred days, a row an hour."""
    start = bucket_of(clock.now_ms()) - 100 * DAY_MS
    times = range(start, start + 97 * DAY_MS, 3_600_000)
    return [Row(LEVEL, time, time % 97.0, Flag.GOOD) for time in times if time // DAY_MS % 4 == 0]


class As:
    """Another version in front of the real server: it says so, has that version's set-up, and passes the rest on."""

    def __init__(self, version: str) -> None:
        self.version = version
        self.api = Version2(bucket=True, mapping=True)

    def __call__(self, call: Call) -> Answer | None:
        if call.path == "/ping":
            return Answer(204, "", {"X-Influxdb-Version": self.version})
        return self.api(call) if call.path.startswith("/api/") else None


def test_on_version_2_old_rows_are_deleted_once_they_are_rolled_up(
    front: Front, influx: RunningInflux, database: str, clock: Clock
) -> None:
    influx.query(f'CREATE DATABASE "{database}"')
    front.rule = As("v2.7.11")
    rows = hourly(clock)
    with closing(InfluxStore(front.url, database, now_ns=clock.now_ns)) as store:
        store.write(rows)
        assert store.forget(clock.now_ms(), 1) == 0, "not rolled up yet"
        rolled_up(store, clock)
        line = store.raw_from(LEVEL)
        assert store.range(LEVEL, 0, 1 << 42) == [row for row in rows if row.time_ms >= line]
        assert sum(one.count for one in store.rollups(LEVEL, Resolution.DAY, 0, 1 << 42)) == len(rows)
        late = rows[10]._replace(time_ms=rows[10].time_ms + 1)
        store.write([late])
        clock.pass_minutes(2 * 1440)
        rolled_up(store, clock)
        assert store.range(LEVEL, 0, line) == [late], "it is in no roll-up, so it stays"
        assert store.raw_from(LEVEL) > line
    assert all("rp" not in call.query for call in front.calls)


def test_a_roll_up_that_the_server_refuses_holds_up_no_other(
    front: Front, influx: RunningInflux, database: str, clock: Clock
) -> None:
    def keeps_nothing_that_old(call: Call) -> Answer | None:
        refused = call.path == "/write" and "reading_1d," in call.body and "quantity=level" in call.body
        return Answer(422, '{"message":"points outside retention policy"}') if refused else None

    front.rule = keeps_nothing_that_old
    rows = hourly(clock)
    with closing(InfluxStore(front.url, database, now_ns=clock.now_ns)) as store:
        store.write(rows + [row._replace(series="quang-tho/phu-oc/rain") for row in rows])
        rolled_up(store, clock)
        assert sum(one.count for one in store.rollups("quang-tho/phu-oc/rain", Resolution.DAY, 0, 1 << 42)) == len(rows)
        assert store.rollups(LEVEL, Resolution.DAY, 0, 1 << 42) == []


def test_on_version_3_nothing_is_removed_by_us(
    front: Front, influx: RunningInflux, database: str, clock: Clock
) -> None:
    influx.query(f'CREATE DATABASE "{database}"')
    front.rule = As("3.4.1")
    rows = hourly(clock)
    with closing(InfluxStore(front.url, database, now_ns=clock.now_ns)) as store:
        store.write(rows)
        rolled_up(store, clock)
        assert store.counts("quang-tho") == {LEVEL: len(rows)} and store.raw_from(LEVEL) == 0
        assert sum(one.count for one in store.rollups(LEVEL, Resolution.TEN_MINUTES, 0, 1 << 42)) == len(rows)
    assert not [call for call in front.calls if "DELETE" in call.query.get("q", "")]


def test_a_database_made_without_our_policy_by_an_administrator_still_takes_readings_and_roll_ups(
    clock: Clock,
) -> None:
    with RunningInflux(auth=True) as influx:
        influx.query("CREATE USER chi WITH PASSWORD 'x' WITH ALL PRIVILEGES")
        with closing(InfluxStore(influx.url, "other", user="chi", password="x")) as admin:
            for statement in (
                "CREATE DATABASE keng",
                "CREATE USER ghi WITH PASSWORD 'x'",
                "GRANT ALL ON keng TO ghi",
            ):
                admin._call("POST", "/query", {"q": statement})
        rows = hourly(clock)
        with closing(InfluxStore(influx.url, "keng", user="ghi", password="x", now_ns=clock.now_ns)) as store:
            store.write(rows)
            rolled_up(store, clock)
            assert sum(one.count for one in store.rollups(LEVEL, Resolution.DAY, 0, 1 << 42)) == len(rows)
            assert store.counts("quang-tho") == {LEVEL: len(rows)}, "it may not set retention, so all is kept"


def test_a_row_older_than_the_retention_policy_is_refused_and_its_neighbours_are_taken(
    influx: RunningInflux, database: str, clock: Clock
) -> None:
    rows = hourly(clock)
    with closing(InfluxStore(influx.url, database, now_ns=clock.now_ns)) as store:
        store.write(rows)
        rolled_up(store, clock)
        too_late, fresh = rows[0]._replace(value=-1.0), rows[-1]._replace(time_ms=rows[-1].time_ms + 1)
        ((refused, reason),) = write_all(store, [too_late, fresh])
        assert refused == too_late and "retention policy" in reason
        assert store.range(LEVEL, fresh.time_ms, fresh.time_ms + 1) == [fresh]


def test_a_reader_that_was_there_before_the_first_writer_finds_the_roll_ups(
    influx: RunningInflux, database: str, clock: Clock
) -> None:
    with (
        closing(InfluxStore(influx.url, database, read_only=True)) as reader,
        closing(InfluxStore(influx.url, database, now_ns=clock.now_ns)) as store,
    ):
        with pytest.raises(StoreUnavailable):
            reader.rollups(LEVEL, Resolution.DAY, 0, 1 << 42)
        store.write(levels(100))
        rolled_up(store, clock, raw_days=0)
        assert len(reader.rollups(LEVEL, Resolution.DAY, 0, 1 << 42)) == 1


def test_a_clock_that_jumps_back_marks_anew(influx: RunningInflux, database: str, clock: Clock) -> None:
    with closing(InfluxStore(influx.url, database, now_ns=clock.now_ns)) as store:
        clock.pass_minutes(600)
        store.write(levels(10))
        clock.pass_minutes(-600)
        store.write(levels(20))
        rolled_up(store, clock, raw_days=0)
        clock.pass_minutes(600)
        rolled_up(store, clock, raw_days=0)
        assert sum(one.count for one in store.rollups(LEVEL, Resolution.DAY, 0, 1 << 42)) == 20
