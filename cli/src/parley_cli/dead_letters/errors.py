"""Errors of ``parley dead-letters``, with messages for the operator."""


class DeadLetterError(Exception):
    """The base of the errors of this package."""


class NoSuchDeadLetter(DeadLetterError):
    """The queue has no dead letter with this number (any more)."""

    def __init__(self, number: int) -> None:
        super().__init__(f"There is no dead letter {number}. `parley dead-letters list` shows the existing ones.")
        self.number = number


class NoOriginalSubject(DeadLetterError):
    """The dead letter has no original subject, so it cannot be replayed."""

    def __init__(self, number: int) -> None:
        super().__init__(f"Dead letter {number} does not contain its original subject; it can only be dropped.")
        self.number = number
