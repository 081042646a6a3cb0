"""Who we are at a broker that is not Kẻng's."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path

from keng_contracts.errors import Problem


@dataclass(frozen=True, slots=True)
class Guest:
    """A broker that is not ours, such as a ChirpStack's. We are there by name and password, or as anybody.

    ``ca`` None trusts the system's authorities. A guest has no credentials of Kẻng, and its identity is ``client_id``.
    """

    host: str
    port: int
    client_id: str
    username: str = ""
    password: str = field(default="", repr=False)
    tls: bool = False
    ca: Path | None = None

    def context(self) -> ssl.SSLContext | None:
        """How TLS is spoken there; None without it. Raises :class:`Problem`."""
        if not self.tls:
            return None
        try:
            return ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=self.ca)
        except OSError as error:  # ssl.SSLError is one
            raise Problem(f"is no authority's certificate ({error})", where=str(self.ca), todo="check 'ca'") from None
