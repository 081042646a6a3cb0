"""How an order to loudspeakers stands, in words: Vietnamese first, English second. Pure."""

from __future__ import annotations

import re

from keng_console import order_words
from keng_console.report import NAMES
from keng_console.speakers.outcome import Outcome, Stands
from keng_console.words import words
from keng_contracts.commands import Play, Speech, Stop

_WORDS = {
    Stands.AWAY: ("mất liên lạc, không phát", "offline, it does not sound"),
    Stands.ASKED: ("chưa trả lời", "no answer"),
    Stands.REFUSED: ("TỪ CHỐI", "refused"),
    Stands.WAITING: ("đã nhận", "accepted"),
    Stands.SOUNDING: ("đang phát", "sounding"),
    Stands.INTERRUPTED: ("tạm ngắt, sẽ phát tiếp", "interrupted, will go on"),
    Stands.FINISHED: ("đã phát xong", "finished"),
    Stands.CUT: ("bị ngắt", "cut"),
    Stands.FAILED: ("KHÔNG PHÁT ĐƯỢC", "failed"),
}
#: What loudspeakers give as reason, and how people say it; ``{}`` is what the pattern caught.
_REASONS = (
    ("waiting", "chờ tới lượt", "waits for its turn"),
    ("stopped", "có lệnh dừng", "it was ordered to stop"),
    ("interrupted: (.*)", "nhường cho {}", "gave way to {}"),
    ("resumed at (.*)", "phát tiếp từ {}", "resumed at {}"),
    ("repeat (.*) of (.*)", "lần {}/{}", "{} of {}"),
    ("waited-too-long", "chờ quá lâu", "it waited too long"),
    ("nothing-heard", "không có tiếng ra loa", "no sound came out"),
    ("voice-lost", "mất tiếng nói giữa chừng", "the voice broke off"),
    ("nothing-was-said", "không ai nói gì", "nothing was said"),
    ("time-up", "hết giờ", "its time was over"),
    ("node-stopped", "máy ở loa đã tắt", "the node was ended"),
    ("on-arrival: clock-unknown", "không cùng lúc: đồng hồ chưa đúng giờ", "not together: its clock is not kept"),
    ("on-arrival: (.*)", "không cùng lúc: {}", "not together: {}"),
)


def stands(outcome: Outcome) -> str:
    """``đã phát xong, −20,1 dBFS, 5,2 giây (finished, −20.1 dBFS, 5.2 s)``."""
    return _both([stands_in(outcome, language) for language in ("vi", "en")])


def stands_in(outcome: Outcome, language: str) -> str:
    """The same in one language."""
    w, index = words(language), ("vi", "en").index(language)
    told = [_WORDS[outcome.stands][index]]
    # What was said as it started is over once it has finished, but for a start that was not together.
    if outcome.reason and (outcome.stands is not Stands.FINISHED or outcome.reason.startswith("on-arrival")):
        told += [_reason(part, index) for part in outcome.reason.split(", ")]
    if outcome.level_dbfs is not None:
        told.append(f"{w.number(outcome.level_dbfs, 1)} dBFS")
    if outcome.sounded_s:
        told.append(f"{w.number(outcome.sounded_s, 1)} {('giây', 's')[index]}")
    if outcome.heard is not None:
        told.append(
            (("micro không nghe thấy", "micro nghe thấy"), ("not heard outside", "heard outside"))[index][outcome.heard]
        )
    return ", ".join(told)


def _reason(reason: str, index: int) -> str:
    for pattern, *said in _REASONS:
        if found := re.fullmatch(pattern, reason):
            return said[index].format(*found.groups())
    return order_words.reason(words(("vi", "en")[index]), reason)


def nothing(online: bool) -> str:
    """Of a loudspeaker that has answered nothing."""
    return _both(_WORDS[Stands.ASKED if online else Stands.AWAY])


def stopped(done: bool, reason: str) -> str:
    """What a loudspeaker answered to a stop."""
    if done:
        return "đã dừng (stopped)"
    return _both([f"{_WORDS[Stands.REFUSED][i]}: {order_words.reason(words(('vi', 'en')[i]), reason)}" for i in (0, 1)])


def what(action: Play | Stop) -> str:
    """What was ordered, in one line."""
    if isinstance(action, Stop):
        return f"dừng (stop) {action.play or 'tất cả (everything)'}"
    said = next((item.text for item in action.items if isinstance(item, Speech)), "")
    text = f" “{said[:60]}{'…' if len(said) > 60 else ''}”" if said else f" {action.items[0].kind}"
    return f"{NAMES[action.priority]} {action.play}{text}"


def _both(told: tuple[str, str] | list[str]) -> str:
    return f"{told[0]} ({told[1]})"
