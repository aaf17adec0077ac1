"""Where a service's settings come from."""

from pathlib import Path

import pytest
from pydantic import Field, ValidationError

from parley.runtime.server_urls import check_server_url
from parley.runtime.settings import ServiceSettings, read


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SECRETS_DIR", *(field.upper() for field in ServiceSettings.model_fields)):
        monkeypatch.delenv(name, raising=False)


def test_a_secret_may_be_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "nats_url").write_text("nats://gateway:secret@nats:4222\n")
    monkeypatch.setenv("SECRETS_DIR", str(tmp_path))
    assert ServiceSettings().nats_url == "nats://gateway:secret@nats:4222"  # type: ignore[call-arg]


def test_the_environment_goes_before_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "nats_url").write_text("nats://file")
    monkeypatch.setenv("SECRETS_DIR", str(tmp_path))
    monkeypatch.setenv("NATS_URL", "nats://environment")
    assert ServiceSettings().nats_url == "nats://environment"  # type: ignore[call-arg]


def test_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NATS_URL", "nats://somewhere")
    monkeypatch.setenv("HEALTH_PORT", "")
    assert ServiceSettings().health_port is None  # type: ignore[call-arg]


def test_a_secret_has_no_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NATS_URL", "")
    with pytest.raises(ValidationError, match="nats_url"):
        ServiceSettings()  # type: ignore[call-arg]


@pytest.mark.parametrize(
    "url",
    [
        "http://nats:4222",
        "nats://",
        "nats://u:secret@nats:99999",
        "nats://nats:port",
        "nats://:4222",
        "nats://a,nats://b:0",
    ],
)
def test_an_address_that_cannot_be_one_of_nats_is_refused_without_its_password(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], url: str
) -> None:
    monkeypatch.setenv("NATS_URL", url)
    with pytest.raises(SystemExit):
        read(ServiceSettings, "gateway")
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("gateway: NATS_URL: ")
    assert said.endswith("It has the form nats://USER:PASSWORD@HOST:PORT")
    assert "secret" not in said


@pytest.mark.parametrize(
    "url", ["nats://nats", "nats:4222", "nats", "tls://u:p@a:4222, nats://b", "nats://[::1]:4222", "nats://[::1]"]
)
def test_an_address_of_nats_is_accepted(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("NATS_URL", url)
    assert read(ServiceSettings, "gateway").nats_url == url


@pytest.mark.parametrize(
    ("url", "is_one"),
    [
        ("postgresql://u:p@h:5432/d", True),
        ("postgres:///d?host=/run/postgresql", True),
        ("postgresql://u:p@one:5432,two/d?target_session_attrs=read-write", True),
        ("postgresql://[::1]:5432/d", True),
        ("mysql://u:p@h/d", False),
        ("garbage", False),
        ("postgresql://h:99999/d", False),
        ("postgresql://one:5432,two:x/d", False),
    ],
)
def test_an_address_of_postgresql_is_distinguished_from_others(url: str, is_one: bool) -> None:
    if is_one:
        assert check_server_url("DATABASE_URL", url) == url
    else:
        with pytest.raises(ValueError, match="It has the form postgresql://"):
            check_server_url("DATABASE_URL", url)


def test_secrets_that_cannot_be_read_are_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "nats_url").write_bytes(b"\xff\xfe")
    for folder, why in (
        (tmp_path / "none", "there is no such folder"),
        (tmp_path / "nats_url", "there is no such folder"),
        (tmp_path, "can't decode"),
    ):
        monkeypatch.setenv("SECRETS_DIR", str(folder))
        with pytest.raises(SystemExit):
            read(ServiceSettings, "gateway")
        (said,) = capsys.readouterr().err.splitlines()
        assert said.startswith(f"gateway: SECRETS_DIR: {folder} cannot be read: ")
        assert why in said


class _WithGroups(ServiceSettings):
    tokens_of_groups: dict[str, int] = Field(default_factory=dict)


def test_a_value_that_is_no_json_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("NATS_URL", "nats://nats")
    monkeypatch.setenv("TOKENS_OF_GROUPS", "staff=10")
    with pytest.raises(SystemExit):
        read(_WithGroups, "chat-store")
    assert capsys.readouterr().err.startswith("chat-store: TOKENS_OF_GROUPS: must be JSON: ")


def test_the_level_of_the_log_may_be_written_in_any_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NATS_URL", "nats://nats")
    monkeypatch.setenv("LOG_LEVEL", "debug")
    monkeypatch.setenv("LOG_FORMAT", "JSON")
    settings = read(ServiceSettings, "gateway")
    assert (settings.log_level, settings.log_format) == ("DEBUG", "json")


def test_what_is_missing_or_wrong_is_named_and_ends_the_service(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HEALTH_PORT", "ninety")
    with pytest.raises(SystemExit) as ended:
        read(ServiceSettings, "gateway")
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "gateway: NATS_URL: Field required" in said
    assert "gateway: HEALTH_PORT: " in said
