"""What can go wrong with an embedded server, in words for the person who started it."""


class EmbeddedError(Exception):
    """The base of everything that this package raises."""


class PortTaken(EmbeddedError):
    """Something else listens there already."""

    def __init__(self, what: str, host: str, port: int) -> None:
        super().__init__(f"{what} cannot listen on {host}:{port}: the port is taken by another program.")
        self.port = port


class FolderInUse(EmbeddedError):
    """Another process works with the same data folder."""

    def __init__(self, folder: object, holder: str) -> None:
        super().__init__(
            f"The data folder {folder} is in use by process {holder}. Stop that one, or use another folder."
        )


class DidNotStart(EmbeddedError):
    """A server ended, or was not ready in time; ``log`` is the end of what it said."""

    def __init__(self, what: str, reason: str, log: str) -> None:
        super().__init__(f"{what} {reason}." + (f" It said:\n{log}" if log else ""))


class WrongVersion(EmbeddedError):
    """The data folder was made by another major version of the server."""


class NotInstalled(EmbeddedError):
    """The server's program is missing from this Python environment."""
