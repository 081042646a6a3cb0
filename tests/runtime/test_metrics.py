"""Metrics that are declared where memory is small."""

from __future__ import annotations

import subprocess
import sys

from tests.support.processes import free_port

_PART = """
import sys, urllib.request
from keng_runtime.metrics import Metric, serve

orders = Metric("Counter", "keng_test_orders_total", "Orders", ["what"])
waiting = Metric("Gauge", "keng_test_waiting", "What waits")
took = Metric("Histogram", "keng_test_seconds", "How long it took", buckets=(1, 2))

def count():
    orders.labels("play").inc()
    waiting.set(7)
    took.observe(1.5)

count()
serve(0)
print("prometheus_client" in sys.modules)
port = int(sys.argv[1])
serve(port)
count()
print(urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode())
"""


def test_they_cost_nothing_until_they_are_served_and_then_count() -> None:
    run = subprocess.run(
        [sys.executable, "-c", _PART, str(free_port())], capture_output=True, text=True, check=True, timeout=30
    )
    loaded, _, told = run.stdout.partition("\n")
    assert loaded == "False"
    lines = told.splitlines()
    assert 'keng_test_orders_total{what="play"} 1.0' in lines
    assert "keng_test_waiting 7.0" in lines
    assert 'keng_test_seconds_bucket{le="2.0"} 1.0' in lines
