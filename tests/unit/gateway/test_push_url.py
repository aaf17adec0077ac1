"""The address of push for browsers."""

import pytest

from gateway.http.push_url import public_push_url, socket_origin
from gateway.settings import Settings


def settings(**more: str | None) -> Settings:
    return Settings.model_validate({"nats_url": "nats://n", "secret_key": "k" * 32, **more})


@pytest.mark.parametrize("public", ["/ws", "/chat/ws"])
def test_the_address_of_push_includes_the_base_path(public: str) -> None:
    assert public_push_url(settings(base_path="/chat/", public_push_url=public), "chat.test") == "/chat/ws"
    elsewhere = settings(base_path="/chat", public_push_url="wss://push.test/ws")
    assert public_push_url(elsewhere, "chat.test") == "wss://push.test/ws"


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1:8000", "ws://127.0.0.1:8001/ws"),
        ("localhost:8000", "ws://localhost:8001/ws"),
        ("chat.example.com", "ws://chat.example.com:8001/ws"),
        ("[::1]:8000", "ws://[::1]:8001/ws"),
        ("evil; script-src *", "ws://127.0.0.1:8001/ws"),
        ("a b", "ws://127.0.0.1:8001/ws"),
        ("", "ws://127.0.0.1:8001/ws"),
    ],
)
def test_without_a_setting_push_is_at_the_host_of_the_request(host: str, url: str) -> None:
    assert public_push_url(settings(), host) == url


@pytest.mark.parametrize("url", ["wss://push.example.com/ws", "ws://10.0.0.1:9/ws", "/ws"])
def test_a_configured_address_of_push_is_used_as_it_is(url: str) -> None:
    assert public_push_url(settings(public_push_url=url), "localhost:8000") == url


@pytest.mark.parametrize("url", ["http://x/ws", "ws://a b", "ws://x;y", "ws"])
def test_an_address_of_push_that_is_invalid_in_a_policy_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="must begin with"):
        settings(public_push_url=url)


def test_the_origin_of_a_socket_for_the_policy() -> None:
    assert socket_origin("wss://push.example.com/ws") == "wss://push.example.com"
    assert socket_origin("ws://127.0.0.1:8001/ws") == "ws://127.0.0.1:8001"
    assert socket_origin("/ws") is None
