"""The audio device: always a sink of a PulseAudio-compatible server, one of our own for each node.

Where a sound server with a real sink answers (PulseAudio or PipeWire), a remap sink ``keng_<node>`` feeds that sink,
and its monitor shows exactly what we send there. Where there is none (a bare server, a container), a private PulseAudio
runs as our child in a folder of our own, with the sound card if the machine has one, or else with a null sink that
plays in real time. Several nodes on one machine never share a sink, a socket or a private server.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import tempfile
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from keng_contracts.errors import Problem
from keng_loudspeaker.playing import children

log = logging.getLogger(__name__)

RATE = 48_000
AUTO, NULL = "auto", "null"
#: How long a private server may take to answer, and a sound card to appear in it.
SERVER_S, CARD_S = 5.0, 3.0
#: A Unix socket's path has no room for more.
_LONGEST_PATH = 100
_CARDS = Path("/proc/asound/cards")


@dataclass(frozen=True, slots=True)
class Sound:
    """An open device: our sink, what is behind it (``null`` or the real sink's name), and how children reach it."""

    sink: str
    device: str
    env: Mapping[str, str]
    latency_ms: int = 20


@contextlib.asynccontextmanager
async def open_sound(node: str, device: str, folder: Path, latency_ms: int = 20) -> AsyncIterator[Sound]:
    """Open ``device`` ("auto", "null" or a sink's name) for a node. ``folder`` is the node's own, for the socket of a
    private server. Raises :class:`Problem` when there is nothing to play on."""
    sink = f"keng_{node}"
    async with contextlib.AsyncExitStack() as stack:
        env: Mapping[str, str] = environment()
        master = None if device == NULL else await _choose(device, env)
        if master is None:
            with_card = device != NULL and has_card()
            modules = ["module-udev-detect"] if with_card else []
            env = await stack.enter_async_context(_private_server(folder, modules))
            if with_card:
                master = await _await_card(env)
        if master is None:
            device_name = NULL
            # norewinds keeps its latency at 50 ms at most; without, an idle one sleeps for 2 s at a time.
            module = f"module-null-sink sink_name={sink} rate={RATE} channels=1 channel_map=mono norewinds=1"
        else:
            device_name = master
            module = (
                f"module-remap-sink sink_name={sink} master={master} rate={RATE} channels=1 channel_map=mono remix=yes"
            )
        await _unload(sink, env)  # left over by a run that was killed
        if await _pactl(env, "load-module", *module.split()) is None:
            raise Problem("the sound server made no sink for us", where=device_name, retried=True)
        stack.push_async_callback(_unload, sink, env)
        for name in (sink, master):
            if name is not None:  # whoever muted the loudspeaker did not mean the siren
                await _pactl(env, "set-sink-mute", name, "0")
        await _pactl(env, "set-sink-volume", sink, "100%")
        yield Sound(sink, device_name, env, latency_ms)


def environment() -> dict[str, str]:
    """How children reach the sound server of this machine, if it has one. Without a server's name libpulse would start
    one by itself, which would outlive us and hold the sound card."""
    there = f"{os.environ.get('XDG_RUNTIME_DIR', f'/run/user/{os.getuid()}')}/pulse/native"
    return {"PULSE_SERVER": f"unix:{there} unix:/run/pulse/native", **os.environ}


async def sinks(env: Mapping[str, str]) -> list[str] | None:
    """Names of the real sinks of a running sound server, the default first; None if no server answers."""
    listed = await _pactl(env, "list", "short", "sinks")
    if listed is None:
        return None
    names = [line.split("\t")[1] for line in listed.splitlines() if line.count("\t") >= 1]
    real = [name for name in names if not name.startswith(("keng_", "auto_null"))]
    default = (await _pactl(env, "get-default-sink") or "").strip()
    return sorted(real, key=lambda name: name != default)


def has_card() -> bool:
    """Whether the kernel knows a sound card."""
    try:
        return any(line.strip()[:1].isdigit() for line in _CARDS.read_text().splitlines())
    except OSError:
        return False


async def _choose(device: str, env: Mapping[str, str]) -> str | None:
    """The sink to feed; None where there is none and ``device`` leaves us the choice."""
    there = await sinks(env)
    if device == AUTO:
        return there[0] if there else None
    if there is None:
        raise Problem(
            "no sound server answers", where=f"device {device}", todo='start it, or set device = "auto"', retried=True
        )
    if device not in there:
        known = ", ".join(there) or "none"
        raise Problem("there is no such sink", where=f"device {device}", todo=f"there are: {known}", retried=True)
    return device


async def _await_card(env: Mapping[str, str]) -> str | None:
    deadline = time.monotonic() + CARD_S
    while time.monotonic() < deadline:
        if there := await sinks(env):
            return there[0]
        await asyncio.sleep(0.1)
    log.warning("the machine has a sound card, but no sink for it appeared: is this user in the group 'audio'?")
    return None


@contextlib.asynccontextmanager
async def _private_server(folder: Path, modules: Sequence[str]) -> AsyncIterator[Mapping[str, str]]:
    """A PulseAudio of our own, reached only through a socket in a folder that is ours alone; yields its clients'
    environment."""
    with contextlib.ExitStack() as stack:
        home = folder / "pulse"
        if len(str(home / "native")) > _LONGEST_PATH:
            home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="keng-pulse-")))
        home.mkdir(parents=True, exist_ok=True)
        home.chmod(0o700)  # that, and no password, keeps others out
        socket = home / "native"
        socket.unlink(missing_ok=True)
        env = {
            **os.environ,
            "HOME": str(home),
            "PULSE_RUNTIME_PATH": str(home),
            "PULSE_STATE_PATH": str(home),
            "PULSE_SERVER": f"unix:{socket}",
        }
        loads = [f"module-native-protocol-unix auth-anonymous=1 socket={socket}", *modules]
        child = await children.start(
            *("pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no", "--disable-shm=yes"),
            *("--log-target=stderr", "--log-level=error"),
            *(part for module in loads for part in ("-L", module)),
            env=env,
            stderr=PIPE,
        )
        try:
            await _answers(child, env)
            complaints = asyncio.create_task(_log_complaints(child))
            try:
                yield env
            finally:
                complaints.cancel()
        finally:
            await children.end(child)


async def _answers(child: Process, env: Mapping[str, str]) -> None:
    deadline = time.monotonic() + SERVER_S
    while time.monotonic() < deadline and child.returncode is None:
        if await _pactl(env, "info") is not None:
            return
        await asyncio.sleep(0.02)
    raise Problem("did not start", where="pulseaudio", todo="try 'keng loudspeaker check'", retried=True)


async def _log_complaints(child: Process) -> None:
    assert child.stderr is not None
    async for line in child.stderr:
        log.debug("pulseaudio: %s", line.decode(errors="replace").strip())


async def _unload(sink: str, env: Mapping[str, str]) -> None:
    for line in (await _pactl(env, "list", "short", "modules") or "").splitlines():
        index, _, what = line.partition("\t")
        if f"sink_name={sink}" in what.split():
            await _pactl(env, "unload-module", index)


async def _pactl(env: Mapping[str, str], *command: str) -> str | None:
    return await children.output("pactl", *command, env=env, within_s=5.0)
