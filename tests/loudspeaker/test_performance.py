"""How a job is played: repeats, gaps, gong, fades and gain as they are heard, and how it goes on after a cut."""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from pathlib import Path

import pytest

from keng_contracts.commands import Siren
from keng_contracts.playback import What
from keng_loudspeaker.playing.performance import Manner, Performance, Place
from keng_loudspeaker.sounding.cache import Cache
from keng_loudspeaker.sounding.media import Media
from keng_loudspeaker.sounding.speech import Voice
from tests.loudspeaker.stage_support import Told, running, siren
from tests.support.processes import until

BEEP = Siren(pattern="bip", blasts=1, blast_s=0.3, gap_s=0)
LONGER = Siren(pattern="ba-giay", blasts=1, blast_s=3, gap_s=0)


async def test_items_are_repeated_with_their_gaps(folder: Path) -> None:
    async with running("loa", "null", folder) as (stage, open_):
        told = Told()
        beeps = [siren(BEEP, folder), siren(BEEP, folder)]
        with open_.ears.meter.hearing(time.monotonic()) as heard:
            assert await Performance(beeps, stage, told, Manner(repeats=2, gap_s=0.5)).start()
    assert told.whats == [What.STARTED, What.FINISHED] * 4
    assert told.steps[0][1] == "repeat 1 of 2" and told.steps[-2][1] == "repeat 2 of 2"
    assert math.isclose(heard.sounded_s, 4 * 0.3, abs_tol=0.08)
    firsts = [hearing.first_s for what, _, hearing in told.steps if what is What.FINISHED and hearing is not None]
    for one, next_ in itertools.pairwise(firsts):
        assert one is not None and next_ is not None and 0.8 <= next_ - one < 1.6


async def test_a_gong_comes_first_and_is_no_step(folder: Path) -> None:
    cache = Cache(folder / "kept", folder / "spare", 1 << 30)
    cache.prepare()
    async with running("loa", "null", folder) as (stage, open_):
        told = Told()
        with open_.ears.meter.hearing(time.monotonic()) as heard:
            assert await Performance(
                [siren(BEEP, folder)], stage, told, Manner(gong=Media(cache, Voice()).gong)
            ).start()
    assert told.whats == [What.STARTED, What.FINISHED]
    started = told.steps[0][2]
    assert heard.first_s is not None and started is not None and started.first_s is not None
    assert 2.0 < started.first_s - heard.first_s < 4.0


async def test_it_fades_in_and_out(folder: Path) -> None:
    async with running("loa", "null", folder) as (stage, open_):
        told = Told()
        await Performance([siren(LONGER, folder)], stage, told, Manner(fade_in_s=1.0, fade_out_s=1.0)).start()
        first_s = told.steps[-1][2].first_s or 0  # type: ignore[union-attr]
        curve = [(at_s - first_s, level) for at_s, level in open_.ears.meter.curve]

    def level(position_s: float) -> float:
        return max(level for at_s, level in curve if abs(at_s - position_s) < 0.06)

    assert level(0.15) < level(0.5) - 3 < level(1.5) - 5
    assert level(2.85) < level(2.5) - 3 < level(1.5) - 5


@pytest.mark.parametrize("gain_db", [-12.0, -3.0])
async def test_the_gain_of_an_item_is_heard(folder: Path, gain_db: float) -> None:
    async with running("loa", "null", folder) as (stage, _):
        told = Told()
        softer = BEEP.model_copy(update={"gain_db": gain_db})
        await Performance([siren(BEEP, folder), siren(softer, folder)], stage, told).start()
    plain, soft = [hearing.level_dbfs for what, _, hearing in told.steps if what is What.FINISHED and hearing]
    assert plain is not None and soft is not None and math.isclose(soft - plain, gain_db, abs_tol=0.3)


async def test_the_volume_of_the_hour_is_heard(folder: Path) -> None:
    async with running("loa", "null", folder) as (stage, _):
        levels = []
        for volume in (None, 100, 60):
            told = Told()
            await Performance([siren(BEEP, folder)], stage, told, Manner(volume=volume)).start()
            levels.append(told.steps[-1][2].level_dbfs)  # type: ignore[union-attr]
    assert levels[0] == levels[1] and levels[2] is not None and levels[1] is not None and levels[2] < levels[1] - 6


async def test_what_was_cut_goes_on_where_it_was(folder: Path) -> None:
    async with running("loa", "null", folder) as (stage, _):
        told = Told()
        items = [siren(BEEP, folder), siren(LONGER, folder)]
        first = Performance(items, stage, told, Manner(repeats=2))
        task = first.start()
        await until(lambda: told.whats.count(What.STARTED) == 2)
        await asyncio.sleep(1.2)
        place = first.place
        first.cut("interrupted: coi")
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (place.repeat, place.item) == (0, 1) and 0.2 < place.at_s < 1.5
        again = Told()
        assert await Performance(items, stage, again, Manner(repeats=2), place).start()
    assert told.whats == [What.STARTED, What.FINISHED, What.STARTED, What.CUT]
    assert again.whats == [What.STARTED, What.FINISHED] * 3
    assert again.steps[0][1] == f"repeat 1 of 2, resumed at {place.at_s:.1f} s"
    rest = again.steps[1][2]
    assert rest is not None and math.isclose(rest.sounded_s, 3 - place.at_s, abs_tol=0.1)


async def test_what_was_cut_before_anything_was_heard_begins_anew(folder: Path) -> None:
    async with running("loa", "null", folder) as (stage, _):
        performance = Performance([siren(BEEP, folder)], stage, Told())
        assert performance.place == Place()
