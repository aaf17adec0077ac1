"""Write ``docs/openapi.json`` from the gateway's routes.

``python scripts/gen_openapi.py`` writes it; with ``--check`` it only reports whether the file is what the code says.
"""

import sys
from pathlib import Path

import msgspec

from gateway.app import build_routes

FILE = Path(__file__).parents[1] / "docs" / "openapi.json"


def encoded() -> bytes:
    """Return the file's content."""
    return msgspec.json.format(msgspec.json.encode(build_routes().openapi()), indent=2) + b"\n"


def main(arguments: list[str]) -> int:
    if arguments == ["--check"]:
        if FILE.exists() and FILE.read_bytes() == encoded():
            return 0
        print(f"{FILE.name} is not what the code says: run python scripts/gen_openapi.py", file=sys.stderr)
        return 1
    FILE.write_bytes(encoded())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
