"""Where a service's settings come from."""

from pathlib import Path

import pytest
from pydantic import ValidationError

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
