"""Errors of embedded servers and their data folder, with messages for the person who started them."""

import errno
import socket


class EmbeddedError(Exception):
    """The base of the errors of this package."""


class CannotListen(EmbeddedError):
    """A server cannot listen on its address."""

    def __init__(self, what: str, host: str, port: int, why: OSError, fix: str = "") -> None:
        if isinstance(why, socket.gaierror):
            cause = f"{host} is no host name or address that is known here"
        elif why.errno == errno.EADDRINUSE:
            cause = "the port is taken by another program"
        elif why.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            cause = f"this machine has no address {host}"
        elif why.errno in (errno.EACCES, errno.EPERM):
            cause = "this account may not use the port (those below 1024 are root's)"
        else:
            cause = why.strerror or str(why)
        super().__init__(f"{what} cannot listen on {host}:{port}: {cause}." + (f" {fix}" if fix else ""))


class FolderInUse(EmbeddedError):
    """Another process works with the same data folder."""

    def __init__(self, folder: object, holder: str) -> None:
        super().__init__(
            f"The data folder {folder} is in use by process {holder}. Stop that one, or use another folder."
        )


class UnusableFolder(EmbeddedError):
    """The folder cannot be written, or its content cannot be used."""

    def __init__(self, folder: object, why: OSError | str) -> None:
        super().__init__(
            f"The data folder {folder} cannot be used: {_cause(why)}. Choose another one with --data, or repair it."
        )


def _cause(why: OSError | str) -> str:
    if isinstance(why, str):
        return why
    match why.errno:
        case errno.EEXIST | errno.ENOTDIR:
            cause = "it, or what is above it, is a file and no folder"
        case errno.EACCES | errno.EPERM:
            cause = "this account may not write there; it may belong to another one"
        case errno.EROFS:
            cause = "its file system can only be read"
        case _:
            cause = str(why.strerror or why)
    return cause + (f" ({why.filename})" if why.filename else "")


class DidNotStart(EmbeddedError):
    """A server ended, or was not ready in time; ``log`` is the end of its log."""

    def __init__(self, what: str, reason: str, log: str) -> None:
        super().__init__(f"{what} {reason}." + (f" Its log ends with:\n{log}" if log else ""))


class WrongVersion(EmbeddedError):
    """The data folder was made by another major version of the server."""


class NotInstalled(EmbeddedError):
    """The server's program is missing from this Python environment."""
