"""``python -m keng_loudspeaker``."""

from keng_loudspeaker.cli import main

main()
