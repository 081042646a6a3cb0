"""Derived series as a whole: whatever the order in which readings come, the same points are left."""

import doctest
from collections.abc import Iterable
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from keng_contracts.registry import Registry
from keng_contracts.telemetry import Flag
from keng_signals import air, derived, physics, quality, rain
from keng_signals.derived import Plan, compute, plan_of, touched
from keng_signals.samples import Sample
from tests.support.registry import sample

START = 1_763_323_200_000
MINUTE = 60_000
HOUR = 60 * MINUTE

SENSORS = {"distance": "mm", "tips": "count", "dust": "ug/m3", "co": "mg/m3", "air": "Cel", "rh": "%RH", "soil": "%"}


def made_of(id_: str, kind: str, inputs: dict[str, str], **parameters: float) -> dict[str, Any]:
    inputs = {name: f"uy-ban/{sensor}" for name, sensor in inputs.items()}
    return {"id": f"uy-ban/{id_}", "name": id_, "kind": kind, "inputs": inputs, "parameters": parameters}


DERIVED = [
    made_of("level", "water-level", {"distance": "distance"}, sensor_above_datum_m=8.0) | {"decimals": 3},
    made_of("rain-10min", "rain", {"counter": "tips"}, window_s=600, mm_per_count=0.2, wrap=65536),
    made_of("rain-1h", "rain", {"counter": "tips"}, window_s=3600, mm_per_count=0.2, wrap=65536),
    made_of("vn-aqi", "vn-aqi", {"pm2-5": "dust", "co": "co"}) | {"decimals": 0},
    made_of("dew-point", "dew-point", {"temperature": "air", "humidity": "rh"}),
    made_of("deficit", "soil-water-deficit", {"moisture": "soil"}, field_capacity_pct=35.0, root_depth_m=0.5),
]


def commune(derived: list[dict[str, Any]]) -> Registry:
    sensors = [{"id": f"uy-ban/{s}", "name": s, "node": "tram-phu-oc", "unit": u} for s, u in SENSORS.items()]
    plain = sample()
    return sample(sensors=[*(s.model_dump() for s in plain.sensors), *sensors], derived=derived)


PLAN = plan_of(commune(DERIVED))

Rows = dict[tuple[str, int], Sample]


def write(store: Rows, rows: Iterable[tuple[str, Sample]], plan: Plan = PLAN) -> None:
    """What a service does with a batch: keep it, then make anew what it touches."""
    batch = list(rows)
    store.update({(series, one.time_ms): one for series, one in batch})
    for task in touched(plan, ((series, one.time_ms) for series, one in batch)):
        inputs = {
            name: sorted(
                s for (of, at), s in store.items() if of == series and task.read_from_ms <= at <= task.read_to_ms
            )
            for name, series in task.rule.inputs.items()
        }
        store.update({(task.rule.series, one.time_ms): one for one in compute(task, inputs)})


any_row = st.tuples(
    st.sampled_from([f"quang-tho/uy-ban/{sensor}" for sensor in SENSORS]),
    st.builds(
        Sample,
        st.integers(0, 60).map(lambda n: START + n * 5 * MINUTE),
        st.integers(0, 120).map(float) | st.floats(allow_nan=False, allow_infinity=False),
        st.sampled_from(Flag),
    ),
)
RH, AIR = "quang-tho/uy-ban/rh", "quang-tho/uy-ban/air"
any_rows = st.lists(any_row, max_size=40, unique_by=lambda row: (row[0], row[1].time_ms))


@given(any_rows, st.randoms(use_true_random=False), st.integers(1, 12))
def test_readings_that_come_late_doubled_or_in_other_batches_leave_the_same_points(
    rows: list[tuple[str, Sample]], random: Any, size: int
) -> None:
    at_once: Rows = {}
    write(at_once, rows)
    mixed = rows + rows[: len(rows) // 2]
    random.shuffle(mixed)
    in_pieces: Rows = {}
    for begin in range(0, len(mixed), size):
        write(in_pieces, mixed[begin : begin + size])
    assert in_pieces == at_once


def test_a_late_humidity_of_nought_does_not_undo_a_dew_point() -> None:
    store: Rows = {}
    write(store, [(AIR, Sample(START, 30.0)), (RH, Sample(START + MINUTE, 70.0))])
    write(store, [(RH, Sample(START, 0.0))])
    assert store["quang-tho/uy-ban/dew-point", START].value == 23.9


def test_an_afternoon_of_readings_gives_every_series() -> None:
    store: Rows = {}
    for minute in range(0, 180, 5):
        at = START + minute * MINUTE
        steady = {"dust": 37.5, "co": 1.0, "air": 30.0, "rh": 70.0, "soil": 25.0}
        values = {"distance": 5500.0 - minute, "tips": float(minute), **steady}
        write(store, [(f"quang-tho/uy-ban/{sensor}", Sample(at, value)) for sensor, value in values.items()])
    last = {id_: store[f"quang-tho/uy-ban/{id_}", START + 175 * MINUTE] for id_ in ("level", "rain-10min", "rain-1h")}
    assert {id_: s.value for id_, s in last.items()} == {"level": 2.675, "rain-10min": 2.0, "rain-1h": 12.0}
    assert store["quang-tho/uy-ban/vn-aqi", START + 120 * MINUTE].value == 75.0
    assert store["quang-tho/uy-ban/dew-point", START].value == 23.9
    assert store["quang-tho/uy-ban/deficit", START].value == 50.0


def test_a_late_reading_makes_the_totals_after_it_anew() -> None:
    store: Rows = {}
    tips = "quang-tho/uy-ban/tips"
    write(store, [(tips, Sample(START + m * MINUTE, c)) for m, c in ((0, 0), (10, 0), (20, 0), (50, 30), (60, 30))])
    total = "quang-tho/uy-ban/rain-10min", START + 50 * MINUTE
    assert store[total].value == 2.0  # 6 mm in 30 minutes, as far as anybody knows
    write(store, [(tips, Sample(START + 40 * MINUTE, 0))])
    assert store[total].value == 6.0


def test_in_order_one_reading_touches_one_span_of_each_series_that_rests_on_it() -> None:
    tasks = touched(
        PLAN, [("quang-tho/uy-ban/tips", START), ("quang-tho/uy-ban/tips", START + MINUTE), ("x/y/z", START)]
    )
    assert [(task.rule.series, task.start_ms) for task in tasks] == [
        ("quang-tho/uy-ban/rain-10min", START),
        ("quang-tho/uy-ban/rain-1h", START),
    ]
    assert touched(PLAN, []) == []
    assert touched(plan_of(sample()), [("quang-tho/phu-oc/level", START)]) == []


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"kind": "rain", "inputs": {"counter": "uy-ban/tips"}}, "rain needs the parameter window_s"),
        ({"parameters": {"pair_s": 60, "colour": 3}}, "dew-point has no parameter 'colour'"),
        ({"parameters": {"pair_s": -1}}, "pair_s must lie between 0 and 3600"),
        ({"inputs": {"temperature": "uy-ban/air"}}, "needs all of the inputs temperature, humidity"),
        ({"inputs": {"temperature": "uy-ban/air", "humidity": "uy-ban/khong"}}, "there is no sensor 'uy-ban/khong'"),
        ({"inputs": {"temperature": "uy-ban/tips", "humidity": "uy-ban/rh"}}, "temperature is in 'count'"),
        ({"kind": "vn-aqi", "inputs": {}}, "needs any of the inputs pm2-5"),
        ({"kind": "vn-aqi", "inputs": {"lead": "uy-ban/co"}}, "vn-aqi has no input 'lead'"),
        ({"id": "uy-ban/air"}, "'uy-ban/air' is there twice"),
        ({"id": "no-such/dew"}, "there is no station 'no-such'"),
    ],
)
def test_a_description_that_makes_no_sense_is_refused_with_its_reason(wrong: dict[str, Any], said: str) -> None:
    right = made_of("dew-point", "dew-point", {"temperature": "air", "humidity": "rh"})
    with pytest.raises(ValidationError, match=said):
        commune([right | wrong])


def test_a_registry_with_all_kinds_survives_its_travel() -> None:
    registry = commune(DERIVED)
    assert Registry.model_validate_json(registry.model_dump_json(by_alias=True)) == registry


@pytest.mark.parametrize("module", [air, derived, physics, quality, rain], ids=lambda m: m.__name__)
def test_examples_in_the_docs_are_true(module: ModuleType) -> None:
    assert doctest.testmod(module).failed == 0
