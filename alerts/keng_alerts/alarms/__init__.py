"""Alarms by the registry's rules, of anything that is no flood level: told to people, never sounded."""
