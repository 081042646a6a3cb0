"""What one reading says of another quantity, value by value."""

from __future__ import annotations

import math

#: Below this relative humidity in % an instrument measures nothing.
LEAST_HUMIDITY = 0.1


def water_level_m(distance_m: float, sensor_above_datum_m: float) -> float:
    """Water level in m above the gauge's datum, from the distance in m between an ultrasonic sensor and the water.

    ``sensor_above_datum_m`` is how high the sensor's face hangs above the datum, as levelled at its installation.

    >>> water_level_m(2.75, 8.0)
    5.25
    """
    return sensor_above_datum_m - distance_m


def dew_point_c(temperature_c: float, humidity_pct: float) -> float | None:
    """Dew point in °C from air temperature in °C and relative humidity in %; None where there is none.

    Magnus formula over water with the coefficients of WMO-No. 8, Guide to Instruments and Methods of Observation,
    part I, annex 4.B: e_w = 6.112 · exp(17.62 t / (243.12 + t)) hPa, for -45 °C to 60 °C. Humidity above 100 %, as
    cheap instruments show it in fog, counts as 100 %; below 0.1 % there is none.

    >>> round(dew_point_c(30.0, 70.0), 1)
    23.9
    """
    if not (-45.0 <= temperature_c <= 60.0 and humidity_pct >= LEAST_HUMIDITY):
        return None
    logarithm = math.log(min(humidity_pct, 100.0) / 100.0) + 17.62 * temperature_c / (243.12 + temperature_c)
    return 243.12 * logarithm / (17.62 - logarithm)


def soil_water_deficit_mm(moisture_pct: float, field_capacity_pct: float, root_depth_m: float) -> float:
    """Water in mm that the root zone lacks until field capacity, nought if it holds as much or more.

    Moisture and field capacity in % of volume. Source: FAO Irrigation and Drainage Paper 56, equation 87:
    1000 · (θ_FC − θ) · Z_r.

    >>> soil_water_deficit_mm(25.0, 35.0, 0.5)
    50.0
    """
    return max(0.0, 1000.0 * (field_capacity_pct - moisture_pct) / 100.0 * root_depth_m)
