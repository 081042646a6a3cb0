"""Alerts: telemetry → hazard → alert documents and signed siren commands.

The way of a reading through here: :mod:`keng_alerts.hazard` says, purely, whether a level is reached;
:mod:`keng_alerts.decide` what follows from that, by the registry's authority; :mod:`keng_alerts.texts` in which words;
:mod:`keng_alerts.memory` puts it on disk; :mod:`keng_alerts.service` publishes it, in that order.
"""
