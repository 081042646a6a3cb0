"""Alerts: telemetry → hazard → alert documents and signed siren commands.

The way of a reading: ``gauge`` says, purely, whether a level is reached and what follows from that by the registry's
authority (``engine`` is its parts together, and ``backtest`` runs it as the service does); ``memory`` puts it on disk;
``service`` publishes it, in that order. ``alarms`` are what is told and never sounded, ``people`` who may order,
``notify`` a service of its own that tells them.
"""
