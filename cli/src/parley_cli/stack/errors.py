"""Errors of a stack."""


class StackError(Exception):
    """The stack cannot start; the message is for the person who started it."""
