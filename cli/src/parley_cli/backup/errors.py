"""Errors of backup and restore, with messages for the operator."""

from __future__ import annotations


class BackupError(Exception):
    """The base of the errors of this package."""


class NotAnArchive(BackupError):
    """The file is something else, or damaged."""

    def __init__(self, file: object, why: str) -> None:
        super().__init__(f"{file} cannot be restored: {why}. Nothing was changed.")


class FileExists(BackupError):
    """A backup would replace a file."""

    def __init__(self, file: object) -> None:
        super().__init__(f"{file} exists already. Name another file, or add --force to replace it.")


class CannotWrite(BackupError):
    """The backup has no place to go."""

    def __init__(self, file: object, why: OSError) -> None:
        super().__init__(
            f"{file} cannot be written: {why.strerror or why}. Name a file in a folder that you may write to."
        )


class Mixed(BackupError):
    """The configured servers belong to different installations."""

    def __init__(self, why: str) -> None:
        super().__init__(
            f"This would mix two installations: {why}. Set both NATS_URL and DATABASE_URL, or neither and name the "
            "stack's folder with --data. Nothing was changed."
        )


class NotEmpty(BackupError):
    """The target is not empty."""

    def __init__(self, what: list[str]) -> None:
        super().__init__(
            f"The servers are not empty: {', '.join(what)}. Nothing was changed. "
            "Restore into an empty stack, or add --force to replace all of it."
        )


class StillRunning(BackupError):
    """Services work with these servers."""

    def __init__(self, who: str) -> None:
        super().__init__(f"{who}. Stop Parley's services first (not the servers), then restore. Nothing was changed.")


class ProgramFailed(BackupError):
    """One of PostgreSQL's programs failed; ``output`` is what it wrote."""

    def __init__(self, program: str, output: str) -> None:
        super().__init__(f"{program} failed:\n{output.strip() or '(no output)'}")
