"""Runs in the oracle's own environment: what ioos_qc says of series that come as JSON on the standard input.

In: a list of {"times": [s], "values": [number or null], "limits": {…}, "tests": [name]}.
Out: a list of {test: [QARTOD flag]}.
"""

import json
import sys
import warnings

import numpy as np
from ioos_qc import qartod

warnings.simplefilter("ignore")


def judged(case: dict) -> dict:
    limits = case["limits"]
    values = np.array([np.nan if value is None else value for value in case["values"]], dtype=float)
    times = np.array(case["times"], dtype="int64").astype("datetime64[s]")
    span = [np.datetime64(int(second), "s") for second in limits["dates_s"]]
    tests = {
        "range": lambda: qartod.gross_range_test(values, limits["range"], limits["suspect_range"]),
        "rate": lambda: qartod.rate_of_change_test(values, times, limits["rate_per_s"]),
        "spike": lambda: qartod.spike_test(values, suspect_threshold=limits["spike"]),
        "flat": lambda: qartod.flat_line_test(values, times, limits["flat_s"], 10**7, tolerance=1e-9),
        "time": lambda: qartod.impossible_date_test(times, span),
        "gap": lambda: qartod.time_gap_test(times, limits["gap_s"] / 3600),
    }
    return {test: [int(flag) for flag in np.ma.filled(tests[test](), 9)] for test in case["tests"]}


json.dump([judged(case) for case in json.load(sys.stdin)], sys.stdout)
