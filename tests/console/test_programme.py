"""From a plan to the signed programme of each loudspeaker."""

from __future__ import annotations

import asyncio
import subprocess
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from keng_console.speakers.programme import Plan, programmes
from keng_contracts.errors import Problem
from keng_contracts.programme import Programme
from keng_contracts.topics import Channel, Kind, Topic
from keng_loudspeaker.alone.copy import ProgrammeCopy
from keng_runtime.mqtt import Link
from tests.support.broker import COMMUNE, RunningBroker
from tests.support.console import RunningConsole, running_console
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


async def test_a_published_plan_reaches_a_loudspeaker_signed_and_one_for_the_night_is_refused(
    broker: RunningBroker, tmp_path: Path
) -> None:
    me = sample().speakers[0].id
    plan = tmp_path / "tuan.toml"
    plan.write_text(
        '[[entries]]\nid = "ban-tin"\nname = "Bản tin sáng"\nfirst = 2025-11-10T06:00:00\nrule = "FREQ=DAILY"\n'
        'zones = ["toan-xa"]\nitems = [{ kind = "speech", text = "Bản tin sáng." }]\n'
        '[[emergency]]\nkind = "siren"\npattern = "khan"\nblasts = 1\nblast_s = 1\ngap_s = 0\n'
    )
    with running_console(broker, tmp_path) as console:
        done = await keng(console, "programme", "publish", plan)
        assert done.returncode == 0, done.stderr
        assert f"{me}: 7 lần" in done.stdout and "06:00  Bản tin sáng" in done.stdout
        async with Link(broker.settings(me)) as link:
            copy = ProgrammeCopy(link.credentials.trust(), tmp_path / "programme.jws", COMMUNE, me)
            await link.subscribe(str(Topic(COMMUNE, Kind.SPEAKER, me, Channel.PROGRAMME)))
            async with asyncio.timeout(20):
                async for message in link.messages():
                    message.ack()
                    assert copy.offer(message.payload) is None
                    break
        assert copy.current is not None and len(copy.current.occurrences) == 7
        assert copy.current.emergency[0].kind == "siren"
        plan.write_text(plan.read_text().replace("T06", "T23"))
        refused = await keng(console, "programme", "publish", plan)
        assert refused.returncode == 2 and "quiet hours" in refused.stderr
