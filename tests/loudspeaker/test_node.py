"""The node on a real broker with its real player: it obeys, it refuses, it gives way, it stops, and it proves it."""

from __future__ import annotations

import asyncio
import math
import time

from keng_contracts.commands import Priority, Speech, Stop
from keng_contracts.playback import What
from keng_contracts.telemetry import Clock
from keng_runtime.signing import SigningKey
from tests.loudspeaker.conftest import CAUSE, LONG, SHORT, RunningNode, Signer, Village, play, zones_of
from tests.support.processes import until


async def online(village: Village) -> None:
    await until(lambda: village.status.state == "online" and village.status.device == "null", what="the node is online")


async def test_a_siren_ordered_for_our_zone_is_heard_and_proved(node: RunningNode, village: Village) -> None:
    await online(village)
    await until(zones_of(node), what="the node knows its zones")
    job = play(SHORT, rank=3)
    async with node.ears() as ears:
        with ears.meter.hearing(time.monotonic()) as heard:
            ordered_ms = time.time() * 1000
            await village.order(village.alerts.command(job, aud="zone/toan-xa"), "zone/toan-xa")
            finished = await village.event(job.play, What.FINISHED)
            await ears.caught_up(time.monotonic())
    started = await village.event(job.play, What.STARTED)
    assert village.steps(job.play) == [What.ACCEPTED, What.STARTED, What.FINISHED]
    assert started.first_sample_ms is not None and started.first_sample_ms >= ordered_ms - 25
    assert started.level_dbfs is not None and -9 < started.level_dbfs < -4
    assert finished.sounded_s is not None and math.isclose(finished.sounded_s, 0.6, abs_tol=0.03)
    assert finished.level_dbfs is not None and math.isclose(finished.level_dbfs, started.level_dbfs, abs_tol=1)
    assert (started.item, started.kind, started.priority) == (0, "siren", Priority.EMERGENCY)
    assert started.cause == CAUSE and started.clock is not Clock.UNKNOWN
    # and a second pair of ears, which are not the node's, heard the same
    assert math.isclose(heard.sounded_s, finished.sounded_s, abs_tol=0.03)
    assert heard.level_dbfs is not None and math.isclose(heard.level_dbfs, finished.level_dbfs, abs_tol=0.3)


async def test_what_must_not_be_obeyed_is_refused_with_its_reason_and_nothing_sounds(
    node: RunningNode, village: Village, guard: Signer
) -> None:
    await online(village)
    genuine = village.alerts.command(play(SHORT))
    replay = play(SHORT)
    replayed = village.alerts.command(replay)
    await village.order(replayed)
    await village.event(replay.play, What.FINISHED)
    before = village.status.refused
    stranger = Signer(SigningKey.generate("alerts"))
    forger = Signer(SigningKey(village.alerts.key.kid, "alerts", SigningKey.generate("alerts")._key))
    head, body, signature = genuine.split(b".")
    # Well before the end: where the payload's length is no multiple of three, its last character has unused bits that
    # must be nought, and another one in its place is no base64 but unreadable.
    changed = body[:40] + body[44:48] + body[40:44] + body[48:]
    now = time.time()
    refused = {
        "unreadable": b"\x00 no command \xff",
        "unknown-key": stranger.command(play(SHORT)),
        "bad-signature": forger.command(play(SHORT)),
        "bad-signature, changed on the way": b".".join([head, changed, signature]),
        "not-allowed": village.alerts.command(play(SHORT), iss="console"),
        "not-allowed, may only stop": guard.command(play(SHORT)),
        "not-for-me": village.alerts.command(play(SHORT), aud="speaker/loa-niem-pho"),
        "not-for-me, another commune": village.alerts.command(play(SHORT), commune="quang-vinh", aud="commune"),
        "replayed": replayed,
        "expired": village.alerts.command(play(SHORT), nbf=now - 120, exp=now - 60),
        "not-yet-valid": village.alerts.command(play(SHORT), nbf=now + 60, exp=now + 120),
    }
    async with node.ears() as ears:
        with ears.meter.hearing(time.monotonic()) as heard:
            for expected, token in refused.items():
                count = len(village.events)
                await village.order(token)
                await until(lambda count=count: len(village.events) > count, what=expected)  # type: ignore[misc]
                answer = village.events[-1]
                assert (answer.what, answer.reason) == (What.REFUSED, expected.partition(",")[0])
            await asyncio.sleep(0.3)  # time for a sound, if there were one
    assert heard.first_s is None and heard.sounded_s == 0
    await until(lambda: village.status.refused == before + len(refused), what="the refusals are counted")


async def test_bao_dong_3_interrupts_bao_dong_2(node: RunningNode, village: Village) -> None:
    await online(village)
    bd2, bd3 = play(LONG, rank=2), play(SHORT, rank=3)
    await village.order(village.alerts.command(bd2))
    await village.event(bd2.play, What.STARTED)
    await village.order(village.alerts.command(bd3))
    await village.event(bd3.play, What.FINISHED)
    cut = await village.event(bd2.play, What.CUT)
    assert cut.reason == f"interrupted: {bd3.play}" and cut.level_dbfs is not None
    started = await village.event(bd3.play, What.STARTED)
    assert started.first_sample_ms is not None and started.first_sample_ms > (cut.first_sample_ms or 0)
    await until(lambda: village.status.playing == "", what="nothing is resumed")
    assert village.steps(bd2.play) == [What.ACCEPTED, What.STARTED, What.CUT]


async def test_what_says_so_goes_on_after_an_emergency_and_the_rest_is_over(
    node: RunningNode, village: Village
) -> None:
    await online(village)
    bulletin = play(SHORT, LONG, priority=Priority.SCHEDULED).model_copy(update={"resume": True})
    siren = play(SHORT, rank=3)
    await village.order(village.alerts.command(bulletin))
    await village.event(bulletin.play, What.STARTED, item=1)
    await village.order(village.alerts.command(siren))
    assert (await village.event(bulletin.play, What.CUT)).reason == f"interrupted: {siren.play}"
    await village.event(siren.play, What.FINISHED)
    await until(lambda: village.status.playing == bulletin.play, what="the bulletin goes on")
    await until(lambda: village.steps(bulletin.play).count(What.STARTED) == 3)
    resumed = [e for e in village.events if e.play == bulletin.play and e.what is What.STARTED][-1]
    assert resumed.item == 1 and resumed.reason.startswith("resumed at")
    await village.order(village.alerts.command(Stop(play=bulletin.play)))
    await until(lambda: village.steps(bulletin.play).count(What.CUT) == 2, what="it can be stopped all the same")
    await until(lambda: village.status.playing == "")


async def test_a_stop_silences_at_once_and_the_order_stays_dead(
    node: RunningNode, village: Village, guard: Signer
) -> None:
    await online(village)
    job = play(LONG)
    await village.order(village.alerts.command(job))
    await village.event(job.play, What.STARTED)
    await until(lambda: village.status.playing == job.play, what="the status says what plays")
    async with node.ears() as ears:
        await village.order(guard.command(Stop(play=job.play)))
        assert (await village.event(job.play, What.CUT)).reason == "stopped"
        await ears.silence(within_s=5)
        with ears.meter.hearing(time.monotonic()) as heard:
            await village.order(village.alerts.command(job))
            await until(lambda: [e for e in village.events if e.play == job.play and e.reason == "already"])
            await asyncio.sleep(0.2)
    assert heard.first_s is None
    await until(lambda: village.status.playing == "")


async def test_an_announcement_waits_for_the_siren_and_is_not_played_twice(node: RunningNode, village: Village) -> None:
    await online(village)
    siren = play(SHORT)
    news = play(Speech(text="Bà con chú ý"), priority=Priority.SCHEDULED)
    for job in (siren, news, news):
        await village.order(village.alerts.command(job))
    await village.event(news.play, What.FINISHED)
    assert [e.reason for e in village.events if e.play == news.play and e.what is What.ACCEPTED] == [
        "waiting",
        "already",
    ]
    assert village.steps(news.play).count(What.STARTED) == 1
    ended, began = await village.event(siren.play, What.FINISHED), await village.event(news.play, What.STARTED)
    assert began.first_sample_ms is not None and began.first_sample_ms >= ended.at_ms - 100
    assert began.kind == "speech" and began.level_dbfs is not None and began.level_dbfs > -40
