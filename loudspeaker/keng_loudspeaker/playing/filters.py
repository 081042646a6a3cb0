"""What is done to a sound on its way out, and how mpv is told: one of its filter chains (mpv(1), ``--af``;
ffmpeg-filters(1)). Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from keng_loudspeaker.playing.sound import RATE

#: Of full scale: no sample leaves above it, whatever the gain.
CEILING = 0.89

#: What makes the far and the near of a microphone alike: from -26 dBFS on six to one, and 8 dB more of all.
_COMPRESSOR = "acompressor=threshold=0.05:ratio=6:attack=5:release=250:makeup=2.5"


@dataclass(frozen=True, slots=True)
class Shape:
    """How one item is played. What is made louder by ``gain_db`` passes a limiter, so that it does not clip. A sound of
    unknown length (``seconds`` infinite) can't fade out. ``volume`` is in percent, None for the player's own. ``lufs``
    is the loudness to which it is brought while it plays (EBU R 128), for what can't be measured before: that holds it
    back by three seconds."""

    gain_db: float = 0.0
    fade_in_s: float = 0.0
    fade_out_s: float = 0.0
    seconds: float = math.inf
    volume: int | None = None
    lufs: float | None = None

    @property
    def unfaded(self) -> Shape:
        return replace(self, fade_in_s=0.0, fade_out_s=0.0)

    def faded(self, at_s: float) -> float:
        """The factor of the fades so long after the beginning of the sound.

        >>> [Shape(fade_in_s=2, fade_out_s=1, seconds=10).faded(s) for s in (0, 1, 5, 9.75, 10)]
        [0.0, 0.5, 1.0, 0.25, 0.0]
        """
        rises = at_s / self.fade_in_s if self.fade_in_s > 0 else 1.0
        fades = self.fade_out_s > 0 and math.isfinite(self.seconds)
        falls = (self.seconds - at_s) / min(self.fade_out_s, self.seconds) if fades else 1.0
        return max(0.0, min(1.0, rises, falls))


def voice_chain(gain_db: float) -> str:
    """The chain for a live voice: nobody could measure its loudness before.

    >>> voice_chain(0).partition(",")[2]
    'volume=0.0dB,alimiter=limit=0.89:level=0]'
    """
    return f"lavfi=[{_COMPRESSOR},volume={gain_db:.1f}dB,alimiter=limit={CEILING}:level=0]"


def chain(shape: Shape) -> str:
    """The chain for one item; empty if nothing is to be done.

    >>> chain(Shape())
    ''
    >>> chain(Shape(gain_db=3, fade_out_s=2, seconds=10))
    'lavfi=[volume=3.0dB,alimiter=limit=0.89:level=0,afade=t=out:st=8.000:d=2.000]'
    """
    steps = []
    if shape.lufs is not None:  # it works at four times the rate
        steps.append(f"loudnorm=I={shape.lufs:.1f}:LRA=11:TP=-1.5,aresample={RATE}")
    if abs(shape.gain_db) >= 0.05:
        steps.append(f"volume={shape.gain_db:.1f}dB")
    if shape.gain_db >= 0.05:
        steps.append(f"alimiter=limit={CEILING}:level=0")
    if shape.fade_in_s > 0:
        steps.append(f"afade=t=in:st=0:d={shape.fade_in_s:.3f}")
    if shape.fade_out_s > 0 and math.isfinite(shape.seconds):
        steps.append(f"afade=t=out:st={max(0.0, shape.seconds - shape.fade_out_s):.3f}:d={shape.fade_out_s:.3f}")
    return f"lavfi=[{','.join(steps)}]" if steps else ""
