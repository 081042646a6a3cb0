"""Names as pydantic fields: what may stand in a topic, and what a sensor is called inside its commune."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

Slug = Annotated[str, Field(pattern=r"^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$")]
#: A sensor's name inside its commune: ``<station>/<quantity>``.
SensorId = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}/[a-z0-9][a-z0-9-]{0,62}$")]
#: Who says it: the person's name, as it goes into the record.
Person = Annotated[str, Field(min_length=1, max_length=100)]
