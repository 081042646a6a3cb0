"""Thirty days of a whole loudspeaker node in compressed time: nothing is missed, nothing doubled, all is said once.

Its own parts run, with their files and real signed documents; simulated are clocks, power, link, disk and what the
media server has (:mod:`tests.support.faults`). What must hold is in :mod:`tests.support.account`. One month is lived in
the suite; more of them with ``KENG_MONTHS=8 pytest tests/loudspeaker/test_month.py``, each another (its seed).

Between events of the world time leaps by ten minutes at most. The power is cut between two steps of the node, not in
the midst of a write: that a transaction is whole or not there is left to SQLite.
"""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path

import pytest

from keng_contracts.playback import What
from tests.support.account import Account
from tests.support.broker import credentials
from tests.support.disk import small_disk
from tests.support.faults import live_through
from tests.support.https import HttpsServer
from tests.support.month import Month
from tests.support.pole import LeapingLoop

DAYS = 30


def lived(seed: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Month:
    """A month that is over."""
    with (
        small_disk(folder / "disk", 24) as disk,
        HttpsServer() as server,
        asyncio.Runner(loop_factory=LeapingLoop) as runner,
        monkeypatch.context() as patching,
    ):
        loop = runner.get_loop()
        assert isinstance(loop, LeapingLoop)
        month = Month(loop, seed, DAYS, disk, server, credentials(), folder)
        month.patch(patching)
        runner.run(live_through(month))
        return month


@pytest.mark.parametrize("seed", range(1, 1 + int(os.environ.get("KENG_MONTHS", "1"))))
def test_in_thirty_days_of_faults_nothing_is_missed_nothing_doubled_and_all_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, seed: int
) -> None:
    caplog.set_level(logging.CRITICAL)  # a month of complaints
    month = lived(seed, tmp_path, monkeypatch)
    account = Account(month)
    assert list(account.breaches()) == []

    said = [event.what for event in month.told.values()]
    worst_s = max(account.errors_s)
    print(
        f"\n{month.run} runs of the node; {len(account.dues)} occurrences, {len(account.errors_s)} of them in order: "
        f"begun within {worst_s * 1000:.0f} ms; {len(said)} events told, {sum(month.deliveries.values())} times"
    )
    assert worst_s <= 1
    # The month was one: most was to be played, and of everything that can happen something did.
    assert len(account.errors_s) > len(account.dues) / 2 and month.run > 20
    assert {What.STARTED, What.SKIPPED, What.CUT, What.FAILED, What.REFUSED} <= set(said)
    assert sum(bool(sent.had_s) for sent in month.sent) > 10
    assert any(not month.history.at("disk", siren.at_s) for siren in account.sirens), "a siren sounds on a full disk"
