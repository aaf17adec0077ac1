"""``parley users``, ``parley keys`` and ``parley usage``."""
