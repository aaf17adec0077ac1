"""Errors of ``parley dead-letters``, with messages for the operator."""

from parley_cli.actions import ActionFailed


class NoSuchDeadLetter(ActionFailed):
    """The queue has no dead letter with this number (any more)."""

    def __init__(self, number: int) -> None:
        super().__init__(f"There is no dead letter {number}. `parley dead-letters list` shows the existing ones.")


class NoOriginalSubject(ActionFailed):
    """The dead letter has no original subject, so it cannot be replayed."""

    def __init__(self, number: int) -> None:
        super().__init__(f"Dead letter {number} does not contain its original subject; it can only be dropped.")
