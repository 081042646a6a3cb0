"""A scenario: what nature does, as data. Knots for the river and the rain, a few numbers for soil and air.

Every number says where it comes from, in the file itself; a knot that nobody measured says ``assumed``.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _check_order(times: list[AwareDatetime]) -> None:
    for before, after in pairwise(times):
        if after <= before:
            raise ValueError(f"the knot of {after.isoformat()} does not follow that of {before.isoformat()}")


class StageKnot(_Strict):
    at: AwareDatetime
    m: float = Field(ge=-20, le=32, description="metres above the zero of the gauge")
    assumed: bool = False


class RainKnot(_Strict):
    at: AwareDatetime
    mm_h: float = Field(ge=0, le=500)


class Mark(_Strict):
    """A line to draw beside the river, such as a báo động. Nothing here raises an alert."""

    m: float
    name: str


class River(_Strict):
    gauge: str
    source: str
    noise_m: float = Field(0.003, ge=0, le=1, description="standard deviation of one reading")
    knots: list[StageKnot] = Field(min_length=2)
    marks: list[Mark] = []
    marks_source: str = ""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        _check_order([knot.at for knot in self.knots])
        return self


class Rain(_Strict):
    """Intensity at knots, straight lines between them, none before the first and after the last."""

    source: str = ""
    knots: list[RainKnot] = []

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        _check_order([knot.at for knot in self.knots])
        return self


class Soil(_Strict):
    """The soil at the start, and what it is. The defaults are about those of a silt loam."""

    moisture: float = Field(30.0, ge=0, le=60, description="%, by volume, at the start")
    saturation: float = Field(48.0, ge=20, le=70, description="%, about as Saxton and Rawls (2006) give for silt loam")
    field_capacity: float = Field(31.0, ge=5, le=60, description="%, of the same source")
    depth_mm: float = Field(200.0, gt=0, description="the layer that the probe stands in")
    drainage_h: float = Field(
        24.0, gt=0, description="time constant of draining to field capacity; loam takes 1 to 3 d"
    )
    evaporation_mm_d: float = Field(3.0, ge=0, description="on a dry day")
    temperature: float = Field(25.0, description="Cel, daily mean of the air")
    temperature_swing: float = Field(4.0, ge=0, description="Cel, amplitude of the air on a dry day")
    ec: float = Field(0.45, ge=0, le=20, description="mS/cm at the starting moisture")
    ph: float = Field(5.6, ge=3, le=10)
    n: float = Field(42.0, ge=0, description="mg/kg")
    p: float = Field(18.0, ge=0, description="mg/kg")
    k: float = Field(95.0, ge=0, description="mg/kg")


class Air(_Strict):
    """Dust in dry air, and how rain takes it out."""

    pm2_5: float = Field(25.0, ge=0, description="ug/m3, the quiet hours of a dry day")
    coarse: float = Field(0.7, ge=0, description="PM10 less PM2.5, as a part of PM2.5, in dry air")
    ventilation_h: float = Field(3.0, gt=0, description="how long the air stays over the commune")
    washout_fine: float = Field(0.05, ge=0, description="1/h at 1 mm/h of rain")
    washout_coarse: float = Field(0.3, ge=0, description="1/h at 1 mm/h of rain; big grains are hit more often")


class Scenario(_Strict):
    schema_: Literal["keng.scenario/1"] = Field(alias="schema")
    title: str
    title_en: str = ""
    river: River
    rain: Rain = Rain()
    soil: Soil = Soil()
    air: Air = Air()

    @property
    def start_s(self) -> float:
        """The first knot of the river, in seconds since 1970 UTC."""
        return self.river.knots[0].at.timestamp()

    @property
    def end_s(self) -> float:
        return self.river.knots[-1].at.timestamp()

    @property
    def utc_offset_s(self) -> float:
        """What local time is ahead of UTC, as the first knot has it."""
        offset = self.river.knots[0].at.utcoffset()
        return offset.total_seconds() if offset is not None else 0.0
