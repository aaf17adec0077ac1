"""The routes of Parley's own interface, one module per resource; each has a ``router``."""
