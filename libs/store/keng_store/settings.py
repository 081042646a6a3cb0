"""Which store, by one setting: a ``sqlite:`` address or that of an InfluxDB."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, field_validator

from keng_contracts.errors import Problem
from keng_store.protocol import Store

_SQLITE = "sqlite:///"


class StoreSettings(BaseModel):
    """Where the readings are kept."""

    model_config = ConfigDict(extra="forbid")

    url: str = Field(
        "sqlite:////var/lib/keng/readings.sqlite",
        description="sqlite:///FILE (four slashes for an absolute path), or an InfluxDB 1.6 to 3 with its database or "
        "bucket: http://localhost:8086/keng",
    )
    token_file: Path | None = Field(None, description="file with the InfluxDB token (2.x, 3)")
    user: str = Field("", description="InfluxDB user (1.x); empty for none")
    password_file: Path | None = Field(None, description="file with that user's password")
    org: str = Field("", description="InfluxDB organization, for making the bucket (2.x)")
    ca_file: Path | None = Field(None, description="certificate authority of an https InfluxDB, if not a public one")

    @field_validator("url")
    @classmethod
    def _is_known(cls, url: str) -> str:
        if url.startswith(_SQLITE) and len(url) > len(_SQLITE):
            return url
        split = urlsplit(url)
        if split.scheme not in ("http", "https") or not split.hostname:
            raise ValueError("is neither sqlite:///FILE nor http://HOST:PORT/DATABASE")
        if split.username or split.password:
            raise ValueError("carries a password; name it in password_file")
        if not split.path.rstrip("/").rpartition("/")[2]:
            raise ValueError("names no database: http://HOST:PORT/DATABASE")
        return url


class RollupSettings(BaseModel):
    """How long raw readings are kept; ten-minute and daily roll-ups stay for ever."""

    model_config = ConfigDict(extra="forbid")

    raw_days: int = Field(400, ge=0, description="days that raw readings are kept; 0 for ever")
    timezone: str = Field(
        "Asia/Ho_Chi_Minh", description="time zone in which a day of the roll-ups begins; choose it once"
    )

    @field_validator("timezone")
    @classmethod
    def _is_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"{name!r} is no time zone (e.g. Asia/Ho_Chi_Minh)") from None
        return name


def open_store(settings: StoreSettings, *, read_only: bool = False, now_ns: Callable[[], int] = time.time_ns) -> Store:
    """Open what ``settings`` name. Raises Problem for what a person must mend (a missing secret, a damaged file); a
    store that is merely not there now is no error here but StoreUnavailable at its first use. ``now_ns`` is the clock
    by which InfluxDB's roll-ups are kept."""
    if (file := sqlite_path(settings)) is not None:
        from keng_store.sqlite import SqliteStore

        return SqliteStore(file, read_only=read_only)

    from keng_store.influx import InfluxStore  # costs 20 MB and 0.3 s, which a Pi with SQLite need not spend

    split = urlsplit(settings.url)
    path, _, database = split.path.rstrip("/").rpartition("/")
    if settings.user and settings.password_file is None:
        raise Problem("has a user but no password", where="store.password_file", todo="name the file that holds it")
    return InfluxStore(
        f"{split.scheme}://{split.netloc}{path}",
        unquote(database),
        token=_secret(settings.token_file, "token"),
        user=settings.user or None,
        password=_secret(settings.password_file, "password"),
        org=settings.org or None,
        ca_file=settings.ca_file,
        read_only=read_only,
        now_ns=now_ns,
    )


def sqlite_path(settings: StoreSettings) -> Path | None:
    """The file of a SQLite store; None for another."""
    return Path(unquote(settings.url.removeprefix(_SQLITE))) if settings.url.startswith(_SQLITE) else None


def _secret(file: Path | None, what: str) -> str | None:
    if file is None:
        return None
    todo = f"make it with: install -m 600 /dev/null {file} && cat > {file} (paste the {what}, then Ctrl-D)"
    try:
        secret = file.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        raise Problem(f"the file with the {what} of the InfluxDB is not there", where=str(file), todo=todo) from None
    except (OSError, UnicodeDecodeError) as error:
        raise Problem(f"the {what} can't be read ({error})", where=str(file), todo="check owner and mode") from None
    if not secret:
        raise Problem(f"the file with the {what} of the InfluxDB is empty", where=str(file), todo=todo)
    return secret
