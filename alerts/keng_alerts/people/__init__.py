"""What people order: at this machine, or signed and over the broker."""
