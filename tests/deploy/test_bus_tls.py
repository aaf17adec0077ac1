"""NATS over TLS needs a setting and nothing else."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.support.nats import DeployedNats

pytestmark = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="openssl is not installed, so TLS was not tried"
)

CONNECT = """
import asyncio, sys
from parley.runtime.nats.connect import connect

async def main():
    nc = await asyncio.wait_for(connect(sys.argv[1], name="test"), 5)
    await nc.flush()
    print("connected")
    await nc.close()

asyncio.run(main())
"""


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """An authority of its own that is also the server's certificate, for 127.0.0.1."""
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=nats"]
    files = ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "cert.pem")]
    subprocess.run([*command, *files, "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
    return tmp_path / "cert.pem"


def _connect(url: str, authorities: Path | None) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"]} | ({"SSL_CERT_FILE": str(authorities)} if authorities else {})
    command = [sys.executable, "-c", CONNECT, url]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


def test_the_servers_certificate_is_checked_against_the_authority_that_is_named(
    tmp_path: Path, certificate: Path
) -> None:
    tls = f'tls {{ cert_file: "{certificate}", key_file: "{certificate.with_name("key.pem")}" }}'
    server = DeployedNats(tmp_path / "nats", extra=tls)
    with server:
        url = server.url_of("gateway").replace("nats://", "tls://")
        assert "connected" in _connect(url, certificate).stdout
        assert "connected" not in _connect(url, None).stdout
