"""Settings of a loudspeaker node."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator
from pydantic_settings import SettingsConfigDict

from keng_contracts.names import Slug
from keng_loudspeaker.hours import volumes
from keng_runtime.settings import ServiceSettings


class LoudspeakerSettings(ServiceSettings):
    """What the node is called stands in its certificate, its zones in the registry; here is only how it runs."""

    model_config = SettingsConfigDict(env_prefix="KENG_LOUDSPEAKER_")

    state: Path = Field(Path("/var/lib/keng-loudspeaker"), description="folder for what must survive a restart")
    commune: Slug = Field(description="commune that this loudspeaker belongs to", examples=["quang-tho"])
    device: str = Field(
        "auto",
        min_length=1,
        description="where sound goes: 'auto' (the sound server's default sink, else the sound card, else a silent "
        "sink in real time), a sink's name as 'pactl list short sinks' has it, 'null' (a silent sink), or 'file' (WAV "
        "only, without mpv and sound server, silent and measured all the same: for a desk and for simulations)",
    )
    recording_s: int = Field(
        300, ge=0, le=7200, description="with device 'file': seconds kept of what would have sounded last; 0 for none"
    )
    volume: int = Field(100, ge=0, le=100, description="volume of everything that is played, in percent")
    volumes: list[str] = Field(
        [],
        description='share of the volume from a time of day on, in percent, such as ["05:00 100", "20:00 60"]; '
        "emergencies have it all",
    )
    loudness_lufs: float = Field(
        -16.0,
        ge=-40,
        le=-8,
        description="loudness that texts and files are brought to, in LUFS (EBU R 128); sirens are as loud as they are",
    )
    words_per_minute: int = Field(150, ge=80, le=300, description="how fast texts are spoken")
    piper_voice: Path | None = Field(
        None, description="a Vietnamese voice of Piper (an .onnx file) for texts, where the program piper is installed"
    )
    recorded_words: Path | None = Field(
        None,
        description="folder of recorded words with its clips.tsv: a text whose words are all there is said by them",
    )
    clock: Literal["kernel", "trusted"] = Field(
        "kernel",
        description="whether commands are checked for their time: 'kernel' while the kernel says that NTP keeps this "
        "clock, 'trusted' always (a clock that is kept from outside: by a virtual machine's host, by GPS)",
    )
    cache_mb: int = Field(500, ge=10, description="room for sounds that are kept, in megabytes")
    evidence_events: int = Field(
        20_000, ge=100, description="playback events kept at most until the console has receipted them"
    )
    microphone: str = Field(
        "",
        description="a microphone near the loudspeaker, as 'pactl list short sources' has it: what is played is "
        "compared with what it hears; empty for none",
    )
    amplifier_current: str = Field(
        "",
        description="file of a current sensor in the amplifier's supply, in mA, as the kernel's hwmon gives it "
        "(/sys/bus/i2c/devices/1-0040/hwmon/hwmon*/curr1_input; * stands for anything): an amplifier that draws no "
        "more while sound is sent to it than at rest is told; empty for none",
    )
    test_at: str = Field(
        "",
        pattern=r"^(([01]\d|2[0-3]):[0-5]\d)?$",
        description="local time, such as 02:30, of a soft test in the night, 30 dB below a siren, for the microphone, "
        "if nothing was played and checked for most of a day; empty for none",
    )
    button: str = Field(
        "",
        description="input device whose key, held, starts the emergency set without any network, and ends it: a GPIO "
        "line as gpio-key gives it, a key switch (/dev/input/by-path/…-event); empty for none",
    )
    button_hold_s: float = Field(2.0, ge=0.2, le=30, description="for how long it must be held, in seconds")
    latency_ms: int = Field(
        20, ge=5, le=500, description="latency asked of the sound server; more if a weak machine stutters"
    )

    @field_validator("volumes")
    @classmethod
    def _times_and_volumes(cls, rows: list[str]) -> list[str]:
        volumes(rows)
        return rows
