"""What mpv does to a sound on its way out, as one of its filter chains (mpv(1), ``--af``; ffmpeg-filters(1)). Pure."""

from __future__ import annotations

import math

#: Of full scale: no sample leaves above it, whatever the gain.
CEILING = 0.89


#: What makes the far and the near of a microphone alike: from -26 dBFS on six to one, and 8 dB more of all.
_COMPRESSOR = "acompressor=threshold=0.05:ratio=6:attack=5:release=250:makeup=2.5"


def voice_chain(gain_db: float) -> str:
    """The chain for a live voice: nobody could measure its loudness before.

    >>> voice_chain(0).partition(",")[2]
    'volume=0.0dB,alimiter=limit=0.89:level=0]'
    """
    return f"lavfi=[{_COMPRESSOR},volume={gain_db:.1f}dB,alimiter=limit={CEILING}:level=0]"


def chain(*, gain_db: float = 0.0, fade_in_s: float = 0.0, fade_out_s: float = 0.0, seconds: float = math.inf) -> str:
    """The chain for one item; empty if nothing is to be done. What is made louder passes a limiter, so that it does not
    clip. A sound of unknown length (``seconds`` infinite) can't fade out.

    >>> chain()
    ''
    >>> chain(gain_db=3, fade_out_s=2, seconds=10)
    'lavfi=[volume=3.0dB,alimiter=limit=0.89:level=0,afade=t=out:st=8.000:d=2.000]'
    """
    steps = []
    if abs(gain_db) >= 0.05:
        steps.append(f"volume={gain_db:.1f}dB")
    if gain_db >= 0.05:
        steps.append(f"alimiter=limit={CEILING}:level=0")
    if fade_in_s > 0:
        steps.append(f"afade=t=in:st=0:d={fade_in_s:.3f}")
    if fade_out_s > 0 and math.isfinite(seconds):
        steps.append(f"afade=t=out:st={max(0.0, seconds - fade_out_s):.3f}:d={fade_out_s:.3f}")
    return f"lavfi=[{','.join(steps)}]" if steps else ""
