"""What Grafana and readers call the units and quantities of the registry."""

from __future__ import annotations

from grafana_foundation_sdk.models import units

#: Grafana's unit for a time shown as its distance from now.
AGE: str = units.DateTimeFromNow

#: SenML and UCUM symbols and Grafana's own ids for them; any other symbol is shown as it is, after the number.
_GRAFANA: dict[str, str] = {
    "m": units.Meter,
    "mm": units.Millimeter,
    "%": units.Percent,
    "%RH": units.Humidity,
    "Cel": units.Celsius,
    "ug/m3": units.MicrogramPerCubicMeter,
    "lux": units.Lux,
    "lx": units.Lux,
    "V": units.Volt,
}

_ENGLISH = {
    "level": "Water level",
    "rain": "Rain",
    "soil-moisture": "Soil moisture",
    "soil-temperature": "Soil temperature",
    "soil-ec": "Soil conductivity",
    "soil-ph": "Soil pH",
    "soil-n": "Nitrogen",
    "soil-p": "Phosphorus",
    "soil-k": "Potassium",
    "pm2-5": "PM2.5",
    "pm10": "PM10",
    "temperature": "Air temperature",
    "humidity": "Air humidity",
}


def grafana(symbol: str) -> str:
    """Grafana's id of a unit.

    >>> grafana("m"), grafana("mS/cm")
    ('lengthm', 'suffix: mS/cm')
    """
    return _GRAFANA.get(symbol, f"suffix: {symbol}")


def english(quantity: str) -> str:
    """The English name of a quantity's slug, or the slug in words.

    >>> english("soil-ec"), english("wind-speed")
    ('Soil conductivity', 'Wind speed')
    """
    return _ENGLISH.get(quantity, quantity.replace("-", " ").capitalize())


def vietnamese(value: float) -> str:
    """A number as it is written in Vietnamese.

    >>> vietnamese(1.5), vietnamese(3.0), vietnamese(112.25)
    ('1,5', '3', '112,25')
    """
    return f"{value:g}".replace(".", ",")
