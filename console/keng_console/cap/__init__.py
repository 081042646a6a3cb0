"""CAP 1.2 (OASIS Common Alerting Protocol), out and in.

Out: an alert's document → ``compose`` (what is said) → ``xml`` → ``signature`` → ``records`` (kept) → ``feed``.
In: HTTP or ``poll`` → ``signature`` (whose word it is) → ``xml`` → ``judge`` (what follows) → ``records`` → orders.
"""
