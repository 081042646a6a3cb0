"""Settings of ingest."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from keng_runtime.settings import ServiceSettings
from keng_store.settings import StoreSettings


class IngestSettings(ServiceSettings):
    """Where messages come from and where readings go."""

    model_config = SettingsConfigDict(env_prefix="KENG_INGEST_")

    commune: str = Field("", description="commune whose registry is followed; empty: that of the first registry seen")
    batch: int = Field(500, ge=1, le=10_000, description="most messages in one commit")
    receive_maximum: int = Field(
        2000, ge=1, le=65_535, description="most messages that the broker hands over before they are acknowledged"
    )
    store: StoreSettings = StoreSettings()
