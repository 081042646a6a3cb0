"""VN_AQI by the hour, with NowCast for particles.

Source: Quyết định 1459/QĐ-TCMT (12 November 2019). The index of a substance is linear between the break points of the
table; that of the place is the highest of its substances. Concentrations are in µg/m³: for particles the 12-hour
NowCast, for gases the mean of the hour.

NowCast weighs the last twelve hourly means by ``w ** hours ago``, where ``w`` is the lowest of them over the highest,
but at least one half: when the air changes quickly, recent hours count for more. It needs two of the last three hours.
Hours without a mean are left out of both sums.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from keng_contracts.telemetry import Flag
from keng_signals.samples import Sample, flag_of, usable

HOUR_MS = 3_600_000
#: Hours that NowCast looks at, the one in question among them.
NOWCAST_HOURS = 12

INDEX = (0, 50, 100, 150, 200, 300, 400, 500)
#: Concentrations in µg/m³ at which the index takes the values of :data:`INDEX`.
BREAKPOINTS: Mapping[str, tuple[float, ...]] = {
    "pm2-5": (0, 25, 50, 80, 150, 250, 350, 500),
    "pm10": (0, 50, 150, 250, 350, 420, 500, 600),
    "o3": (0, 160, 200, 300, 400, 800, 1000, 1200),
    "so2": (0, 125, 350, 550, 800, 1600, 2100, 2630),
    "no2": (0, 100, 200, 700, 1200, 2350, 3100, 3850),
    "co": (0, 10_000, 30_000, 45_000, 60_000, 90_000, 120_000, 150_000),
}
PARTICLES = frozenset({"pm2-5", "pm10"})


def index(substance: str, concentration: float) -> int:
    """The index of a concentration in µg/m³, 0 to 500; what lies beyond the table counts as its end.

    >>> [index("pm2-5", c) for c in (0, 12.5, 25, 115, 700)]
    [0, 25, 50, 175, 500]
    """
    points = BREAKPOINTS[substance]
    for i in range(1, len(points)):
        if concentration <= points[i]:
            share = (max(concentration, 0.0) - points[i - 1]) / (points[i] - points[i - 1])
            return round(INDEX[i - 1] + share * (INDEX[i] - INDEX[i - 1]))
    return INDEX[-1]


def nowcast(hours: Sequence[float | None]) -> float | None:
    """The NowCast of hourly means in µg/m³, the newest first and None where there is none; None if it can't be made.

    >>> nowcast([50.0, None, 10.0])
    42.0
    """
    known = [(i, value) for i, value in enumerate(hours[:NOWCAST_HOURS]) if value is not None]
    if sum(i < 3 for i, _ in known) < 2:
        return None
    lowest, highest = min(v for _, v in known), max(v for _, v in known)
    weight = max(0.5, lowest / highest) if highest > 0 else 1.0
    return sum(weight**i * v for i, v in known) / sum(weight**i for i, _ in known)


def hourly_means(samples: Sequence[Sample]) -> dict[int, Sample]:
    """The mean of each hour by its beginning (ms since 1970 UTC). Suspect samples only count where there is no other;
    the mean is suspect then. An instrument's small negative values count as nought."""
    hours: dict[int, tuple[list[float], list[float]]] = {}
    for sample in usable(samples):
        beginning = sample.time_ms - sample.time_ms % HOUR_MS
        good, doubtful = hours.setdefault(beginning, ([], []))
        (doubtful if sample.flag is Flag.SUSPECT else good).append(max(sample.value, 0.0))
    return {
        beginning: Sample(beginning, _mean(good or doubtful), flag_of(not good))
        for beginning, (good, doubtful) in hours.items()
    }


def vn_aqi(substances: Mapping[str, Sequence[Sample]], start_ms: int, end_ms: int) -> list[Sample]:
    """The index of every hour that begins between ``start_ms`` and ``end_ms``, both included, and has data.

    It stands at the beginning of its hour and is provisional until the hour is over. ``substances`` holds samples in
    µg/m³ by substance; those of the eleven hours before are needed too.
    """
    means = {name: hourly_means(samples) for name, samples in substances.items()}
    beginnings = sorted({hour for hours in means.values() for hour in hours if start_ms <= hour <= end_ms})
    made = []
    for beginning in beginnings:
        found: list[tuple[int, bool]] = []
        for name, hours in means.items():
            if beginning not in hours:
                continue
            past = [hours.get(beginning - i * HOUR_MS) for i in range(NOWCAST_HOURS if name in PARTICLES else 1)]
            concentration: float | None = hours[beginning].value
            if name in PARTICLES:
                concentration = nowcast([None if mean is None else mean.value for mean in past])
            if concentration is not None:
                suspect = any(mean is not None and mean.flag is Flag.SUSPECT for mean in past)
                found.append((index(name, concentration), suspect))
        if found:
            made.append(Sample(beginning, float(max(i for i, _ in found)), flag_of(any(s for _, s in found))))
    return made


def _mean(values: Sequence[float]) -> float:
    """Divided first: no finite values overflow."""
    return sum(value / len(values) for value in values)
