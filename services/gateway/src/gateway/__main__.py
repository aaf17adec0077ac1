"""``python -m gateway``: read the settings, run."""

import logging
import sys

from gateway.server import CannotServe, serve
from gateway.settings import Settings
from parley.runtime import lifecycle, logs, tracing
from parley.runtime.settings import read


def main() -> int:
    """Run until a signal; return the exit code (2: a setting is wrong, 3: a stream is, 1: all else)."""
    settings = read(Settings, "gateway")
    logs.setup("gateway", settings.log_level, settings.log_format)
    tracing.setup("gateway")
    try:
        return lifecycle.run(lambda stop: serve(settings, stop))
    except CannotServe as error:
        logging.getLogger("gateway").critical("%s", error)
        return error.exit_code
    finally:
        tracing.shutdown()


if __name__ == "__main__":
    sys.exit(main())
