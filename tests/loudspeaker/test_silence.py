"""Silence is an alarm where sound was due, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from keng_loudspeaker.playing.silence import PATIENCE_S, Watch

BLASTS = [(0.0, 10.0), (20.0, 30.0)]


def alarms(spans: list[tuple[float, float]], heard: Callable[[float], bool], seconds: float) -> list[float]:
    watch, step = Watch(spans), 0.05
    return [i * step for i in range(int(seconds / step)) if watch.overdue(i * step, heard(i * step))]


def test_a_siren_that_sounds_raises_none_in_its_gaps() -> None:
    assert alarms(BLASTS, lambda t: t < 10 or 20 <= t < 30, 40) == []


def test_a_siren_that_never_sounds_is_told_once_after_two_seconds() -> None:
    [at] = alarms(BLASTS, lambda t: False, 40)
    assert PATIENCE_S <= at < PATIENCE_S + 0.5


def test_a_siren_that_falls_silent_is_told_and_told_again_when_it_happens_again() -> None:
    first, second = alarms([(0, 30)], lambda t: t < 5 or 15 <= t < 20, 30)
    assert [first, second] == pytest.approx([7, 22], abs=0.2)


def test_a_breath_between_sentences_is_no_silence() -> None:
    assert alarms([(0, 30)], lambda t: t % 3 < 1.5, 30) == []


def test_a_watch_that_slept_does_not_count_its_sleep() -> None:
    watch = Watch([(0, 60)])
    assert not any(watch.overdue(at, heard=False) for at in (1.0, 20.0, 40.0))
