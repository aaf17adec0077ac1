"""When a proxy stands between us and the provider."""

import pytest

from llm_worker.provider import needs_proxy


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def test_without_a_proxy_we_speak_to_the_provider() -> None:
    assert not needs_proxy("https://api.openai.com/v1")


def test_a_proxy_for_the_scheme_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    assert needs_proxy("https://api.openai.com/v1")
    assert not needs_proxy("http://localhost:11434/v1")


def test_a_proxy_for_everything_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://proxy:3128")
    assert needs_proxy("http://ollama:11434/v1")


def test_an_exception_from_the_proxy_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1")
    assert not needs_proxy("http://localhost:11434/v1")
    assert needs_proxy("http://ollama:11434/v1")
