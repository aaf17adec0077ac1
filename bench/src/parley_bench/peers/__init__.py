"""What Parley is measured beside: short programs of the usual patterns, each run as a process of its own."""
