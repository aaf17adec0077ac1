"""What was measured on the way; printed at the end."""

FIGURES: dict[str, str] = {}
