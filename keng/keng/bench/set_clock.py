"""A loudspeaker node whose clock is wrong: ``python -m keng.bench.set_clock OFFSET_MS DRIFT_PPM …``
and then what follows ``keng loudspeaker``. The whole process sees that clock; nothing of the node is changed."""

from __future__ import annotations

import sys
import time


def set_clock(offset_s: float, drift_ppm: float) -> None:
    """From now on this process's clock is ahead by ``offset_s``, and gains ``drift_ppm`` microseconds a second."""
    real_ns, began_ns = time.time_ns, time.monotonic_ns()

    def wrong_ns() -> int:
        return real_ns() + round(offset_s * 1e9 + (time.monotonic_ns() - began_ns) * drift_ppm / 1e6)

    time.time_ns = wrong_ns
    time.time = lambda: wrong_ns() / 1e9


if __name__ == "__main__":
    set_clock(float(sys.argv[1]) / 1000, float(sys.argv[2]))
    from keng_loudspeaker.cli import cli

    cli(sys.argv[3:], prog_name="keng-loudspeaker")
