"""From mouth to ear: how much later a loudspeaker says what a person says into the microphone, in recorded sound.

One sound server has both: a sink that is the room in which somebody speaks, with its monitor as the microphone, and the
node's. ``keng console speak`` records the first, and one recording of both channels has them on one time base. Short
tones are spoken, and the beginning of each is sought in the other channel.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import random
import shutil
import sys
import tempfile
import wave
from array import array
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from keng.bench.figures import percentiles
from keng.bench.speaker_sync import changed, onsets, yard
from keng.demo.children import Children
from keng.demo.plan import Plan
from keng_contracts.errors import Problem
from keng_loudspeaker.playing import children
from keng_loudspeaker.playing.sound import RATE

NODE = "loa-phuoc-yen"
READY_S, TONE_S, TONE_HZ = 30.0, 0.15, 700
#: What comes later than this is not taken for the same tone: tones are at least twice as far apart.
MOST_S = 1.0


def _speech(path: Path, tones: int, chance: random.Random) -> float:
    """A file of ``tones`` tones at uneven distances; returns how long it lasts, in seconds."""
    tone = [round(9000 * math.sin(2 * math.pi * TONE_HZ * i / RATE)) for i in range(round(TONE_S * RATE))]
    samples = array("h")
    for _ in range(tones):
        samples.extend([0] * round(chance.uniform(2.1, 2.6) * MOST_S * RATE - len(tone)))
        samples.extend(tone)
    samples.extend([0] * round(MOST_S * RATE))
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes(samples.tobytes())
    return len(samples) / RATE


def delays(recording: Path) -> tuple[int, list[float]]:
    """How many tones were spoken, and by how much later each was heard, in ms."""
    samples = array("h")
    raw = recording.read_bytes()
    samples.frombytes(raw[: len(raw) // 4 * 4])
    spoken, heard = (onsets(samples[n::2]) for n in range(2))
    found = [min((h - s for h in heard if 0 <= h - s <= MOST_S * RATE), default=None) for s in spoken]
    return len(spoken), [delay / RATE * 1000 for delay in found if delay is not None]


async def measure(folder: Path, tones: int, seed: int, say: Any) -> dict[str, Any]:
    """Run it all; returns the figures."""
    plan = Plan(folder, lapse=1.0)
    plan.write()
    sounds = folder / "yard"
    sounds.mkdir(mode=0o700)
    file = folder / "settings" / f"{NODE}.toml"
    file.write_text('clock = "trusted"\n' + file.read_text().replace('device = "auto"', 'device = "loa_1"'))
    lasts_s = _speech(folder / "speech.wav", tones, random.Random(seed))
    processes = Children(folder / "logs")
    try:
        processes.start("broker", plan.broker_command(), changes_user=True)
        async with yard(sounds, 2) as (env, recording):
            keng = ["env", *changed(env), sys.executable, "-m"]
            processes.start("console", next(part.command for part in plan.parts() if part.name == "console"))
            processes.start(NODE, [*keng, "keng_loudspeaker", "run", "--settings", str(file)])
            await _ready(plan, processes)
            speak = [*keng, "keng", "console", "speak", "--to", NODE, "--no-gong", "--source", "loa_0.monitor"]
            settings = folder / "settings" / "console.toml"
            processes.start("speak", [*speak, "--night", "keng bench", "--settings", str(settings)])
            await asyncio.sleep(2.0)  # the microphone is open, and the order is obeyed
            say(f"speaking for {lasts_s:.0f} s")
            await _play(folder / "speech.wav", env)
            processes.stop("speak")
            await asyncio.sleep(0.5)
        spoken, heard = await asyncio.to_thread(delays, recording)
    finally:
        processes.stop_all()
    return {
        "spoken": spoken,
        "heard": len(heard),
        "mouth_to_ear_ms": {name: round(value, 1) for name, value in percentiles(heard, 50, 99).items()},
        "worst_ms": round(max(heard, default=math.nan), 1),
        "load": [round(x, 1) for x in os.getloadavg()],
    }


async def _ready(plan: Plan, processes: Children) -> None:
    status = plan.state(NODE) / "status.json"
    try:
        async with asyncio.timeout(READY_S):
            while True:
                processes.check()
                with contextlib.suppress(OSError, ValueError):
                    said = json.loads(await asyncio.to_thread(status.read_text))
                    if said.get("device") and said.get("zones"):
                        return
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise Problem("is not ready", where=NODE, todo="see the logs with --keep") from None


async def _play(file: Path, env: Mapping[str, str]) -> None:
    child = await children.start("paplay", "--device=loa_0", str(file), env=env)
    await child.wait()


@click.command()
@click.option("--tones", default=40, show_default=True, type=click.IntRange(1, 1000))
@click.option("--seed", default=1, show_default=True, help="For the distances between the tones.")
@click.option("--json", "as_json", is_flag=True, help="Only the JSON object on standard output.")
@click.option(
    "--keep", type=click.Path(path_type=Path, file_okay=False), help="Keep all files and logs in this folder."
)
def command(tones: int, seed: int, as_json: bool, keep: Path | None) -> None:
    """Measure a live voice from the console's microphone to the loudspeaker's output, in recorded sound."""
    folder = (keep or Path(tempfile.mkdtemp(prefix="keng-bench-"))).absolute()

    def say(line: str) -> None:
        click.echo(line, err=as_json)

    try:
        click.echo(json.dumps(asyncio.run(measure(folder, tones, seed, say))))
    finally:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)
