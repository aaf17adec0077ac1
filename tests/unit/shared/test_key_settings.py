"""A key may be replaced while tokens of the one before are in use."""

import pytest

from parley.runtime.key_settings import KeySettings
from parley.runtime.settings import read

OLD, NEW = "o" * 32, "n" * 32


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NATS_URL", "nats://127.0.0.1:1")
    for name in ("SECRET_KEY", "SECRET_KEYS", "SECRETS_DIR"):
        monkeypatch.delenv(name, raising=False)


def settings(monkeypatch: pytest.MonkeyPatch, **environment: str) -> KeySettings:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return read(KeySettings, "gateway")


def test_one_key_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings(monkeypatch, SECRET_KEY=OLD).keys == (OLD,)


def test_of_several_keys_the_first_signs_and_all_verify(monkeypatch: pytest.MonkeyPatch) -> None:
    before = settings(monkeypatch, SECRET_KEY=OLD).key_ring
    during = settings(monkeypatch, SECRET_KEYS=f"{NEW}, {OLD}").key_ring
    assert during.verify("access", before.issue("access", "user-1", 60)[0]).user_id == "user-1"
    after = settings(monkeypatch, SECRET_KEYS=NEW).key_ring
    assert after.verify("access", during.issue("access", "user-1", 60)[0]).user_id == "user-1"


def test_secret_keys_are_used_instead_of_secret_key(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings(monkeypatch, SECRET_KEY=OLD, SECRET_KEYS=NEW).keys == (NEW,)


@pytest.mark.parametrize(
    ("environment", "problem"),
    [
        ({}, "gateway: SECRET_KEY: Field required\n"),
        ({"SECRET_KEY": "short"}, "gateway: SECRET_KEY: String should have at least 32 characters\n"),
        ({"SECRET_KEYS": "short"}, "gateway: SECRET_KEYS: key 1 should have at least 32 characters\n"),
        ({"SECRET_KEYS": f"{NEW},"}, "gateway: SECRET_KEYS: key 2 should have at least 32 characters\n"),
        ({"SECRET_KEYS": f"{NEW},short"}, "gateway: SECRET_KEYS: key 2 should have at least 32 characters\n"),
    ],
)
def test_a_missing_or_short_key_is_named_and_never_shown(
    environment: dict[str, str], problem: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        settings(monkeypatch, **environment)
    assert capsys.readouterr().err == problem


def test_keys_are_not_part_of_what_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = repr(settings(monkeypatch, SECRET_KEY=OLD, SECRET_KEYS=NEW))
    assert OLD not in printed
    assert NEW not in printed
