"""Where versions of InfluxDB differ: what is set up, how long is kept, how what is old is removed."""

from __future__ import annotations

import json
from contextlib import closing

import pytest

from keng_contracts.errors import Problem
from keng_contracts.telemetry import Flag
from keng_store.influx import InfluxStore
from keng_store.maintenance import DAY_MS, Maintenance
from keng_store.protocol import Resolution, Row, StoreUnavailable
from keng_store.rollup import bucket_of
from keng_store.settings import RollupSettings
from keng_store.writing import write_all
from tests.store.conftest import Clock
from tests.support.influx import Answer, Call, Front, RunningInflux

LEVEL = "quang-tho/phu-oc/level"
NOON = 1_763_258_400_000


def levels(count: int, start_ms: int = NOON) -> list[Row]:
    return [Row(LEVEL, start_ms + i, 1.0 + i / 100, Flag.GOOD) for i in range(count)]


# -- set-up ---------------------------------------------------------------------------------------------------------


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
