"""The words of an alert. Vietnamese first; numbers stay as digits here and are spelled out where they are spoken.

Only a gauge that the registry maps to an official station may say "báo động" (QĐ 05/2020/QĐ-TTg fixes those levels for
each official station); every other gauge gives a local warning, "cảnh báo tại chỗ".
"""

from __future__ import annotations

from keng_contracts.registry import Registry, Sensor, Station

_ADVICE_VI = {
    1: "Đề nghị bà con theo dõi mực nước và chuẩn bị phòng tránh.",
    2: "Đề nghị bà con vùng trũng thấp, ven sông kê cao tài sản, đưa gia súc lên chỗ cao và sẵn sàng di dời.",
    3: "Đề nghị bà con vùng trũng thấp, ven sông khẩn trương di dời đến nơi an toàn, cắt điện ở nơi ngập nước, "
    "không qua lại các đoạn đường ngập và làm theo hướng dẫn của chính quyền.",
}
_ADVICE_EN = {
    1: "Please watch the water level and make ready.",
    2: "If you live on low ground or by the river, raise your belongings, bring your animals to high ground and be "
    "ready to leave.",
    3: "If you live on low ground or by the river, move to a safe place now, switch off the electricity where it is "
    "flooded, keep away from flooded roads and follow the authorities.",
}
_EXERCISE = {"vi": "Đây là diễn tập.", "en": "This is an exercise."}
#: Stands at the head of every line about a drill, so that a line alone can't be taken for the real thing.
DRILL, DRILL_EN = "DIỄN TẬP", "EXERCISE"


def level_name(level: int, official: bool) -> str:
    """What a level is called: ``Báo động 3`` or ``Cảnh báo tại chỗ mức 3``; level 4 is above the record."""
    if level >= 4:
        return "Vượt mức lịch sử" if official else "Cảnh báo tại chỗ mức 4"
    return f"Báo động {level}" if official else f"Cảnh báo tại chỗ mức {level}"


def level_name_en(level: int, official: bool) -> str:
    if level >= 4:
        return "Above the record" if official else "Local warning level 4"
    return f"Flood alarm level {level}" if official else f"Local warning level {level}"


def headline(
    level: int, station: Station, sensor: Sensor, value: float, threshold: float | None, *, drill: bool = False
) -> str:
    """One line in Vietnamese, e.g. ``Báo động 3 tại Phú Ốc (Sông Bồ): 4,57 m, ngưỡng 4,50 m``."""
    if drill:
        return f"{DRILL}: {headline(level, station, sensor, value, threshold)}"
    where = f"{station.name} ({station.river})" if station.river else station.name
    now = f"{_number_vi(value, sensor.decimals)} {sensor.unit}"
    if level == 0:
        return f"Mực nước tại {where} đã xuống dưới mức báo động: {now}"
    name = level_name(level, bool(station.official))
    over = f", ngưỡng {_number_vi(threshold, sensor.decimals)} {sensor.unit}" if threshold is not None else ""
    return f"{name} tại {where}: {now}{over}"


def headline_en(
    level: int, station: Station, sensor: Sensor, value: float, threshold: float | None, *, drill: bool = False
) -> str:
    if drill:
        return f"{DRILL_EN}: {headline_en(level, station, sensor, value, threshold)}"
    where = f"{station.name} ({station.river})" if station.river else station.name
    now = f"{value:.{sensor.decimals}f} {sensor.unit}"
    if level == 0:
        return f"The level at {where} is below all thresholds: {now}"
    over = f", threshold {threshold:.{sensor.decimals}f} {sensor.unit}" if threshold is not None else ""
    return f"{level_name_en(level, bool(station.official))} at {where}: {now}{over}"


def spoken(
    level: int, registry: Registry, station: Station, sensor: Sensor, value: float, *, lang: str, drill: bool = False
) -> str:
    """What the loudspeakers say when a level is reached, in one of the commune's languages."""
    official, commune = bool(station.official), registry.commune.name
    if lang == "en":
        river = f" of the {station.river}" if station.river else ""
        text = (
            f"Attention, attention! {commune} announces: {level_name_en(level, official)}. The water level{river} at "
            f"{station.name} has reached {value:.{sensor.decimals}f} {sensor.unit}. {_ADVICE_EN[min(level, 3)]}"
        )
    else:
        river = f" {station.river[0].lower()}{station.river[1:]}" if station.river else ""
        place = f"trạm {station.name}" if station.official else station.name
        now = f"{_number_vi(value, sensor.decimals)} {sensor.unit}"
        text = (
            f"Chú ý, chú ý! {commune} thông báo. {level_name(level, official)}. "
            f"Mực nước{river} tại {place} đã lên {now}. {_ADVICE_VI[min(level, 3)]}"
        )
    return _marked(text, lang, drill or registry.commune.exercise)


def drill_opening(registry: Registry, lang: str) -> str:
    """What comes before anything else in a drill."""
    if lang == "en":
        return (
            f"{registry.commune.name} announces: this is an exercise, not a real alarm. "
            "The siren that follows is for the exercise. You need not leave your home."
        )
    return (
        f"{registry.commune.name} thông báo: đây là diễn tập, không phải báo động thật. "
        "Tiếng còi sau đây là để diễn tập. Bà con không phải di dời."
    )


def drill_over(station: Station) -> tuple[str, str]:
    """The line about a drill that has ended, in Vietnamese and in English."""
    return f"{DRILL}: đã kết thúc diễn tập tại {station.name}", f"{DRILL_EN}: the drill at {station.name} is over"


def correction(registry: Registry, station: Station, text: str, *, lang: str, drill: bool = False) -> str:
    """What is said when an alarm was wrong: the given words, or ready ones."""
    if lang == "en":
        said = text or (
            f"The alarm about the water level at {station.name} was wrong. "
            "Please stay calm; you need not leave your home because of it. We apologise."
        )
        said = f"Correction! {registry.commune.name} corrects. {said}"
    else:
        said = text or (
            f"Thông tin báo động về mực nước tại {station.name} vừa phát trên loa là không đúng. "
            "Bà con hãy bình tĩnh và không phải di dời theo thông tin đó. Chúng tôi xin lỗi bà con."
        )
        said = f"Đính chính! {registry.commune.name} đính chính. {said}"
    return _marked(said, lang, drill or registry.commune.exercise)


def _marked(text: str, lang: str, exercise: bool) -> str:
    return f"{_EXERCISE[lang]} {text} {_EXERCISE[lang]}" if exercise else text


def _number_vi(value: float, decimals: int) -> str:
    return f"{value:.{decimals}f}".replace(".", ",")
