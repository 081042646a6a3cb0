"""The console's settings, and the rule that it speaks to this machine only."""

from __future__ import annotations

import ipaddress
from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from keng_console.cap.settings import CapSettings
from keng_console.speakers.approval import ProgrammeSettings
from keng_contracts.errors import Problem
from keng_runtime.settings import ServiceSettings
from keng_store.settings import StoreSettings


class ConsoleSettings(ServiceSettings):
    """Settings of ``keng-console``."""

    model_config = SettingsConfigDict(env_prefix="KENG_CONSOLE_")

    state: Path = Field(Path("/var/lib/keng-console"), description="folder for what must survive a restart")
    host: str = Field("127.0.0.1", description="address of the pages; loopback only, until operators can log in")
    port: int = Field(8080, ge=0, le=65535, description="port of the pages; 0 for any free one, which the log names")
    registry_file: Path = Field(
        Path("/etc/keng/commune.toml"),
        description="the commune's registry as people write it; read again whenever it changes",
    )
    database_url: str = Field(
        "",
        description="operational data as SQLAlchemy URL (postgresql+psycopg://…); empty for SQLite in the state folder",
    )
    chart_hours: float = Field(48.0, ge=0.003, le=168, description="time shown by the level charts, in hours")
    time_lapse: float = Field(
        1.0,
        ge=1,
        description="in a demonstration, seconds of the story that pass in one second; rates are divided by it",
    )
    store: StoreSettings = StoreSettings()
    cap: CapSettings = CapSettings()
    programme: ProgrammeSettings = ProgrammeSettings()

    @property
    def database(self) -> str:
        """The URL of the operational database."""
        return self.database_url or f"sqlite:///{self.state / 'console.sqlite'}"


def require_loopback(host: str) -> None:
    """Raise :class:`Problem` for an address that other machines could reach: nobody can log in yet."""
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = host == "localhost"
    if not loopback:
        raise Problem(
            "operators can't log in yet, so the pages are shown on this machine only",
            where=f"host = {host!r}",
            todo="set host to 127.0.0.1; from another machine use 'ssh -L 8080:127.0.0.1:8080' and open localhost:8080",
        )
