"""Generate ``docs/openapi.json`` from the gateway's routes.

``python scripts/gen_openapi.py`` writes it; a test compares it with what it is generated from.
"""

from pathlib import Path

import msgspec

from gateway.app import build_routes

FILE = Path(__file__).parents[1] / "docs" / "openapi.json"


def encoded() -> bytes:
    """Return the file's content."""
    return msgspec.json.format(msgspec.json.encode(build_routes().openapi()), indent=2) + b"\n"


if __name__ == "__main__":
    FILE.write_bytes(encoded())
