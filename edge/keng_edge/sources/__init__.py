"""Everything that measures. ``source`` is the protocol, ``kinds`` the table of all that implement it."""
