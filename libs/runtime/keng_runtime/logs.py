"""One line a fact, on standard error: journald and ``docker logs`` add time and unit themselves."""

from __future__ import annotations

import logging
import os
import sys


def set_up(service: str, level: str = "INFO") -> None:
    """Send the log of this process to standard error as ``HH:MM:SS.mmm LEVEL service: text``."""
    pattern = "%(asctime)s.%(msecs)03d %(levelname)s %(keng_service)s: %(message)s"
    if os.environ.get("JOURNAL_STREAM"):
        pattern = "%(levelname)s %(message)s"
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(pattern, "%H:%M:%S", defaults={"keng_service": service}))
    logging.basicConfig(level=level, handlers=[handler], force=True)
