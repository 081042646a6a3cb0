"""What a sensor is tested by: the registry's limits in the units of the tests, with defaults where water is measured.

A distance to the water that a derived ``water-level`` is made of is tested for its rate, and doubted when it has
jumped, also where the registry gives no limits: an ultrasonic echo off a branch or a parked car is as good an echo as
one off the water, and no single reading tells one from the other. All other sensors are tested by what is written.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

from keng_contracts.derived import SPECS, DerivedKind
from keng_contracts.registry import Registry, Sensor

_LARGEST = sys.float_info.max
#: Twice the fastest hourly rise known of a river here (1.77 m, Đồng Trăng), in m/h; unrest of an ultrasonic level in m.
DISTANCE_RATE_M_PER_H, DISTANCE_NOISE_M = 3.5, 0.1
#: See the doubt of keng_signals.quality.
DISTANCE_DOUBT = 4.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What a sensor is tested by: values in its unit, times in ms; None where a test isn't made.

    ``sentinels`` are compared after scaling, with a tolerance for binary fractions.
    """

    low: float | None = None
    high: float | None = None
    sentinels: tuple[float, ...] = ()
    odd_low: float | None = None
    odd_high: float | None = None
    spike: float | None = None
    rate_per_ms: float | None = None
    noise: float = 0.0
    confirm: int = 2
    doubt: float = 0.0
    trusting: bool = False
    flat_ms: float | None = None
    flat_tolerance: float = 0.0
    gap_ms: float = 180_000.0
    #: Between these a value needs no closer look by itself: in the range, finite, and no sentinel lies among them.
    plain_low: float = field(init=False, repr=False)
    plain_high: float = field(init=False, repr=False)

    def __post_init__(self) -> None:
        low = -_LARGEST if self.low is None else self.low
        high = _LARGEST if self.high is None else self.high
        if any(low - 1 <= sentinel <= high + 1 for sentinel in self.sentinels):
            low, high = 1.0, 0.0
        object.__setattr__(self, "plain_low", low)
        object.__setattr__(self, "plain_high", high)

    @classmethod
    def of(cls, sensor: Sensor, to_m: float | None = None) -> Limits:
        """The limits of a sensor; ``to_m`` is the factor into metres if it measures the distance to the water."""
        quality = sensor.quality
        rate, noise, doubt = quality.rate_per_h, quality.noise, quality.doubt
        trusting = False
        if to_m is not None:
            trusting = rate is None
            if rate is None:
                rate, noise = DISTANCE_RATE_M_PER_H / to_m, max(noise, DISTANCE_NOISE_M / to_m)
            doubt = DISTANCE_DOUBT if doubt is None else doubt
        low, high = sensor.range or (None, None)
        odd_low, odd_high = quality.suspect_range or (None, None)
        return cls(
            low=low,
            high=high,
            sentinels=tuple(sensor.sentinels),
            odd_low=odd_low,
            odd_high=odd_high,
            spike=quality.spike,
            rate_per_ms=None if rate is None else rate / 3_600_000,
            noise=noise,
            confirm=quality.confirm,
            doubt=doubt or 0.0,
            trusting=trusting,
            flat_ms=None if quality.flat_after_s is None else quality.flat_after_s * 1000,
            flat_tolerance=quality.flat_tolerance,
            gap_ms=quality.gap_intervals * sensor.interval_s * 1000,
        )


def limits_of(registry: Registry) -> dict[str, Limits]:
    """Limits of every sensor of a commune, by full series name."""
    units = {sensor.id: sensor.unit for sensor in registry.sensors}
    distances = {
        id_: SPECS[made.kind].inputs["distance"][units[id_]]
        for made in registry.derived
        if made.kind is DerivedKind.WATER_LEVEL
        for id_ in made.inputs.values()
    }
    return {registry.series(sensor): Limits.of(sensor, distances.get(sensor.id)) for sensor in registry.sensors}
