"""Requests whose sender has gone are recognised."""

from parley.runtime.nats.requests import TIMEOUT, TimedMsg, has_expired


def _request(seconds: str | None, age: float) -> TimedMsg:
    message = TimedMsg(_client=None, subject="rpc.store.get_chat", headers=seconds and {TIMEOUT: seconds})
    message.arrived_at -= age
    return message


def test_a_request_expires_when_it_has_waited_here_for_longer_than_its_sender_waits() -> None:
    assert has_expired(_request("2.000", 2.5))
    assert not has_expired(_request("2.000", 1.0))


def test_one_that_names_no_time_or_none_that_is_one_never_expires() -> None:
    assert not has_expired(_request(None, 1000.0))
    assert not has_expired(_request("soon", 1000.0))
