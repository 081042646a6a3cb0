"""Settings of CAP, out and in."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from keng_contracts.names import Slug


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid")


class CapFeed(_Table):
    """A feed that is polled: Atom, RSS, or one bare CAP document."""

    url: str = Field(pattern=r"^https?://", description="its address", examples=["https://cap.example.vn/feed.xml"])
    every_s: float = Field(60.0, ge=1, le=86_400, description="seconds between two looks")


class CapSender(_Table):
    """Somebody whose signed messages are believed."""

    name: Slug = Field(description="how the console calls it", examples=["tinh"])
    certificate: Path = Field(
        description="its certificate (PEM), brought here by a way that is trusted", examples=["/etc/keng/cap/tinh.crt"]
    )
    senders: list[str] = Field(
        min_length=1, description="the CAP senders for whom it may speak", examples=[["pctt@example.vn"]]
    )


class CapSettings(_Table):
    """Messages in the Common Alerting Protocol, out and in."""

    issue: bool = Field(True, description="whether the commune's alerts are issued as CAP, at /cap/feed.xml")
    sender: str = Field(
        "",
        pattern=r"^[^\s,<&]*$",
        max_length=100,
        description="the CAP sender, an address of the commune's own such as ubnd@xa.gov.vn; empty: keng.<commune>",
    )
    valid_h: float = Field(6.0, ge=1, le=48, description="for how long a message holds; it is renewed after half of it")
    public_url: str = Field(
        "",
        pattern=r"^(https?://[^\s/]+(/[^\s]*[^\s/])?)?$",
        description="public address of this site, for the links of the feed; empty: relative links",
    )
    post: bool = Field(True, description="whether signed messages may be posted to /cap")
    feeds: list[CapFeed] = Field(default=[])
    senders: list[CapSender] = Field(default=[])
