"""What befalls a loudspeaker node in a month: a table of faults, each with how often it comes and for how long."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from keng_contracts.commands import Play, Priority, Stop
from tests.support.month import Month
from tests.support.planned import siren, sound_file
from tests.support.pole import DAY, HOUR, MINUTE

YEAR = 365 * DAY
#: Half of all faults come so long after an occurrence is due: while it is handed over, between decision and sound, in
#: mid-play, at its end.
NEAR_S = (-60, -2.4, -1.0, -0.05, 0.02, 0.3, 1.2, 2.6, 30, 200)


async def power_cut(month: Month, lasts_s: float) -> None:
    """The machine loses its power; its clock stands meanwhile, or begins anew in 1970."""
    if not month.history.now("power"):
        return
    month.history.set("power", False)
    await month.kill()
    wrong_ms = month.machine.wrong_ms - round(lasts_s * 1000)
    if month.chance.random() < 0.3:
        wrong_ms = -month.machine.true_ms + 5000
    await asyncio.sleep(lasts_s)
    month.history.set("power", True)
    month.switch_on(wrong_ms)


async def crash(month: Month, lasts_s: float) -> None:
    if month.history.now("power"):
        month.history.set("power", False)
        await month.kill()
        await asyncio.sleep(lasts_s)
        month.history.set("power", True)
        month.start()


async def restart(month: Month, lasts_s: float) -> None:
    """Somebody restarts the service."""
    if month.history.now("power"):
        month.history.set("power", False)
        await month.end()
        await asyncio.sleep(lasts_s)
        month.history.set("power", True)
        month.start()


async def clock_jump(month: Month, lasts_s: float) -> None:
    """Somebody sets the clock wrong: the kernel no longer says that NTP keeps it."""
    with month.without("jump"):
        size_s = month.chance.choice([-1, 1]) * month.chance.choice([5, 10 * MINUTE, 4 * HOUR, 11 * HOUR, 9 * YEAR])
        month.machine.wrong_ms, month.machine.synced = round(size_s * 1000), False
        await asyncio.sleep(lasts_s)
    month.sync_later()


async def link_loss(month: Month, lasts_s: float) -> None:
    with month.without("link"):
        await asyncio.sleep(lasts_s)


async def files_vanish(month: Month, lasts_s: float) -> None:
    with month.without("served"):
        await asyncio.sleep(lasts_s)


async def files_change(month: Month, lasts_s: float) -> None:
    """The server has other files under their names."""
    with month.without("served"):
        month.server.files = {path: sound_file("changed") for path in month.files}
        await asyncio.sleep(lasts_s)


async def new_plan(month: Month, lasts_s: float) -> None:
    """Somebody changes the plan: the programme is made anew."""
    month.publish_programme()


async def new_registry(month: Month, lasts_s: float) -> None:
    month.publish_registry()


async def new_keys(month: Month, lasts_s: float) -> None:
    """The console has another key, and signs everything anew after a while."""
    month.rotate_keys()
    await asyncio.sleep(lasts_s)
    month.sign_anew()


async def emergency(month: Month, lasts_s: float) -> None:
    """A siren by zone, and the same command again later."""
    play = f"coi-{len(month.sent)}"
    item = siren(len(month.sent), 0.4)
    sent = month.order(Play(play=play, priority=Priority.EMERGENCY, items=[item]), play)
    await asyncio.sleep(lasts_s)
    month.send(sent.token)


async def emergency_stopped(month: Month, lasts_s: float) -> None:
    play = f"dai-{len(month.sent)}"
    month.order(Play(play=play, priority=Priority.EMERGENCY, items=[siren(len(month.sent), 20)]), play)
    await asyncio.sleep(2)
    month.order(Stop(play=play), play, by="console")


async def full_disk(month: Month, lasts_s: float) -> None:
    """Somebody else's files fill it; a siren sounds all the same, and so does what follows a crash."""
    with month.without("disk"):
        await asyncio.sleep(lasts_s / 2)
        await emergency(month, 10)
        await month.chance.choice([crash, power_cut, restart])(month, 20)
        await emergency(month, 10)
        await asyncio.sleep(max(0.0, lasts_s / 2 - 40))


@dataclass(frozen=True)
class Fault:
    """What happens so often in thirty days, and lasts for one of these times, in seconds."""

    happens: Callable[[Month, float], Awaitable[None]]
    a_month: int
    lasts_s: tuple[float, ...] = (0,)


FAULTS = (
    Fault(power_cut, 14, (2, 20, 150, 20 * MINUTE, 5 * HOUR)),
    Fault(crash, 12, (1,)),
    Fault(restart, 6, (1, 30)),
    Fault(clock_jump, 20, (3, 90, 700, 3 * HOUR)),
    Fault(link_loss, 16, (5, 400, 3 * HOUR, 14 * HOUR, 45 * HOUR)),
    Fault(full_disk, 6, (10 * MINUTE, 6 * HOUR, 20 * HOUR)),
    Fault(files_vanish, 5, (HOUR, 20 * HOUR, 70 * HOUR)),
    Fault(files_change, 4, (HOUR, 20 * HOUR)),
    Fault(new_plan, 8),
    Fault(new_registry, 4),
    Fault(new_keys, 1, (HOUR, 30 * HOUR)),
    Fault(emergency, 16, (10, 10 * MINUTE, 30 * HOUR)),
    Fault(emergency_stopped, 8),
)


def plan(month: Month) -> list[tuple[float, Fault, float]]:
    """(when, what, for how long) of a month, the last day of which is left in peace."""
    planned = []
    for fault in FAULTS:
        for _ in range(max(1, round(fault.a_month * month.days / 30))):
            at_s = month.chance.uniform(HOUR, (month.days - 1) * DAY)
            if month.chance.random() < 0.5:
                at_s = month.chance.choice(month.dues).at_s + month.chance.choice(NEAR_S)
            if HOUR < at_s < (month.days - 1) * DAY:
                planned.append((at_s, fault, month.chance.choice(fault.lasts_s)))
    return sorted(planned, key=lambda row: row[0])


async def live_through(month: Month) -> None:
    """All of it, and then a day's peace in which what waits is told."""
    planned = plan(month)
    end_s = month.days * DAY
    made = [day * DAY + 10 * MINUTE for day in range(month.days)]
    ends = [at_s + lasts_s for at_s, _, lasts_s in planned]
    month.moments = sorted([*(due.at_s for due in month.dues), *(at_s for at_s, *_ in planned), *ends, *made])
    for what in ("power", "link", "disk", "served", "jump"):
        month.history.set(what, True)
    month.publish_registry()
    month.publish_programme()
    month.switch_on(0)

    async def befall(at_s: float, fault: Fault, lasts_s: float) -> None:
        await asyncio.sleep(at_s - month.loop.time())
        month.moved()
        await fault.happens(month, min(lasts_s, end_s - DAY - at_s))

    async def plan_anew() -> None:
        for at_s in made:
            await asyncio.sleep(at_s - month.loop.time())
            month.publish_programme()

    living = [asyncio.create_task(befall(*row)) for row in planned]
    living.append(asyncio.create_task(plan_anew()))
    await asyncio.sleep(end_s)
    await asyncio.gather(*living)
    await month.end()
