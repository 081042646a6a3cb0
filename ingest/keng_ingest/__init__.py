"""Ingest: MQTT → decode → quality control → store → receipt.

What happens to a reading here: :mod:`keng_ingest.sort` decides, purely, what becomes of every message of a batch;
:mod:`keng_ingest.service` commits the outcome and only then acknowledges and receipts it;
:mod:`keng_ingest.dead_letters` keeps what could not be stored, with the reason.
"""
