"""What a service imports before it is ready."""

import subprocess
import sys

import pytest

_START = """
import runpy, sys
from parley.runtime import lifecycle

lifecycle.run = lambda main: 0
try:
    runpy.run_module(sys.argv.pop(1), run_name="__main__")
except SystemExit as end:
    assert end.code == 0, end.code
print(*sys.modules)
"""
_IMPORT = """
import sys
from parley.runtime.nats.imports import import_nats

import_nats(sys.argv[1])
from nats.aio import transport

print(transport.aiohttp is not None, "aiohttp" in sys.modules)
"""
_SETTINGS = {
    "NATS_URL": "nats://127.0.0.1:4222",
    "DATABASE_URL": "postgresql://parley@127.0.0.1/parley",
    "SECRET_KEY": "a-key-that-is-long-enough-for-the-settings",
}


def _run(code: str, argument: str) -> list[str]:
    """Run Python code with an argument; return the words that it printed."""
    done = subprocess.run(
        [sys.executable, "-c", code, argument], env=_SETTINGS, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("service", ["gateway", "push", "chat_store"])
def test_a_service_starts_without_the_websocket_client_of_nats(service: str) -> None:
    modules = _run(_START, service)
    assert "nats.aio.client" in modules
    assert "aiohttp" not in modules


@pytest.mark.parametrize(
    ("url", "usable"),
    [
        ("nats://127.0.0.1:4222", "False"),
        ("ws://127.0.0.1:8080", "True"),
        ("nats://127.0.0.1, WSS://localhost", "True"),
    ],
)
def test_the_websocket_client_of_nats_is_imported_for_servers_at_websocket_addresses(url: str, usable: str) -> None:
    assert _run(_IMPORT, url) == [usable, usable]
