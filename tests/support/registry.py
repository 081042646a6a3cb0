"""The sample commune as a registry, whole or changed, and signed as the console signs it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from keng_contracts.registry import Registry
from keng_runtime.signing import SigningKey

SAMPLE = Path(__file__).parents[2] / "console" / "keng_console" / "sample" / "commune.toml"
LEVEL = "quang-tho/phu-oc/level"


def sample(**changes: Any) -> Registry:
    """The sample commune; ``changes`` replace whole tables, e.g. ``version=2`` or ``hazard_rules=[{…}]``. With other
    sensors it has no rules for those that are gone, unless they are given."""
    gone: dict[str, Any] = {"rules": [], "response_rules": []} if "sensors" in changes else {}
    return Registry.model_validate({**tomllib.loads(SAMPLE.read_text(encoding="utf-8")), **gone, **changes})


def signed(registry: Registry, credentials: Path) -> bytes:
    """The registry as it travels, signed with the console's key of these credentials."""
    key = SigningKey.load(credentials / "console" / "signing.jwk")
    return key.sign(registry.model_dump_json(by_alias=True).encode())
