"""Pausing processes."""

import os
import signal

import psutil

from tests.support.waiting import wait_until


def pause(*pids: int) -> None:
    """Stop processes with SIGSTOP and return once they have stopped: the signal alone is not waited for.

    SIGCONT resumes them.
    """
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    for pid in pids:
        wait_until(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED, what=f"process {pid} stopped")  # noqa: B023
