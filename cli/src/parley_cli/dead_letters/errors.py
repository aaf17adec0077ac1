"""What can go wrong with a dead letter, in words for the operator."""


class DeadLetterError(Exception):
    """The base of everything that this package raises."""


class NoSuchLetter(DeadLetterError):
    """There is no letter of that number (any more)."""

    def __init__(self, number: int) -> None:
        super().__init__(f"There is no dead letter {number}. `parley dead-letters list` names those there are.")
        self.number = number


class NoAddress(DeadLetterError):
    """The letter does not say where it came from, so it cannot be sent there again."""

    def __init__(self, number: int) -> None:
        super().__init__(
            f"Dead letter {number} does not say which subject it was published on; it can only be dropped."
        )
        self.number = number
