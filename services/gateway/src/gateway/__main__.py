"""``python -m gateway``: read the settings, run."""

import logging
import sys

from gateway.errors import StartupError
from gateway.settings import Settings
from parley.runtime import lifecycle, logs, tracing
from parley.runtime.nats.imports import import_nats
from parley.runtime.settings import read


def main() -> int:
    """Run until a signal; return the exit code (2: a wrong setting, 3: a missing stream, 1: anything else)."""
    settings = read(Settings, "gateway")
    logs.setup("gateway", settings.log_level, settings.log_format)
    tracing.setup("gateway")
    import_nats(settings.nats_url)
    from gateway.app import serve

    try:
        return lifecycle.run(lambda stop: serve(settings, stop))
    except StartupError as error:
        logging.getLogger("gateway").critical("%s", error)
        return error.exit_code
    finally:
        tracing.shutdown()


if __name__ == "__main__":
    sys.exit(main())
