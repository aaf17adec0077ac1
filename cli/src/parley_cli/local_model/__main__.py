"""``python -m parley_cli.local_model --port 8003``; clients need ``LOCAL_MODEL_API_KEY``."""

import os
import signal
import sys
from typing import Annotated

import typer

from parley_cli.local_model import server


def main(*, port: Annotated[int, typer.Option()]) -> None:
    """Serve until SIGTERM or SIGINT."""
    signals = {signal.SIGTERM, signal.SIGINT}
    # Before the server starts its threads, which inherit the mask: a signal delivered to one of them would kill it.
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        running = server.start(port, api_key=os.environ["LOCAL_MODEL_API_KEY"])
    except RuntimeError as error:
        sys.exit(str(error))
    print(f"listening on {running.listening_address}", flush=True)
    signal.sigwait(signals)
    sys.stdout.flush()
    # At its own shutdown llama.cpp waits for running answers, and nothing of them is stored here.
    os._exit(0)


if __name__ == "__main__":
    typer.run(main)
