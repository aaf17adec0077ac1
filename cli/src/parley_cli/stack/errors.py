"""Why a stack does not start."""


class StackError(Exception):
    """In words for the person who started it."""
