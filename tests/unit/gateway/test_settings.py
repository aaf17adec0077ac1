"""Settings are read from the environment, and an invalid one ends the process at once."""

import os

import pytest

from gateway.__main__ import main
from parley.runtime.tokens import EARLIER_COOKIE, cookie_name
from tests.unit.gateway.apps import settings

GOOD = {"NATS_URL": "nats://127.0.0.1:1", "SECRET_KEY": "k" * 32}
JWT: dict[str, str | None] = {"AUTH_MODES": "jwt", "JWT_ISSUER": "https://id.example.com", "JWT_AUDIENCE": "parley"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"SECRET_KEY": None}, "SECRET_KEY: Field required"),
        ({"SECRET_KEY": "short"}, "SECRET_KEY: String should have at least 32 characters"),
        ({"NATS_URL": None}, "NATS_URL: Field required"),
        ({"PORT": "http"}, "PORT: Input should be a valid integer"),
        ({"ALLOWED_ORIGINS": "*"}, "ALLOWED_ORIGINS: '*' is not an origin"),
        ({"TRUSTED_PROXIES": "*"}, "TRUSTED_PROXIES: '*' does not appear to be an IPv4 or IPv6 network"),
        ({"TRUSTED_PROXIES": "10.0.0.0/8, ::/0"}, "TRUSTED_PROXIES: ::/0 is everybody"),
        ({"BASE_PATH": "chat"}, "BASE_PATH: must be a path such as /chat"),
        ({"BASE_PATH": "/a b"}, "BASE_PATH: must be a path such as /chat"),
        ({"SESSION_SECONDS": "1e13"}, "SESSION_SECONDS: Input should be less than or equal to 315360000"),
        ({"SESSION_SECONDS": "inf"}, "SESSION_SECONDS: Input should be a finite number"),
        ({"PUSH_URL": "http://push"}, "PUSH_URL: must begin with ws://"),
        ({"GUESTS": "false"}, "GUESTS is no longer a setting: set AUTH_MODES"),
        (
            {"AUTH_MODES": "guest", "OIDC_ISSUER": "https://id.example.com"},
            "OIDC_ISSUER is set, but AUTH_MODES has no `oidc`",
        ),
        (
            {"AUTH_MODES": "guest", "AUTH_PROXY_NETWORKS": "10.0.0.0/8"},
            "AUTH_PROXY_NETWORKS is set, but AUTH_MODES has no `proxy`",
        ),
        (JWT | {"JWT_KEY": "no key at all"}, "JWT_KEY is no public key (PEM) for RS256"),
        (JWT | {"JWT_KEY": "k" * 40, "JWT_ALGORITHMS": "ES256"}, "JWT_KEY is no public key (PEM) for ES256"),
        ({"MODELS": "[]"}, "MODELS: lists no model"),
    ],
)
def test_an_invalid_setting_ends_the_process_with_an_error(
    change: dict[str, str | None], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in os.environ:
        monkeypatch.delenv(name)
    for name, value in (GOOD | change).items():
        if value is not None:
            monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    output = capsys.readouterr().err
    assert said in output
    assert "short" not in output, "a secret is never shown"


OLD, NEW = "o" * 32, "n" * 32


def test_the_cookie_is_named_after_the_key() -> None:
    assert settings(secret_key=OLD).cookie_names == (cookie_name(OLD), EARLIER_COOKIE)


def test_the_cookie_keeps_its_name_while_secret_key_stays_beside_secret_keys() -> None:
    assert settings(secret_key=OLD, secret_keys=NEW).cookie_names[0] == cookie_name(OLD)


def test_a_cookie_with_the_name_of_any_key_is_read() -> None:
    several = settings(secret_key=None, secret_keys=f"{NEW},{OLD}")
    assert several.cookie_names == (cookie_name(NEW), cookie_name(OLD), EARLIER_COOKIE)


def test_the_cookie_can_be_named() -> None:
    assert settings(secret_key=OLD, cookie_name="mine").cookie_names == ("mine", cookie_name(OLD), EARLIER_COOKIE)
