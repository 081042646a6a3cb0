"""Addresses at which one person may speak once: for how long, how often, how many."""

from __future__ import annotations

import time

import pytest

from keng_console.speakers.doors import MAX_DOORS, OPEN_S, Doors
from keng_console.talk import Speak
from keng_contracts.errors import Problem

REQUEST = Speak(to=["toan-xa"], link=True)


def secret(path: str) -> str:
    return path.removeprefix("/voice/")


def test_an_address_is_used_up_by_its_first_use_and_each_is_another() -> None:
    doors = Doors()
    one, other = secret(doors.open(REQUEST, "lan")), secret(doors.open(REQUEST, "lan"))
    assert one != other and len(one) >= 32
    assert doors.find("doan-mo") is None
    door = doors.take(one)
    assert door is not None and (door.request, door.by) == (REQUEST, "lan")
    assert doors.take(one) is None and doors.find(one) is None
    assert doors.find(other) is not None


def test_an_address_ends_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    doors, now_s = Doors(), time.monotonic()
    path = doors.open(REQUEST, "lan")
    monkeypatch.setattr(time, "monotonic", lambda: now_s + OPEN_S - 1)
    assert doors.find(secret(path)) is not None
    monkeypatch.setattr(time, "monotonic", lambda: now_s + OPEN_S + 1)
    assert doors.find(secret(path)) is None and doors.take(secret(path)) is None


def test_there_are_not_many_at_once_and_those_that_ended_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    doors, now_s = Doors(), time.monotonic()
    for _ in range(MAX_DOORS):
        doors.open(REQUEST, "lan")
    with pytest.raises(Problem, match="too many"):
        doors.open(REQUEST, "lan")
    monkeypatch.setattr(time, "monotonic", lambda: now_s + OPEN_S + 1)
    assert doors.open(REQUEST, "lan").startswith("/voice/")
