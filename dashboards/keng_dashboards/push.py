"""Putting the dashboards into a running Grafana over its HTTP API, for where files can't be mounted into it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from grafana_client.api import GrafanaApi
from grafana_client.client import GrafanaClientError, GrafanaException

from keng_contracts.errors import Problem
from keng_dashboards.generate import read_dashboard
from keng_dashboards.influxql import DATASOURCE_UID

FOLDER_UID, FOLDER_TITLE = "keng", "Kẻng"


@dataclass(frozen=True, slots=True)
class Influx:
    """The InfluxDB that Grafana shall ask; ``url`` as Grafana sees it, ``token`` empty for none."""

    url: str
    database: str
    token: str = ""

    def datasource(self) -> dict[str, Any]:
        """As Grafana's API takes it, with the uid that the dashboards refer to."""
        return {
            "uid": DATASOURCE_UID,
            "name": FOLDER_TITLE,
            "type": "influxdb",
            "access": "proxy",
            "url": self.url,
            "jsonData": {
                "version": "InfluxQL",
                "dbName": self.database,
                "httpMode": "GET",
                "timeInterval": "10s",
                **({"httpHeaderName1": "Authorization"} if self.token else {}),
            },
            "secureJsonData": {"httpHeaderValue1": f"Token {self.token}"} if self.token else {},
        }


class Grafana:
    """A running Grafana. Every method raises Problem when it refuses or does not answer."""

    def __init__(self, url: str, token: str, timeout_s: float = 10.0) -> None:
        self._url = url
        # The client puts the path of the address before its own and wants the slash there.
        self._api: Any = GrafanaApi.from_url(url.rstrip("/") + "/", credential=token, timeout=timeout_s)

    def push(self, files: Mapping[str, bytes]) -> list[str]:
        """Put the dashboards into the folder Kẻng, over what is there under their uids; returns their addresses."""
        with self._spoken():
            if self._absent(lambda: self._api.datasource.get_datasource_by_uid(DATASOURCE_UID)):
                raise Problem(
                    f"Grafana has no data source {DATASOURCE_UID!r}, so the dashboards would stay empty",
                    where=self._url,
                    todo="provision it, or name the InfluxDB with --influx-url",
                )
            if self._absent(lambda: self._api.folder.get_folder(FOLDER_UID)):
                self._api.folder.create_folder(FOLDER_TITLE, uid=FOLDER_UID)
            return [
                self._url.rstrip("/")
                + self._api.dashboard.update_dashboard(
                    {
                        "dashboard": read_dashboard(content),
                        "folderUid": FOLDER_UID,
                        "overwrite": True,
                        "message": f"keng dashboards push {name}",
                    }
                )["url"]
                for name, content in sorted(files.items())
            ]

    def set_datasource(self, influx: Influx) -> None:
        """Make the data source, or bring it up to date."""
        with self._spoken():
            if self._absent(lambda: self._api.datasource.get_datasource_by_uid(DATASOURCE_UID)):
                self._api.datasource.create_datasource(influx.datasource())
            else:
                self._api.datasource.update_datasource_by_uid(DATASOURCE_UID, influx.datasource())

    def _absent(self, ask: Any) -> bool:
        try:
            ask()
        except GrafanaClientError as error:
            if error.status_code != 404:
                raise
            return True
        return False

    @contextmanager
    def _spoken(self) -> Iterator[None]:
        try:
            yield
        except GrafanaException as error:
            todo = {
                401: "check the token",
                403: "give the token's service account the role Editor, and Admin to set the data source",
                412: "a dashboard that is provisioned from a file can't be pushed; use one way or the other",
            }.get(error.status_code, "")
            raise Problem(f"Grafana refuses: {error.message}", where=self._url, todo=todo) from None
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise Problem(
                f"no Grafana answers there ({type(error).__name__})", where=self._url, todo="check address and port"
            ) from None
