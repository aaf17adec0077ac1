"""Why there is no backup, or why it is not restored, in words for the operator."""

from __future__ import annotations


class BackupError(Exception):
    """The base of everything that this package raises."""


class NotAnArchive(BackupError):
    """The file is something else, or damaged."""

    def __init__(self, file: object, why: str) -> None:
        super().__init__(f"{file} cannot be restored: {why}. Nothing was changed.")


class NotEmpty(BackupError):
    """Restoring would mix with, or replace, what is there."""

    def __init__(self, what: list[str]) -> None:
        super().__init__(
            f"There is something already: {', '.join(what)}. Nothing was changed. "
            "Restore into an empty stack, or add --force to lose all of it."
        )


class StillRunning(BackupError):
    """Services work with these servers."""

    def __init__(self, who: str) -> None:
        super().__init__(f"{who}. End Parley's services first (the servers stay), then restore. Nothing was changed.")


class ProgramFailed(BackupError):
    """One of PostgreSQL's programs did not do its work; ``said`` is what it wrote."""

    def __init__(self, program: str, said: str) -> None:
        super().__init__(f"{program} failed. It said:\n{said.strip() or '(nothing)'}")
