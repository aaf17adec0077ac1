"""What a connection says of itself, and how often."""

import asyncio
import ssl
from uuid import uuid4

import nats.errors
import pytest

from parley.runtime.nats.connection_log import REPEAT_AFTER, ConnectionLog

REFUSED = nats.errors.Error("nats: 'Authorization Violation'")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lines(clock: Clock) -> ConnectionLog:
    return ConnectionLog(["nats://gateway:secret@one:4222", "nats://gateway:secret@two:4222"], clock=clock)


async def turn_of_the_loop() -> None:
    await asyncio.sleep(0)


async def test_a_refused_password_is_said_without_the_password(
    lines: ConnectionLog, caplog: pytest.LogCaptureFixture
) -> None:
    lines.failed(REFUSED)
    await turn_of_the_loop()
    (said,) = caplog.messages
    assert "one:4222, two:4222" in said
    assert "(gateway)" in said
    assert "Set NATS_URL" in said
    assert "secret" not in said


async def test_a_connection_that_is_broken_off_may_be_a_refused_password(
    lines: ConnectionLog, caplog: pytest.LogCaptureFixture
) -> None:
    lines.failed(ConnectionResetError(104, "Connection reset by peer"))
    await turn_of_the_loop()
    (said,) = caplog.messages
    assert "one:4222, two:4222 closes the connection" in said
    assert "user or password (gateway)" in said


async def test_a_server_without_a_scheme_is_named(caplog: pytest.LogCaptureFixture) -> None:
    ConnectionLog(["one:4222"]).failed(ConnectionRefusedError("Connect call failed"))
    await turn_of_the_loop()
    assert "does not answer at one:4222:" in caplog.text


async def test_the_same_failure_is_logged_again_only_after_a_while(
    lines: ConnectionLog, caplog: pytest.LogCaptureFixture, clock: Clock
) -> None:
    for _ in range(3):
        lines.failed(REFUSED)
    lines.failed(ConnectionRefusedError("Connect call failed"))
    await turn_of_the_loop()
    assert len(caplog.records) == 2
    clock.now += REPEAT_AFTER - 1
    lines.failed(REFUSED)
    await turn_of_the_loop()
    assert len(caplog.records) == 2
    clock.now += 1
    lines.failed(REFUSED)
    await turn_of_the_loop()
    assert len(caplog.records) == 3


async def test_the_number_of_remembered_failures_is_bounded(
    lines: ConnectionLog, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(1000):
        lines.failed(nats.errors.Error(f"failure {number}"))
    await turn_of_the_loop()
    assert len(caplog.records) == 1000
    assert len(lines._logged) <= 100


async def test_what_comes_with_an_orderly_close_is_not_said(
    lines: ConnectionLog, caplog: pytest.LogCaptureFixture
) -> None:
    lines.failed(ConnectionResetError("reset"))
    lines.lost()
    lines.closed()
    await turn_of_the_loop()
    assert caplog.records == []


async def test_a_right_that_is_lacking_is_said_once_whatever_the_chat(
    lines: ConnectionLog, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(200):
        clock.now += 1
        violation = f'nats: permissions violation for publish to "chat.{uuid4()}.prompt.submitted"'
        lines.failed(nats.errors.Error(violation))
    await turn_of_the_loop()
    (said,) = caplog.messages
    assert "does not allow the user gateway to publish to chat.*.prompt.submitted" in said
    assert "deploy/nats/README.md" in said


async def test_a_certificate_that_is_refused_names_the_setting(
    lines: ConnectionLog, caplog: pytest.LogCaptureFixture
) -> None:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = "self-signed certificate in certificate chain"
    lines.failed(error)
    await turn_of_the_loop()
    (said,) = caplog.messages
    assert "self-signed certificate" in said
    assert "SSL_CERT_FILE" in said
