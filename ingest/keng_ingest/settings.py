"""Settings of ingest."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from keng_runtime.settings import ServiceSettings
from keng_store.settings import RollupSettings, StoreSettings


class IngestSettings(ServiceSettings):
    """Where messages come from and where readings go."""

    model_config = SettingsConfigDict(env_prefix="KENG_INGEST_")

    state: Path = Field(Path("/var/lib/keng-ingest"), description="folder for what must survive a restart")
    commune: str = Field("", description="commune whose registry is followed; empty: that of the first registry seen")
    batch: int = Field(1000, ge=1, le=10_000, description="most messages in one commit")
    batch_readings: int = Field(
        20_000, ge=1, le=1_000_000, description="most readings in one commit, a pack more or less"
    )
    receive_maximum: int = Field(
        2000,
        ge=1,
        le=65_535,
        description="most messages that the broker hands over before they are acknowledged: messages a second, times "
        "seconds of a commit, times two (10,000 a second, committed within 0.1 s)",
    )
    dead_letters_mib: int = Field(
        256, ge=1, le=65_536, description="MiB of dead letters that are kept; beyond that the oldest are dropped"
    )
    store: StoreSettings = StoreSettings()
    rollup: RollupSettings = RollupSettings()
