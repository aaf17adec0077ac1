"""Commands whose process dies with the one that starts it."""

import os
import signal
import sys
from pathlib import Path

_CHILD = str(Path(__file__).with_name("child.py"))


def guarded(
    command: list[str],
    *,
    on_death: signal.Signals = signal.SIGKILL,
    account: tuple[int, int] | None = None,
    keep_reach: bool = False,
) -> list[str]:
    """Wrap ``command`` so that its process is sent ``on_death`` when this process ends, however it ends.

    Start it from a thread that lives as long as this process: on Linux a child's "parent" is the thread.

    Args:
        command: The program's absolute path and its arguments.
        on_death: The signal that the program gets.
        account: Run with that user and group id; only root may ask for it.
        keep_reach: Let the account pass folders that are closed to it (an installation below ``/root``).
    """
    return [
        sys.executable,
        *("-I", "-S", _CHILD),
        *(str(os.getpid()), str(int(on_death)), "{}:{}".format(*account) if account else ""),
        "reach" if keep_reach else "",
        *command,
    ]
