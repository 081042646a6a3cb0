"""What readings mean: units, streaming quality control, derived series. Pure: time is an argument."""
