"""``python -m parley_cli.local_model --port 8003``; clients need ``LOCAL_MODEL_API_KEY``."""

import argparse
import os
import signal
import sys

from parley_cli.local_model import server


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m parley_cli.local_model")
    parser.add_argument("--port", type=int, required=True)
    port = parser.parse_args().port
    signals = {signal.SIGTERM, signal.SIGINT}
    # Before the server makes its threads, which inherit the mask: one of them would take the signal and die of it.
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        running = server.start(port, api_key=os.environ["LOCAL_MODEL_API_KEY"])
    except RuntimeError as error:
        sys.exit(str(error))
    print(f"listening on {running.listening_address}", flush=True)
    signal.sigwait(signals)
    sys.stdout.flush()
    # llama.cpp waits at its orderly end for answers that still run; nothing of them is stored here.
    os._exit(0)


main()
