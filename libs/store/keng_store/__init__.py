"""Time series: one protocol, kept in SQLite or in InfluxDB. Written by ingest, read by the console."""
