"""What there is to measure at a moment of a scenario. Pure: the same scenario, seed and time give the same values.

The river is what was documented; the rest follows simple models that only have to be plausible:

- **level** is a smooth monotone curve through the knots.
- **rain** is the integral of the intensity: it only grows, as the count of a tipping bucket does.
- **soil moisture** is a bucket: rain fills it up to saturation, what is above field capacity drains away, the sun
  dries it. **Soil temperature** follows the air with a lag of a few hours, and rain clouds flatten the day. **EC** goes
  with the water in the soil, and salts and nitrate leave with what drains; pH, P and K do not change within days.
- **Distance** is from a bridge down to the water. **Weather**: wind and humidity rise and pressure falls with the rain.
- **PM2.5 and PM10** have the day's two peaks, morning and evening, and rain washes them out: where air is renewed every
  ``ventilation_h`` hours and rain takes a part Λ away each hour, 1 / (1 + Λ × ventilation_h) is left. Λ grows with the
  0.7th power of the intensity, and more slowly for fine dust, as below-cloud scavenging does.

Time is in seconds since 1970 UTC. Before the first knot of the river and after its last the world stands still, and
only the noise of the instruments goes on.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from keng_firmware_sim.curves import Smooth, Straight
from keng_firmware_sim.scenario import Air, Scenario, Soil

#: Step of the soil's bucket, in seconds.
_STEP_S = 600.0
#: Height above the gauge's zero of a sensor that looks down on the river. Assumed: the bridge's deck.
_SENSOR_M = 7.0
#: How long the soil's temperature lags behind the air's, in hours.
_SOIL_LAG_H = 5.0

#: Standard deviation of one reading in the quantity's own unit, or as a part of the value; the river's is the
#: scenario's, and a tipping bucket has none. Assumed: about the last digit that each instrument shows.
_NOISE: dict[str, tuple[float, float]] = {
    "soil-moisture": (0.1, 0.0),
    "soil-temperature": (0.05, 0.0),
    "soil-ec": (0.003, 0.0),
    "soil-ph": (0.02, 0.0),
    "soil-n": (0.4, 0.0),
    "soil-p": (0.4, 0.0),
    "soil-k": (0.4, 0.0),
    "pm2-5": (0.2, 0.03),
    "pm10": (0.3, 0.03),
}


class World:
    """``World(scenario, seed).at(t)`` gives every quantity by name, in the units of the registry."""

    def __init__(self, scenario: Scenario, seed: int = 0) -> None:
        self._seed = seed
        self._offset_s = scenario.utc_offset_s
        self._start_s, self._end_s = scenario.start_s, scenario.end_s
        knots = scenario.river.knots
        self._river = Smooth([k.at.timestamp() for k in knots], [k.m for k in knots])
        self._river_noise = scenario.river.noise_m
        rain = scenario.rain.knots
        self._rain = Straight([k.at.timestamp() for k in rain], [k.mm_h for k in rain]) if rain else None
        self._soil = scenario.soil
        self._air = scenario.air
        self._soil_steps = list(self._soil_history())
        self._models: dict[str, Callable[[float], float]] = {
            "level": self._river,
            "rain": self.rain_mm,
            "soil-moisture": lambda t: self._soil_at(t).moisture,
            "soil-temperature": lambda t: self._soil_at(t).temperature,
            "soil-ec": lambda t: self._soil_at(t).ec,
            "soil-ph": lambda t: self._soil.ph,
            "soil-n": lambda t: self._soil.n * self._soil_at(t).solutes,
            "soil-p": lambda t: self._soil.p,
            "soil-k": lambda t: self._soil.k,
            "distance": lambda t: max(0.0, _SENSOR_M - self._river(t)),
            "air-temperature": lambda t: self._soil_at(t).temperature,
            "air-humidity": lambda t: min(100.0, 70.0 + 3.0 * self.intensity_mm_h(t)),
            "air-pressure": lambda t: 1010.0 - 0.3 * self.intensity_mm_h(t),
            "wind-speed": lambda t: 1.5 + 0.4 * self.intensity_mm_h(t),
            "wind-direction": lambda t: (45.0 + 3.0 * self._hour(t)) % 360.0,
            "pm2-5": lambda t: self._pm(t)[0],
            "pm10": lambda t: self._pm(t)[1],
        }

    @property
    def quantities(self) -> list[str]:
        return list(self._models)

    def at(self, t: float, instrument: str = "") -> dict[str, float]:
        """All quantities as ``instrument`` would read them at ``t``. Two instruments differ by their own noise."""
        return {quantity: self.value(quantity, t, instrument) for quantity in self._models}

    def value(self, quantity: str, t: float, instrument: str = "") -> float:
        """One quantity as ``instrument`` would read it. Raises KeyError for one that the world doesn't have."""
        true = self.truth(quantity, t)
        absolute, relative = _NOISE.get(quantity, (0.0, 0.0))
        spread = self._river_noise if quantity == "level" else absolute + relative * true
        if not spread:
            return true
        # An instrument takes a fresh sample each second of the scenario.
        draw = random.Random(f"{self._seed}/{instrument}/{quantity}/{math.floor(t)}")
        return true + draw.gauss(0.0, spread) if quantity == "level" else max(0.0, true + draw.gauss(0.0, spread))

    def truth(self, quantity: str, t: float) -> float:
        """One quantity without any instrument's noise."""
        return self._models[quantity](min(max(t, self._start_s), self._end_s))

    def intensity_mm_h(self, t: float) -> float:
        return self._rain(t) if self._rain is not None else 0.0

    def rain_mm(self, t: float) -> float:
        """What has fallen since the scenario began, in mm."""
        return self._rain.integral(t) / 3600 if self._rain is not None else 0.0

    def _hour(self, t: float) -> float:
        return (t + self._offset_s) / 3600 % 24

    def _soil_history(self) -> Iterator[_SoilState]:
        soil = self._soil
        state = _SoilState(soil.moisture, soil.temperature, soil.ec, 1.0)
        yield state
        for step in range(math.ceil((self._end_s - self._start_s) / _STEP_S)):
            t = self._start_s + step * _STEP_S
            fallen = self.rain_mm(t + _STEP_S) - self.rain_mm(t)
            state = _soil_step(soil, state, fallen, self._hour(t))
            yield state

    def _soil_at(self, t: float) -> _SoilState:
        step, part = divmod((t - self._start_s) / _STEP_S, 1)
        before = self._soil_steps[int(step)]
        after = self._soil_steps[min(int(step) + 1, len(self._soil_steps) - 1)]
        return _SoilState(*(b + (a - b) * part for b, a in zip(before.values(), after.values(), strict=True)))

    def _pm(self, t: float) -> tuple[float, float]:
        return _dust(self._air, self._hour(t), self.intensity_mm_h(t))


@dataclass(frozen=True, slots=True)
class _SoilState:
    moisture: float
    temperature: float
    ec: float
    solutes: float  # what is left of salts and nitrate, 1 at the start

    def values(self) -> tuple[float, float, float, float]:
        return self.moisture, self.temperature, self.ec, self.solutes


def _soil_step(soil: Soil, before: _SoilState, fallen_mm: float, hour: float) -> _SoilState:
    hours = _STEP_S / 3600
    raining = min(1.0, fallen_mm / hours / 2.0)  # from 2 mm/h on the sky is wholly covered
    water = min(before.moisture + 100 * fallen_mm / soil.depth_mm, soil.saturation)  # the rest runs off
    drained = max(0.0, water - soil.field_capacity) * -math.expm1(-hours / soil.drainage_h)
    sun = max(0.0, math.sin(math.pi * (hour - 6) / 12)) * math.pi / 24  # its integral over a day is 1
    dried = 100 * soil.evaporation_mm_d * sun * hours * (1 - raining) / soil.depth_mm
    moisture = max(0.0, water - drained - dried)
    solutes = before.solutes * (1 - drained / water if water else 1.0)
    air = soil.temperature + (1 - raining) * soil.temperature_swing * math.sin(math.pi * (hour - 8) / 12)
    temperature = before.temperature + (air - before.temperature) * -math.expm1(-hours / _SOIL_LAG_H)
    ec = soil.ec * moisture / soil.moisture * solutes if soil.moisture else soil.ec
    return _SoilState(moisture, temperature, ec, solutes)


def _dust(air: Air, hour: float, rain_mm_h: float) -> tuple[float, float]:
    """PM2.5 and PM10: kitchens and traffic at 7 and at 19 o'clock, less what the rain takes."""
    dry = air.pm2_5 * (1 + 0.35 * _bump(hour - 7, 1.5) + 0.45 * _bump(hour - 19, 2.0))
    strength = rain_mm_h**0.7
    fine = dry / (1 + air.washout_fine * strength * air.ventilation_h)
    coarse = dry * air.coarse / (1 + air.washout_coarse * strength * air.ventilation_h)
    return fine, fine + coarse


def _bump(hours: float, width: float) -> float:
    hours = (hours + 12) % 24 - 12
    return math.exp(-0.5 * (hours / width) ** 2)
