"""Settings of alerts."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from keng_contracts.judging import MAX_VALIDITY_S
from keng_runtime.settings import ServiceSettings


class AlertsSettings(ServiceSettings):
    """Everything about gauges, thresholds and authority is in the registry; here is only how the service runs."""

    model_config = SettingsConfigDict(env_prefix="KENG_ALERTS_")

    state: Path = Field(
        Path("/var/lib/keng-alerts"),
        description="folder for what must survive a restart, and for the socket by which people order at the machine",
    )
    commune: str = Field("", description="commune whose gauges are watched; empty: that of the first registry seen")
    command_valid_s: float = Field(
        900.0,
        gt=0,
        le=MAX_VALIDITY_S,
        description="how long a siren command may be obeyed: a loudspeaker that comes back later stays silent",
    )
