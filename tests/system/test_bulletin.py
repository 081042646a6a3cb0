"""A bulletin of the province, from its signed CAP message to sound at a loudspeaker and to the word that it is over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from keng_console.cap.judge import play_id
from keng_console.cap.message import MsgType
from keng_runtime.clock import now_ms
from tests.support import services
from tests.support.broker import COMMUNE, RunningBroker
from tests.support.cap import SENDER, bulletin, pair, signed
from tests.support.console import RunningConsole, running_console
from tests.support.processes import eventually

pytestmark = pytest.mark.system
NODE = "loa-phuoc-yen"


def events(console: RunningConsole, play: str) -> list[dict[str, Any]]:
    rows = json.loads(console.get("/api/playback")[2])
    return [row["event"] for row in rows if row["event"]["play"] == play]


def test_an_urgent_bulletin_is_heard_and_its_cancel_too(broker: RunningBroker, tmp_path: Path) -> None:
    province, now = pair(), now_ms()
    certificate = tmp_path / "tinh.crt"
    certificate.write_bytes(province.certificate)
    more = f'\n[cap]\n[[cap.senders]]\nname = "tinh"\ncertificate = "{certificate}"\nsenders = ["{SENDER}"]\n'
    node = services.settings(
        broker, NODE, tmp_path / NODE, f'commune = "{COMMUNE}"\ndevice = "null"\nclock = "trusted"\n'
    )
    first = bulletin("t-1", now, description="Nước lên rất nhanh. " * 20)
    cancel = bulletin("t-2", now, msg_type=MsgType.CANCEL, references=(first.reference,))
    with running_console(broker, tmp_path, more) as console, services.start("keng-loudspeaker", NODE, tmp_path, node):
        eventually(lambda: console.overview()["registry_version"] == 1)
        eventually(lambda: [s["state"] for s in console.overview()["speakers"]].count("online") == 1, within=30)
        assert console.post("/cap", signed(first, province))["verdict"] == "played"
        play = play_id(first)
        eventually(lambda: any(e["what"] == "started" for e in events(console, play)), within=40, what="it sounds")
        [started] = [e for e in events(console, play) if e["what"] == "started"]
        assert started["kind"] == "speech" and started["level_dbfs"] > -50
        assert console.post("/cap", signed(cancel, province))["verdict"] == "cancelled"
        eventually(lambda: any(e["what"] == "cut" for e in events(console, play)), what="it is stopped")
        eventually(
            lambda: any(e["what"] == "started" for e in events(console, play_id(cancel))), within=40, what="and said so"
        )
