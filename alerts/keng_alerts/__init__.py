"""Alerts: telemetry → hazard → alert documents and signed siren commands.

The way of a reading through here: :mod:`keng_alerts.hazard` says, purely, whether a level is reached;
:mod:`keng_alerts.decide` what follows from that, by the registry's authority; :mod:`keng_alerts.texts` in which words;
:mod:`keng_alerts.engine` is these together for one gauge, and the backtest runs it
as the service does; :mod:`keng_alerts.memory` puts it on disk; :mod:`keng_alerts.service` publishes it, in that order.
"""
