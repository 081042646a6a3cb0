"""From a plan to the signed programme of each loudspeaker."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from keng_console.speakers.programme import Plan, programmes
from keng_contracts.errors import Problem
from keng_contracts.programme import Programme
from keng_contracts.topics import Channel, Kind, Topic
from keng_loudspeaker.alone.copy import ProgrammeCopy
from keng_runtime.mqtt import Link
from tests.support.broker import COMMUNE, RunningBroker
from tests.support.console import RunningConsole, running_console
from tests.support.processes import until
from tests.support.registry import sample
from tests.support.services import command

HANOI = timezone(timedelta(hours=7))
#: Sunday evening in UTC, Monday morning in Quảng Thọ.
MADE = datetime(2025, 11, 16, 20, 0, tzinfo=UTC)
SPEECH = [{"kind": "speech", "text": "Bản tin sáng."}]


def entry(**changes: object) -> dict[str, object]:
    fields = {"id": "ban-tin", "first": "2025-11-10T05:00:00", "rule": "FREQ=WEEKLY;BYDAY=MO", "zones": ["toan-xa"]}
    return {**fields, "items": SPEECH, **changes}


def made(*entries: dict[str, object]) -> list[Programme]:
    plan = Plan.model_validate({"entries": entries})
    return programmes(plan, sample(), round(MADE.timestamp() * 1000))


def test_a_monday_is_a_monday_in_the_commune_and_not_in_utc() -> None:
    for programme in made(entry()):
        [occurrence] = programme.occurrences
        assert occurrence.local == datetime(2025, 11, 17, 5, 0, tzinfo=HANOI)
        assert occurrence.local.utcoffset() == timedelta(hours=7)
        assert datetime.fromtimestamp(occurrence.at_ms / 1000, UTC) == datetime(2025, 11, 16, 22, 0, tzinfo=UTC)
        assert occurrence.play == "ban-tin-20251117-0500"


def test_each_loudspeaker_has_what_is_for_it_and_the_same_occurrence_the_same_name_every_day() -> None:
    one, other = sample().speakers[0].id, sample().speakers[1].id
    rows = (entry(rule="FREQ=DAILY"), entry(id="rieng", zones=[], speakers=[one], rule="FREQ=DAILY"))
    by_speaker = {p.speaker: p for p in made(*rows)}
    assert {e.id for e in by_speaker[one].entries} == {"ban-tin", "rieng"}
    assert {e.id for e in by_speaker[other].entries} == {"ban-tin"}
    plan = Plan.model_validate({"entries": rows})
    tomorrow = programmes(plan, sample(), round(MADE.timestamp() * 1000) + 86_400_000)
    both = {o.play for o in by_speaker[one].occurrences} & {o.play for p in tomorrow for o in p.occurrences}
    assert len(both) == 2 * 6


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"first": "2025-11-10T03:15:00"}, "03:15.* quiet hours"),
        ({"rule": "EVERY MONDAY"}, "is no rule"),
        ({"rule": "FREQ=MINUTELY"}, "more than 200 times"),
        ({"zones": ["khong-co"]}, "there is no zone khong-co"),
        ({"speakers": ["loa-la"]}, "there is no loudspeaker loa-la"),
    ],
)
def test_what_can_not_be_meant_is_said(changes: dict[str, object], said: str) -> None:
    with pytest.raises(Problem, match=said):
        made(entry(**changes))


def test_a_night_slot_is_taken_with_the_name_of_a_second_person() -> None:
    programme = made(entry(first="2025-11-10T03:15:00", night="Trần Thị Lan"))[0]
    assert programme.entries[0].night == "Trần Thị Lan"


async def keng(console: RunningConsole, *words: str | Path) -> subprocess.CompletedProcess[str]:
    line = [command("keng-console"), *map(str, words), "--settings", str(console.folder / "console.toml")]
    return await asyncio.to_thread(subprocess.run, line, capture_output=True, text=True, check=False, timeout=60)


PLAN = (
    '[[entries]]\nid = "ban-tin"\nname = "Bản tin sáng"\nfirst = 2025-11-10T06:00:00\nrule = "FREQ=DAILY"\n'
    'zones = ["toan-xa"]\nitems = [{ kind = "speech", text = "Bản tin sáng." }]\n'
    '[[emergency]]\nkind = "siren"\npattern = "khan"\nblasts = 1\nblast_s = 1\ngap_s = 0\n'
)
ME = sample().speakers[0].id


@asynccontextmanager
async def copies(broker: RunningBroker, folder: Path) -> AsyncIterator[ProgrammeCopy]:
    """The programme as a loudspeaker keeps it, whatever comes."""

    async def follow() -> None:
        async for message in link.messages():
            message.ack()
            assert copy.offer(message.payload) in (None, "")

    async with Link(broker.settings(ME)) as link:
        copy = ProgrammeCopy(link.credentials.trust(), folder / "programme.jws", COMMUNE, ME)
        await link.subscribe(str(Topic(COMMUNE, Kind.SPEAKER, ME, Channel.PROGRAMME)))
        following = asyncio.create_task(follow())
        yield copy
        following.cancel()


def entries(copy: ProgrammeCopy) -> list[str]:
    return [entry.id for entry in copy.current.entries] if copy.current else []


def as_another_user(console: RunningConsole, request: dict[str, object]) -> dict[str, Any]:
    """The console's first line, to the user ``nobody`` in the group that may open the socket."""
    path = console.folder / "console" / "console.sock"
    program = (
        "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); "
        "s.sendall(sys.argv[2].encode() + bytes([10])); print(s.makefile().readline())"
    )
    line = ["/usr/bin/python3", "-I", "-c", program, str(path), json.dumps(request)]
    done = subprocess.run(line, user="nobody", group=os.getegid(), extra_groups=[], capture_output=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that every user of this machine may enter."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can let another user speak")
async def test_a_plan_is_on_air_once_another_person_has_approved_what_was_shown(
    broker: RunningBroker, folder: Path
) -> None:
    plan = folder / "tuan.toml"
    plan.write_text(PLAN)
    async with copies(broker, folder) as copy:
        with running_console(broker, folder) as console:
            done = await keng(console, "programme", "publish", plan)
            assert done.returncode == 0, done.stderr
            assert "CHỜ DUYỆT (waits for approval)" in done.stdout and "06:00  Bản tin sáng" in done.stdout
            await until(lambda: copy.current and copy.current.emergency)
            assert entries(copy) == [], "the button set alone does not wait"
            draft = re.findall(r"programme approve ([0-9a-f]{8})", done.stdout)[0]
            mine = await keng(console, "programme", "approve", draft)
            assert mine.returncode == 2 and "another person has to approve it" in mine.stderr
            other = as_another_user(console, {"do": "approve", "name": "0" * 8})
            assert f"the draft is {draft} now" in other["problem"]["what"]
            approved = as_another_user(console, {"do": "approve", "name": draft})["programme"]["in_force"]
            assert (approved["by"], approved["approved_by"], approved["name"]) == ("root", "nobody", draft)
            await until(lambda: entries(copy) == ["ban-tin"])
            assert copy.current is not None and len(copy.current.occurrences) == 7
            assert "nobody" not in copy.current.model_dump_json(), "names travel nowhere they need not"
            plan.write_text(PLAN.replace("ban-tin", "ban-tin-moi"))
            assert (await keng(console, "programme", "publish", plan)).returncode == 0
            console.process.kill()
        with running_console(broker, folder) as console:
            shown = await keng(console, "programme", "show")
            assert f"ĐANG PHÁT (in force): {draft}, root lập" in shown.stdout and "nobody duyệt" in shown.stdout
            assert "CHỜ DUYỆT" in shown.stdout
            version = copy.current.version
            await until(lambda: console.overview()["broker_connected"])
            second = json.loads((await keng(console, "programme", "show", "--json")).stdout)["draft"]["name"]
            as_another_user(console, {"do": "approve", "name": second})
            await until(lambda: entries(copy) == ["ban-tin-moi"])
            assert copy.current.version > version


async def test_a_plan_is_refused_at_night_and_above_the_quota_unless_it_is_said_why(
    broker: RunningBroker, tmp_path: Path
) -> None:
    more = '[programme]\napproval = "none"\n[programme.quota]\ndays = ["MO"]\n'
    plan = tmp_path / "tuan.toml"
    async with copies(broker, tmp_path) as copy:
        with running_console(broker, tmp_path, more) as console:
            plan.write_text(PLAN.replace("T06", "T23"))
            night = await keng(console, "programme", "publish", plan)
            assert night.returncode == 2 and "quiet hours" in night.stderr
            plan.write_text(PLAN)
            often = await keng(console, "programme", "publish", plan)
            assert often.returncode == 2 and "06:00 ban-tin: không được phát ngày này" in often.stderr
            rare = PLAN.replace('"FREQ=DAILY"', '"FREQ=MONTHLY;BYDAY=1TU,3TU"')
            plan.write_text(rare)
            later = await keng(console, "programme", "publish", plan)
            assert later.returncode == 2 and "TU " in later.stderr, "it need not be in this week"
            plan.write_text(PLAN)
            assert "no programme yet" in (await keng(console, "programme", "show")).stdout and copy.current is None
            told = await keng(console, "programme", "publish", plan, "--override", "Tuần lễ phòng chống lụt bão")
            assert told.returncode == 0 and "Tuần lễ phòng chống lụt bão" in told.stdout
            assert "không cần duyệt (without approval)" in told.stdout
            await until(lambda: entries(copy) == ["ban-tin"])
