"""One gauge: its hazard, its data, and what is done about both. Pure; the service and the backtest drive this code."""
