"""``python -m gateway``: read the settings, run."""

import gc
import logging
import sys

# Importing makes hundreds of thousands of objects that all stay: collecting among them takes a tenth of the start.
gc.disable()

from pydantic import ValidationError  # noqa: E402

from gateway.server import CannotServe, serve  # noqa: E402
from gateway.settings import Settings  # noqa: E402
from parley.runtime import lifecycle, logs  # noqa: E402


def main() -> int:
    gc.freeze()
    gc.enable()
    try:
        settings = Settings()  # type: ignore[call-arg]  # from the environment
    except ValidationError as error:
        for item in error.errors():
            name = "_".join(str(part) for part in item["loc"]).upper()
            print(f"gateway: {name}: {item['msg']}", file=sys.stderr)  # noqa: T201
        return 2
    logs.setup("gateway", settings.log_level, settings.log_format)
    try:
        return lifecycle.run(lambda stop: serve(settings, stop))
    except CannotServe as error:
        logging.getLogger("gateway").critical("%s", error)
        return 1


if __name__ == "__main__":
    sys.exit(main())
