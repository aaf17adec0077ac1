"""The dead-letter queue: list, show, replay, drop."""
