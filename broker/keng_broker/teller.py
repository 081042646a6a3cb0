"""The key document on its way to the broker, which keeps it for loudspeakers that are away."""

from __future__ import annotations

import asyncio
from pathlib import Path

from keng_contracts.errors import Problem
from keng_contracts.topics import Kind, Topic
from keng_runtime.mqtt import Link, Refused
from keng_runtime.settings import BrokerSettings

WITHIN_S = 20.0


async def tell_keys(token: bytes, commune: str, credentials: Path, host: str, port: int) -> None:
    """Publish a signed key document, retained; raises :class:`Problem` if the broker does not take it."""
    where = f"{host}:{port}"
    try:
        async with asyncio.timeout(WITHIN_S):
            async with Link(BrokerSettings(host=host, port=port, credentials=credentials)) as link:
                await link.publish(str(Topic(commune, Kind.KEYS)), token, retain=True)
    except TimeoutError:
        raise Problem("the broker does not answer", where=where, todo="say it again with the same command") from None
    except Refused as error:
        raise Problem(f"the broker refuses it ({error})", where=where, todo="update the broker's acl") from None
