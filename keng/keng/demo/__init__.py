"""The demo: a whole commune on one machine, in the flood of 16 and 17 November 2025.

Nothing here is a stand-in: the broker is mosquitto with the shipped configuration, every part is the very process that
serves a commune, and the simulated sensors answer real Modbus frames on pseudo-terminals. What the demo changes is
time: an hour of the river passes in seconds, so the registry's waiting times are shortened by as much.
"""
