"""Agreement with ioos_qc, the reference implementation of QARTOD's tests, where both make the same test.

ioos_qc brings 365 MB of packages, so it lives in an environment of its own, ``.venv-oracle``, that ``make oracle``
makes in about half a minute. Without that environment these tests are skipped.

- Gross and suspect range, impossible date, time gap, the late reading's spike, and the flat line of equal values: the
  same flag for every reading.
- Rate: the same for every reading whose predecessor was believed. After one that was held, ours still measures from the
  last believed value, and ioos_qc from the one before.
- Spike in the stream: the same for lone outliers of up to twice the limit. Beyond that ioos_qc, which compares with the
  mean of the neighbours, finds the neighbours wrong too, and the median doesn't.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from keng_contracts.telemetry import EARLIEST_MS, Flag, Reading
from keng_signals.quality import FUTURE_MS, Limits, Window, is_spike, judge

pytestmark = pytest.mark.oracle

ROOT = Path(__file__).parents[2]
ENVIRONMENT = ROOT / ".venv-oracle"
REQUIREMENT = "ioos_qc==3.0.0"
SCRIPT = ROOT / "tests" / "support" / "ioos_qc_oracle.py"

START_S = 1_763_323_200
NOW_MS = (START_S + 1_000_000) * 1000
MISSING = -9999.0
SERIES = 400


@dataclass
class Case:
    """A series (times in s, None: missing) and the limits that both judge it by."""

    times: list[int]
    values: list[float | None]
    limits: dict[str, Any]
    flags: dict[str, list[int]]

    def ours(self, **limits: Any) -> list[tuple[int, str]]:
        """Flag and test of every reading, judged as a stream with these limits alone."""
        window, known = Window(), Limits(**{"gap_ms": 1e15, "sentinels": (MISSING,), **limits})
        verdicts = []
        for second, value in zip(self.times, self.values, strict=True):
            one = Reading("a/b/c", second * 1000, MISSING if value is None else value, "m")
            verdicts.append(judge(one, known, window, NOW_MS))
        return [(int(verdict.flag), verdict.test) for verdict in verdicts]


def series(seed: int) -> dict[str, Any]:
    """A series of its own kind for each seed: noise, steps, outliers, standstills, gaps; values in hundredths."""
    chance = random.Random(seed)
    length, interval = chance.randint(10, 120), chance.choice((60, 300, 900))
    level, values, times, now = chance.uniform(-1, 8), [], [], START_S
    stands, drops, jumps, gaps = (chance.choice((0, 0, 0.1, 0.4)) for _ in range(4))
    for _ in range(length):
        if chance.random() >= stands:
            level += chance.gauss(0, 0.1)
        if chance.random() < jumps:
            level += chance.choice((-3, 3))
        value = round(level + chance.choice((0, 0, 0, 0, 0, 5, -5)) * (chance.random() < jumps), 2)
        values.append(None if chance.random() < drops else value)
        times.append(now)
        now += interval * (chance.randint(2, 9) if chance.random() < gaps else 1)
    limits = {
        "range": (-2.005, 12.005),
        "suspect_range": (0.005, chance.choice((6.005, 9.005))),
        "rate_per_s": chance.choice((0.0001237, 0.0023457)),
        "spike": chance.choice((0.30123, 2.00123)),
        "gap_s": interval * chance.choice((1, 3)),
        "dates_s": (EARLIEST_MS // 1000, (NOW_MS + FUTURE_MS) // 1000),
    }
    return {"times": times, "values": values, "limits": limits, "tests": ["range", "rate", "spike", "gap"]}


def lone_outliers(seed: int) -> dict[str, Any]:
    """A calm series with outliers of 1.2 to 1.8 times the limit, at least five readings apart."""
    chance = random.Random(seed)
    made = series(seed)
    length, limit = len(made["times"]), made["limits"]["spike"]
    values = [2.0 + chance.uniform(-0.02, 0.02) * limit for _ in range(length)]
    for place in range(chance.randint(3, 8), length - 1, chance.randint(5, 9)):
        values[place] += chance.choice((-1, 1)) * chance.uniform(1.2, 1.8) * limit
    return {**made, "values": values, "tests": ["spike"]}


def with_standstills_only(seed: int) -> dict[str, Any]:
    """No missing values and an even step: what ioos_qc's flat line test counts is readings, not time."""
    chance = random.Random(seed)
    made = series(seed)
    step = chance.choice((60, 300, 900))
    values = [0.0 if value is None else round(value, 1) for value in made["values"]]
    times = [START_S + i * step for i in range(len(values))]
    limits = {**made["limits"], "flat_s": step * chance.choice((1, 2, 5, 10))}
    return {"times": times, "values": values, "limits": limits, "tests": ["flat"]}


def with_wild_clocks(seed: int) -> dict[str, Any]:
    """Readings whose clock was wrong: before 2020, in the future, and right."""
    chance = random.Random(seed)
    made = series(seed)
    wild = (0, EARLIEST_MS // 1000 - 1, EARLIEST_MS // 1000, NOW_MS // 1000 + 120, NOW_MS // 1000 + 121, START_S)
    return {**made, "times": [chance.choice(wild) for _ in made["times"]], "tests": ["time"]}


KINDS = {kind.__name__: kind for kind in (series, lone_outliers, with_standstills_only, with_wild_clocks)}


@pytest.fixture(scope="module")
def python() -> Path:
    """The oracle's interpreter, made where it is asked for."""
    interpreter = ENVIRONMENT / "bin" / "python"
    if (
        not interpreter.exists()
        or subprocess.run([interpreter, "-c", "import ioos_qc"], capture_output=True).returncode
    ):
        if not os.environ.get("KENG_ORACLE"):
            pytest.skip("the oracle's environment isn't there: make it, and run these tests, with 'make oracle'")
        subprocess.run([sys.executable, "-m", "venv", ENVIRONMENT], check=True)
        pip = [interpreter, "-m", "pip", "install", "-q", "--disable-pip-version-check", REQUIREMENT]
        subprocess.run(pip, check=True)
    return interpreter


@pytest.fixture(scope="module")
def cases(python: Path) -> dict[str, list[Case]]:
    """All series of each kind with what ioos_qc says of them."""
    asked = [(name, make(seed)) for name, make in KINDS.items() for seed in range(SERIES)]
    text = json.dumps([case for _, case in asked])
    said = subprocess.run([python, SCRIPT], input=text, capture_output=True, text=True, check=True, timeout=300)
    sorted_: dict[str, list[Case]] = {name: [] for name in KINDS}
    for (name, case), flags in zip(asked, json.loads(said.stdout), strict=True):
        sorted_[name].append(Case(case["times"], case["values"], case["limits"], flags))
    return sorted_


def test_gross_and_suspect_range(cases: dict[str, list[Case]]) -> None:
    seen = set()
    for case in cases["series"]:
        (low, high), (odd_low, odd_high) = case.limits["range"], case.limits["suspect_range"]
        ours = [flag for flag, _ in case.ours(low=low, high=high, odd_low=odd_low, odd_high=odd_high)]
        assert ours == case.flags["range"]
        seen.update(ours)
    assert seen == {Flag.GOOD, Flag.SUSPECT, Flag.BAD, Flag.MISSING}


def test_impossible_dates(cases: dict[str, list[Case]]) -> None:
    for case in cases["with_wild_clocks"]:
        ours = [4 if test == "time" else 1 for _, test in case.ours(sentinels=())]
        assert ours == case.flags["time"]
        assert set(ours) == {1, 4}


def test_time_gaps(cases: dict[str, list[Case]]) -> None:
    gaps = 0
    for case in cases["series"]:
        whole = Case(case.times, [1.0] * len(case.times), case.limits, case.flags)
        ours = [4 if test == "gap" else 1 for _, test in whole.ours(gap_ms=case.limits["gap_s"] * 1000)]
        assert ours[1:] == case.flags["gap"][1:]  # of the first reading ioos_qc says what it says of the second
        gaps += ours.count(4)
    assert gaps > SERIES


def test_the_flat_line_of_equal_values(cases: dict[str, list[Case]]) -> None:
    found = 0
    for case in cases["with_standstills_only"]:
        ours = [flag for flag, _ in case.ours(flat_ms=case.limits["flat_s"] * 1000.0)]
        assert ours == case.flags["flat"]
        found += ours.count(3)
    assert found > SERIES


def test_the_rate_after_a_believed_reading(cases: dict[str, list[Case]]) -> None:
    compared = suspect = 0
    for case in cases["series"]:
        ours = case.ours(rate_per_ms=case.limits["rate_per_s"] / 1000)
        for place in range(1, len(ours)):
            if ours[place - 1][1] == "" and ours[place][0] != Flag.MISSING:
                assert ours[place][0] == case.flags["rate"][place]
                compared += 1
                suspect += ours[place][0] == Flag.SUSPECT
    assert compared > 5_000
    assert suspect > 500


def test_the_spike_of_a_reading_between_its_neighbours(cases: dict[str, list[Case]]) -> None:
    spikes = 0
    for case in cases["series"]:
        for place in range(1, len(case.values) - 1):
            before, value, after = case.values[place - 1 : place + 2]
            if before is None or value is None or after is None:
                continue
            ours = is_spike(before, value, after, case.limits["spike"])
            assert ours is (case.flags["spike"][place] == Flag.SUSPECT)
            spikes += ours
    assert spikes > SERIES


def test_the_spike_of_a_lone_outlier_in_the_stream(cases: dict[str, list[Case]]) -> None:
    spikes = 0
    for case in cases["lone_outliers"]:
        ours = [flag for flag, _ in case.ours(spike=case.limits["spike"])]
        assert ours[1:-1] == case.flags["spike"][1:-1]
        spikes += ours.count(3)
    assert spikes > SERIES
