"""Making sure that the database is there, each version of InfluxDB in its own way."""

from __future__ import annotations

import json
import logging
from typing import Any

from influxdb_client.client.exceptions import InfluxDBError
from influxdb_client.domain.dbrp_create import DBRPCreate
from influxdb_client.rest import ApiException
from influxdb_client.service.dbr_ps_service import DBRPsService

from keng_contracts.errors import Problem
from keng_store.influx_rollups import FOR_EVER

log = logging.getLogger(__name__)

#: The retention policy under which 2.x is asked for the bucket; 1.x calls its default one so.
RETENTION_POLICY = "autogen"

_FORBIDDEN = {401, 403}


def make_database(client: Any, database: str) -> None:
    """Make ``database`` if it is absent, through ``client``, an InfluxDBClient.

    Version 3, and whatever does not tell its version, makes it at the first write by itself. Raises ApiException or
    urllib3's HTTPError when the server does not do it now, Problem for a wrong ``org``.
    """
    version = major_version(client)
    if version == 1:
        try:
            ask(client, f"CREATE DATABASE {quoted(database)}")
            # What stays for ever needs a policy of its own, for the default one's duration is that of raw readings.
            ask(client, f"CREATE RETENTION POLICY {FOR_EVER} ON {quoted(database)} DURATION INF REPLICATION 1")
        except ApiException as error:
            if error.status != 403:
                raise
            # A user that may write but not administer: the database is there, or the first write will say so.
            log.debug("may not create the database %s: %s", database, error.body)
    elif version == 2:
        _create_bucket(client, database)


def major_version(client: Any) -> int:
    """1, 2, 3, or 0 for a server that does not tell."""
    digit = str(client.version()).removeprefix("v")[:1]
    return int(digit) if digit.isdigit() else 0


def has_policy(client: Any, database: str) -> bool:
    """Whether a database of 1.x has the retention policy FOR_EVER; not if an administrator made it without."""
    result = ask(client, f"SHOW RETENTION POLICIES ON {quoted(database)}", method="GET")["results"][0]
    return any(row[0] == FOR_EVER for found in result.get("series", []) for row in found.get("values", []))


def ask(client: Any, statement: str, method: str = "POST") -> Any:
    """The JSON answer to an InfluxQL statement that names its database."""
    response = client.api_client.call_api(
        "/query", method, query_params=[("q", statement)], _preload_content=False, _return_http_data_only=True
    )
    return json.loads(response.data)


def quoted(name: str) -> str:
    """An identifier of InfluxQL."""
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _create_bucket(client: Any, database: str) -> None:
    """The bucket, and the mapping by which ``/write`` and InfluxQL find it under a database's name."""
    try:
        try:
            bucket = client.buckets_api().find_bucket_by_name(database)
        except ApiException as error:
            if error.status != 404:
                raise
            bucket = None
        if bucket is None:
            if not client.org:
                raise Problem(f"has no bucket {database!r}", where=client.url, todo="make it, or set 'org'")
            bucket = client.buckets_api().create_bucket(bucket_name=database, org=client.org)
            log.info("made the bucket %s", database)
        mappings: Any = DBRPsService(client.api_client)  # type: ignore[no-untyped-call]
        if not mappings.get_dbr_ps(org_id=bucket.org_id, db=database).content:
            mappings.post_dbrp(
                DBRPCreate(  # type: ignore[no-untyped-call]
                    org_id=bucket.org_id,
                    bucket_id=bucket.id,
                    database=database,
                    retention_policy=RETENTION_POLICY,
                    default=True,
                )
            )
            log.info("mapped the database %s to its bucket", database)
    except ApiException as error:
        if error.status not in _FORBIDDEN:
            raise
        # A token for this bucket alone can't look around; if it is good for writing, nothing else is needed.
        log.debug("may not set up the bucket %s: %s", database, error.body)
    except InfluxDBError as error:  # the client's own word: no such organization
        raise Problem(error.message, where=client.url, todo="check 'org' and the token's permissions") from None
