"""The edge agent: sensors → pure pipeline → outbox → uplink.

What happens to a reading, in the order in which it travels:

1. ``modbus``    a frame comes in on a serial line and is stamped when its last byte is there
2. ``profiles``  its registers become numbers, as the maker's map says (data, in ``profiles/*.toml``)
3. ``pipeline``  a number becomes a reading: scale, unit, sentinel, flag, offset, a time that only grows
4. ``keeper``    readings are gathered and committed together; alarm-relevant ones at once
5. ``outbox``    they lie on disk until ingest's receipt
6. ``uplink``    they are published, and published again until that receipt comes
"""
