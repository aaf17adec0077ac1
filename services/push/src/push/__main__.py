"""Run push: ``python -m push``."""

import logging
import sys

from parley.runtime import lifecycle, logs, tracing
from parley.runtime.nats.imports import import_nats
from parley.runtime.settings import read
from push.errors import StartupError
from push.settings import Settings

log = logging.getLogger("push")


def main() -> int:
    """Run until SIGTERM or SIGINT; return the exit code."""
    settings = read(Settings, "push")
    logs.setup("push", settings.log_level, settings.log_format)
    tracing.setup("push")
    import_nats(settings.nats_url)
    from push.app import run

    try:
        return lifecycle.run(lambda stop: run(settings, stop))
    except StartupError as error:
        log.critical("%s", error)
        return 1
    finally:
        tracing.shutdown()


if __name__ == "__main__":
    sys.exit(main())
