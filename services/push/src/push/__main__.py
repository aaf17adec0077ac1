"""Run push: ``python -m push``."""

import asyncio
import logging
import sys

from pydantic import ValidationError

from parley.runtime import lifecycle, logs, tracing
from push.app import run
from push.errors import Unable
from push.settings import Settings

log = logging.getLogger("push")


def main() -> int:
    """Run until SIGTERM or SIGINT; return the exit code."""
    try:
        settings = Settings()  # type: ignore[call-arg,unused-ignore]
    except ValidationError as error:
        for item in error.errors():
            name = "_".join(str(part) for part in item["loc"]).upper()
            print(f"push: {name}: {item['msg']}", file=sys.stderr)  # noqa: T201
        return 2
    logs.setup("push", settings.log_level, settings.log_format)
    tracing.setup("push")

    async def serve(stop: asyncio.Event) -> None:
        await run(settings, stop)

    try:
        return lifecycle.run(serve)
    except Unable as error:
        log.critical("%s", error)
        return 1
    finally:
        tracing.shutdown()


if __name__ == "__main__":
    sys.exit(main())
