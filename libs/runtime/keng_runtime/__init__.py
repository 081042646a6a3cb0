"""How a service of Kẻng lives: settings, credentials, the one MQTT adapter, signing, lifecycle, logs, metrics."""
