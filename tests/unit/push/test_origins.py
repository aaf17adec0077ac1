import pytest

from push.transport.origins import Origins


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        (None, "chat.example", True),
        ("https://chat.example", "chat.example", True),
        ("https://chat.example:8443", "chat.example:8001", True),
        ("https://CHAT.example", "chat.example", True),
        ("https://evil.example", "chat.example", False),
        ("https://chat.example.evil.example", "chat.example", False),
        ("https://evil.example/chat.example", "chat.example", False),
        ("http://localhost:3000", "chat.example", True),
        ("http://app.localhost", "chat.example", True),
        ("http://127.0.0.1", "chat.example", True),
        ("http://127.8.8.8:1", "chat.example", True),
        ("http://[::1]:3000", "chat.example", True),
        ("http://128.0.0.1", "chat.example", False),
        ("http://localhost.evil.example", "chat.example", False),
        ("file://chat.example", "chat.example", False),
        ("null", "null", False),
        ("", "", False),
        ("https://", "", False),
        ("https://[", "chat.example", False),
        ("https://chat.example", None, False),
    ],
)
def test_without_a_list_the_same_host_and_this_machine_may(origin: str | None, host: str | None, allowed: bool) -> None:
    assert Origins("").allow(origin, host) is allowed


def test_a_list_adds_to_the_same_host_and_ends_what_is_allowed_to_any_page_of_this_machine() -> None:
    origins = Origins(" https://One.example/, http://two.example:8080 ,")
    assert origins.allow("https://one.example", "x")
    assert origins.allow("http://two.example:8080", "x")
    assert not origins.allow("http://two.example", "x")
    assert origins.allow("http://x", "x:8000")
    assert not origins.allow("http://y", "x")
    assert not origins.allow("http://localhost:3000", "x")
    assert origins.allow("http://localhost:8000", "127.0.0.1:8001")
    assert origins.allow(None, "x")


def test_a_star_allows_all() -> None:
    assert Origins("*").allow("https://anything.example", "x")
