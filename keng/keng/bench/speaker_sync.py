"""How far apart loudspeakers start that were ordered to start together, measured in the sound itself.

Real nodes (broker with mutual TLS, command, mpv) play into one sound server: a null sink with a channel for each node,
and a sink for each node that feeds its channel. One recording of all channels has them on one time base. Of each start,
every channel is compared with the first by cross-correlation; the skew is from the earliest to the latest.

Run twice: all nodes by this machine's clock, and each by a clock of its own, with an offset and a drift. chrony's
authors give its accuracy as typically tens of microseconds on a LAN and within a few milliseconds over the Internet
(chrony-project.org); up to :data:`OFFSET_MS` either way and :data:`DRIFT_PPM` is the worse of the two.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import random
import shutil
import sys
import tempfile
import uuid
from array import array
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from operator import mul
from pathlib import Path
from typing import Any

import click

from keng.bench.figures import percentiles
from keng.demo.children import Children
from keng.demo.plan import Plan
from keng_contracts.commands import Command, Play, Priority, Siren, Stop
from keng_contracts.errors import Problem
from keng_contracts.playback import PlaybackEvent, What
from keng_contracts.receipts import Receipt
from keng_contracts.registry import Speaker
from keng_contracts.topics import Channel, Kind, Topic, pattern
from keng_loudspeaker.playing import children
from keng_loudspeaker.playing.sound import RATE
from keng_runtime.clock import now_ms
from keng_runtime.mqtt import Link
from keng_runtime.settings import BrokerSettings

OFFSET_MS, DRIFT_PPM = 3.0, 2.0
#: A command comes so long before its moment.
AHEAD_MS = 2000
SIREN = Siren(pattern="do", blasts=1, blast_s=0.4, gap_s=0)
PATIENCE_S = 12.0
#: A sample above this is sound; a pause of so many samples is one.
FLOOR, PAUSE = 400, RATE // 3
#: What is compared: so many samples from the onset on, moved by up to so many either way.
WINDOW, REACH = 9600, 48


@contextlib.asynccontextmanager
async def yard(folder: Path, nodes: int) -> AsyncIterator[tuple[Mapping[str, str], Path]]:
    """A sound server with a sink ``loa_<n>`` for each node, all recorded; yields its clients' environment and the file
    of the recording, 16 bit with a channel a node."""
    socket, file = folder / "native", folder / "yard.raw"
    env = {**os.environ, "HOME": str(folder), "PULSE_RUNTIME_PATH": str(folder), "PULSE_STATE_PATH": str(folder)}
    env["PULSE_SERVER"] = f"unix:{socket}"
    channels = ",".join(f"aux{n}" for n in range(nodes))
    modules = [f"module-native-protocol-unix auth-anonymous=1 socket={socket}"]
    modules.append(f"module-null-sink sink_name=yard rate={RATE} channels={nodes} channel_map={channels} norewinds=1")
    modules += [
        f"module-remap-sink sink_name=loa_{n} master=yard channels=1 master_channel_map=aux{n} channel_map=mono"
        " remix=no"
        for n in range(nodes)
    ]
    server = await children.start(
        *("pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no", "--disable-shm=yes"),
        *(part for module in modules for part in ("-L", module)),
        env=env,
    )
    try:
        async with asyncio.timeout(10):
            while f"loa_{nodes - 1}" not in (  # noqa: ASYNC110 - another process sets no event of ours
                await children.output("pactl", "list", "short", "sinks", env=env) or ""
            ):
                await asyncio.sleep(0.1)
        with file.open("wb") as out:
            recorder = await children.start(
                *("parec", "--device=yard.monitor", "--raw", "--format=s16le", f"--rate={RATE}", "--latency-msec=20"),
                *(f"--channels={nodes}", f"--channel-map={channels}"),
                env=env,
                stdout=out.fileno(),
            )
        try:
            yield env, file
        finally:
            await children.end(recorder)
    finally:
        await children.end(server)


def onsets(channel: Sequence[int]) -> list[int]:
    """Where sound begins after a pause, in samples."""
    block, found, quiet_since = 48, [], -PAUSE
    for at in range(0, len(channel) - block, block):
        part = channel[at : at + block]
        if max(part) > FLOOR or min(part) < -FLOOR:
            if at - quiet_since >= PAUSE:
                found.append(at + next(i for i, v in enumerate(part) if not -FLOOR <= v <= FLOOR))
            quiet_since = at + block
    return found


def lag(one: Sequence[int], other: Sequence[int], at: int, guess: int) -> float:
    """By how many samples ``other`` is later than ``one``, whose sound begins at ``at``: where their cross-correlation
    is highest, near ``guess``, with a parabola through the three highest points."""
    window = one[at : at + WINDOW]
    peaks = [sum(map(mul, window, other[at + move : at + move + WINDOW])) for move in _moves(guess)]
    best = max(range(1, len(peaks) - 1), key=peaks.__getitem__)
    left, top, right = peaks[best - 1 : best + 2]
    curve = left - 2 * top + right
    return guess - REACH + best + (0.5 * (left - right) / curve if curve else 0.0)


def _moves(guess: int) -> range:
    return range(guess - REACH, guess + REACH + 1)


def skews(recording: Path, nodes: int) -> list[float]:
    """From the earliest to the latest node of each start that all nodes made, in ms."""
    samples = array("h")
    raw = recording.read_bytes()
    samples.frombytes(raw[: len(raw) // (2 * nodes) * (2 * nodes)])
    channels = [samples[n::nodes] for n in range(nodes)]
    begun = [onsets(channel) for channel in channels]
    found = []
    for at in begun[0]:
        near = [min(of, key=lambda o: abs(o - at), default=-RATE) for of in begun]
        if at + WINDOW + RATE > len(channels[0]) or any(abs(o - at) > RATE for o in near):
            continue
        lags = [0.0, *(lag(channels[0], c, at, o - at) for c, o in zip(channels[1:], near[1:], strict=True))]
        found.append((max(lags) - min(lags)) / RATE * 1000)
    return found


async def run(folder: Path, nodes: int, starts: int, clocks: list[tuple[float, float]], say: Any) -> dict[str, Any]:
    """Order ``starts`` starts of nodes with these (offset in ms, drift in ppm); returns the figures."""
    plan = Plan(folder, lapse=1.0)
    names = [f"loa-{n}" for n in range(nodes)]
    speakers = [Speaker(id=name, name=name, zones=["toan-xa"]) for name in names]
    plan.registry = plan.registry.model_copy(update={"speakers": speakers})
    plan.write()
    sounds = folder / "yard"
    sounds.mkdir(mode=0o700)
    for n, name in enumerate(names):
        file = folder / "settings" / f"{name}.toml"
        file.write_text('clock = "trusted"\n' + file.read_text().replace('device = "auto"', f'device = "loa_{n}"'))
    processes = Children(folder / "logs")
    processes.start("broker", plan.broker_command(), changes_user=True)
    commune = plan.registry.commune.id
    broker = BrokerSettings(host="127.0.0.1", port=plan.broker_port, credentials=folder / "credentials" / "console")
    steps: list[tuple[str, PlaybackEvent]] = []
    news = asyncio.Event()
    try:
        async with yard(sounds, nodes) as (env, recording), Link(broker) as link:
            for name, (offset_ms, drift_ppm) in zip(names, clocks, strict=True):
                wrong = [sys.executable, "-m", "keng.bench.set_clock", str(offset_ms), str(drift_ppm)]
                settings = folder / "settings" / f"{name}.toml"
                processes.start(name, ["env", *changed(env), *wrong, "run", "--settings", str(settings)])
            key = link.credentials.signing_key()
            await link.wait_connected()
            token = key.sign(plan.registry.model_dump_json(by_alias=True).encode())
            await link.publish(str(Topic(commune, Kind.REGISTRY)), token, retain=True)
            await link.subscribe(pattern(Kind.SPEAKER, Channel.PLAYBACK))
            await link.subscribe(pattern(Kind.SPEAKER, Channel.STATUS))
            ready: set[str] = set()

            async def listen() -> None:
                async for message in link.messages():
                    message.ack()
                    topic = Topic.parse(message.topic)
                    if topic.channel is Channel.STATUS:
                        if json.loads(message.payload).get("device"):
                            ready.add(topic.id or "")
                    else:
                        event = PlaybackEvent.model_validate_json(message.payload)
                        receipt = Receipt(boot=event.boot, stored=[(event.seq, event.seq)])
                        answer = Topic(commune, Kind.SPEAKER, topic.id, Channel.PLAYBACK_RECEIPT)
                        link.send(str(answer), receipt.to_bytes())
                        steps.append((topic.id or "", event))
                    news.set()

            listening = asyncio.create_task(listen())
            await _until(lambda: ready >= set(names), news, 30, "the nodes have no sound device", processes)
            await asyncio.sleep(1.5)  # the zones are subscribed; nothing tells when all have
            for number in range(1, starts + 1):
                await order(link, key, commune, f"dong-bo-{number}", now_ms() + AHEAD_MS)
                with contextlib.suppress(Problem):  # what did not come is not counted as a start
                    await _until(
                        functools.partial(_all_over, steps, number, nodes), news, PATIENCE_S, "no end", processes
                    )
                await asyncio.sleep(random.uniform(0.4, 0.5))  # at another phase of the sound server each time
                if number % 5 == 0:
                    say(f"{number} of {starts} starts")
            listening.cancel()
            await asyncio.sleep(1.0)
        measured = await asyncio.to_thread(skews, recording, nodes)
    finally:
        processes.stop_all()
    started = [e for _, e in steps if e.what is What.STARTED]
    return {
        "starts": len(measured),
        "skew_ms": {name: round(value, 3) for name, value in percentiles(measured, 50, 99).items()},
        "worst_ms": round(max(measured, default=0.0), 3),
        "on_arrival": sum(bool(e.reason) for e in started),
        "missed": starts * nodes - len(started),
    }


async def order(link: Link, key: Any, commune: str, name: str, start_ms: int | None = None) -> int:
    """Order a short siren everywhere; returns when the command was handed to the broker (ms since 1970 UTC)."""
    play = Play(play=name, priority=Priority.EMERGENCY, items=[SIREN], start_ms=start_ms)
    return await send(link, key, commune, play)


async def send(link: Link, key: Any, commune: str, action: Play | Stop) -> int:
    """Send a signed command to all; returns when it was handed to the broker (ms since 1970 UTC)."""
    at_ms = now_ms()
    command = Command(
        iss=key.issuer,
        commune=commune,
        aud="zone/toan-xa",
        jti=str(uuid.uuid4()),
        ctr=at_ms,
        iat=at_ms / 1000,
        nbf=at_ms / 1000,
        exp=at_ms / 1000 + 60,
        action=action,
    )
    topic = Topic(commune, Kind.ZONE, "toan-xa", Channel.COMMAND)
    await link.publish(str(topic), key.sign(command.model_dump_json().encode()))
    return at_ms


def _all_over(steps: list[tuple[str, PlaybackEvent]], number: int, nodes: int) -> bool:
    over = {who for who, e in steps if e.play == f"dong-bo-{number}" and e.what is What.FINISHED}
    return len(over) == nodes


async def _until(
    condition: Callable[[], bool], news: asyncio.Event, within_s: float, what: str, processes: Children
) -> None:
    try:
        async with asyncio.timeout(within_s):
            while not condition():
                news.clear()
                await news.wait()
    except TimeoutError:
        processes.check()
        raise Problem(what, where="keng bench speaker-sync", todo="see the logs with --keep") from None


def changed(env: Mapping[str, str]) -> list[str]:
    """What env(1) is told, so that a child has the same."""
    return [f"{name}={value}" for name, value in env.items() if os.environ.get(name) != value]


async def measure(folder: Path, nodes: int, starts: int, seed: int, say: Any) -> dict[str, Any]:
    """Both runs, one after the other."""
    chance = random.Random(seed)
    one = [(0.0, 0.0)] * nodes
    own = [(chance.uniform(-OFFSET_MS, OFFSET_MS), chance.uniform(-DRIFT_PPM, DRIFT_PPM)) for _ in range(nodes)]
    say("one clock")
    together = await run(folder / "one", nodes, starts, one, say)
    say(f"a clock each: {', '.join(f'{o:+.1f} ms' for o, _ in own)}")
    apart = await run(folder / "own", nodes, starts, own, say)
    apart["offsets_ms"] = [round(offset, 2) for offset, _ in own]
    return {"nodes": nodes, **together, "own_clocks": apart, "load": [round(x, 1) for x in os.getloadavg()]}


@click.command()
@click.option("--nodes", default=4, show_default=True, type=click.IntRange(2, 16))
@click.option("--starts", default=12, show_default=True, type=click.IntRange(1, 1000), help="Of each of the two runs.")
@click.option("--seed", default=1, show_default=True, help="For the clocks of the second run.")
@click.option("--json", "as_json", is_flag=True, help="Only the JSON object on standard output.")
@click.option(
    "--keep", type=click.Path(path_type=Path, file_okay=False), help="Keep all files and logs in this folder."
)
def command(nodes: int, starts: int, seed: int, as_json: bool, keep: Path | None) -> None:
    """Measure how far apart loudspeakers start that were ordered to start together, in recorded sound."""
    folder = (keep or Path(tempfile.mkdtemp(prefix="keng-bench-"))).absolute()

    def say(line: str) -> None:
        click.echo(line, err=as_json)

    try:
        click.echo(json.dumps(asyncio.run(measure(folder, nodes, starts, seed, say))))
    finally:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)
