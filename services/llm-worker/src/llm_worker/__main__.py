"""``python -m llm_worker``: read the settings, run."""

import logging
import sys

from llm_worker import app
from llm_worker.errors import ConnectionClosed
from llm_worker.settings import WorkerSettings
from parley.runtime import lifecycle, logs, tracing
from parley.runtime.health import CannotListen
from parley.runtime.nats.errors import NotProvisioned
from parley.runtime.settings import read


def main() -> int:
    """Run until a signal; return the exit code (2: a setting is wrong, 3: a stream is, 1: all else)."""
    settings = read(WorkerSettings, "llm-worker")
    logs.setup("llm-worker", settings.log_level, settings.log_format)
    tracing.setup("llm-worker")
    try:
        return lifecycle.run(lambda stop: app.run(settings, stop))
    except (NotProvisioned, ConnectionClosed, CannotListen) as error:
        logging.getLogger("llm_worker").critical("%s", error)
        return 3 if isinstance(error, NotProvisioned) else 1
    finally:
        tracing.shutdown()


if __name__ == "__main__":
    sys.exit(main())
