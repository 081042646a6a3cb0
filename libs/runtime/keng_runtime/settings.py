"""Settings: declared once as a pydantic model, read from a TOML file and the environment.

The environment wins over the file (``KENG_EDGE_BROKER__HOST`` sets ``broker.host`` of the edge). Each
field carries its description, default and example, and :func:`sample_toml` writes ``sample.toml`` from
them, so that the sample can't drift from the code.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from keng_contracts.errors import Problem
from keng_runtime.toml_lines import Place, line_of

#: Where the settings files of an installed machine are, each under its part's name: ``edge.toml``, ``ingest.toml`` …
FOLDER = Path("/etc/keng")


class BrokerSettings(BaseModel):
    """Where the broker is, and who we are to it."""

    model_config = ConfigDict(extra="forbid")

    host: str = Field("localhost", description="name of the broker, as its certificate has it")
    port: int = Field(8883, ge=1, le=65535, description="port of the broker's TLS listener")
    credentials: Path = Field(
        Path("/etc/keng/credentials"), description="folder made by 'keng provision' (ca.crt, node.crt, node.key …)"
    )


class ServiceSettings(BaseSettings):
    """What every service has. A service's own settings derive from this and set ``env_prefix``."""

    model_config = SettingsConfigDict(extra="forbid", env_nested_delimiter="__")

    broker: BrokerSettings = BrokerSettings()
    state: Path = Field(Path("/var/lib/keng"), description="folder for what must survive a restart")
    metrics_port: int = Field(0, ge=0, le=65535, description="Prometheus metrics on 127.0.0.1 at this port; 0 for none")
    log_level: str = Field("INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="DEBUG, INFO, WARNING or ERROR")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return env_settings, init_settings


S = TypeVar("S", bound=ServiceSettings)


def load(settings: type[S], path: Path | None) -> S:
    """Read ``path`` (TOML) and the environment; raises :class:`Problem` with every wrong setting, one a line.

    Without ``path`` it is the part's own file in :data:`FOLDER`, if there is one.
    """
    file = path or installed(settings)
    text, values = "", {}
    try:
        text = file.read_text(encoding="utf-8")
        values = tomllib.loads(text)
    except FileNotFoundError:
        if path is not None:
            raise Problem(
                "there is no such settings file", where=str(path), todo="start from the sample.toml beside the service"
            ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Problem(f"is not TOML: {error}", where=str(file), todo="mend that line") from None
    except PermissionError:
        todo = "use sudo, or be in the group that owns it"
        raise Problem("is not for you to read", where=str(file), todo=todo) from None
    except OSError as error:
        raise Problem(f"can't be read: {error.strerror}", where=str(file), todo="check owner and mode") from None
    try:
        return settings(**values)
    except ValidationError as error:
        todo = "mend the settings and start again"
        raise Problem(explain(error, text), where=str(file if path or text else "settings"), todo=todo) from None


def installed(settings: type[ServiceSettings]) -> Path:
    """Where the settings file of an installed service is: ``edge.toml`` for the prefix ``KENG_EDGE_``."""
    part = settings.model_config.get("env_prefix", "").removeprefix("KENG_").removesuffix("_")
    return FOLDER / f"{part.lower()}.toml"


def explain(error: ValidationError, text: str = "") -> str:
    """Every fault of a validation as ``key: what is wrong``, without pydantic's types and links; with the TOML ``text``
    that was read, each with its line."""
    faults = []
    for fault in error.errors(include_url=False, include_context=False):
        key = ".".join(str(part) for part in fault["loc"]) or "document"
        message = "is no setting" if fault["type"] == "extra_forbidden" else fault["msg"].removeprefix("Value error, ")
        line = line_of(text, (*fault["loc"], *_named(message)))
        faults.append(f"line {line}, {key}: {message}" if line else f"{key}: {message}")
    return "; ".join(faults)


def _named(message: str) -> Place:
    """The setting that a message of our own names first, below that which was checked.

    >>> _named("slaves.0.address: a Modbus address is a number from 1 to 247")
    ('slaves', 0, 'address')
    """
    key, colon, _ = message.partition(": ")
    parts = key.split(".") if colon and " " not in key else []
    return tuple(int(part) if part.isdecimal() else part for part in parts)


def sample_toml(settings: type[BaseModel], title: str) -> str:
    """A complete sample file: every setting with its description and its default or example."""
    lines = [f"# {title}", "# Every setting with its default; a line that is commented out may stay so.", ""]
    _sample(settings, "", lines)
    return "\n".join(lines).rstrip() + "\n"


def _sample(model: type[BaseModel], prefix: str, lines: list[str]) -> None:
    nested: list[tuple[str, type[BaseModel], bool]] = []
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            nested.append((name, kind, False))
            continue
        item = _list_item(kind)
        if item is not None:
            nested.append((name, item, True))
            continue
        if field.description:
            lines.append(f"# {field.description}")
        if field.examples:
            lines.append(f"{name} = {_toml(field.examples[0])}")
        elif field.default is PydanticUndefined or field.default is None:
            lines.append(f"# {name} =")
        else:
            lines.append(f"{name} = {_toml(field.get_default(call_default_factory=True))}")
    for name, kind, many in nested:
        full = f"{prefix}{name}"
        lines += ["", f"[[{full}]]" if many else f"[{full}]"]
        if kind.__doc__ and not many:
            lines.insert(len(lines) - 1, f"# {kind.__doc__.strip().splitlines()[0]}")
        _sample(kind, f"{full}.", lines)


def _list_item(kind: Any) -> type[BaseModel] | None:
    args = getattr(kind, "__args__", ())
    if (
        getattr(kind, "__origin__", None) is list
        and args
        and isinstance(args[0], type)
        and issubclass(args[0], BaseModel)
    ):
        return args[0]
    return None


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(v) for v in value) + "]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {_toml(v)}" for k, v in value.items()) + " }"
    return json.dumps(str(value), ensure_ascii=False)
