"""What a service imports before it is ready."""

import subprocess
import sys

import pytest

_START = """
import runpy, sys
from parley.runtime import lifecycle

lifecycle.run = lambda main: 0
module, *sys.argv[1:] = sys.argv[1:]
try:
    runpy.run_module(module, run_name="__main__")
except SystemExit as end:
    assert end.code == 0, end.code
from nats.aio import transport

print(transport.aiohttp is not None, *sys.modules)
"""
_SETTINGS = {
    "NATS_URL": "nats://127.0.0.1:4222",
    "DATABASE_URL": "postgresql://parley@127.0.0.1/parley",
    "SECRET_KEY": "a-key-that-is-long-enough-for-the-settings",
}


def _start(command: str, **settings: str) -> list[str]:
    """Return whether a service can connect to NATS by websocket, and the modules that it imported."""
    done = subprocess.run(
        [sys.executable, "-c", _START, *command.split()],
        env=_SETTINGS | settings,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("command", ["gateway", "push", "chat_store", "chat_store migrate"])
def test_a_service_starts_without_the_websocket_client_of_nats(command: str) -> None:
    usable, *modules = _start(command)
    assert usable == "False"
    assert "nats.aio.client" in modules
    assert "aiohttp" not in modules


@pytest.mark.parametrize("url", ["ws://127.0.0.1:8080", "nats://127.0.0.1:4222, WSS://localhost"])
def test_a_service_that_reaches_nats_by_websocket_imports_the_client_for_it(url: str) -> None:
    usable, *modules = _start("push", NATS_URL=url)
    assert usable == "True"
    assert "aiohttp.client" in modules
