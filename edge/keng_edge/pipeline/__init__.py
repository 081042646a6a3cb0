"""What becomes of a sample before it is kept: scale, calibration, counters, what is worth telling, how often to ask."""
