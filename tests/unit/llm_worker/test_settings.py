"""Settings that cannot work are refused at the start."""

from typing import Any

import pytest
from pydantic import ValidationError

from llm_worker.settings import WorkerSettings


def settings(**values: Any) -> WorkerSettings:
    return WorkerSettings(**values)


@pytest.mark.parametrize("url", ["ws://nats:8080", "wss://nats", "nats://a:4222, WS://b:80"])
def test_nats_over_a_websocket_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="a websocket carries no tokens"):
        settings(nats_url=url)


@pytest.mark.parametrize("url", ["nats://a:4222", "tls://a:4222,b:4222", "a:4222"])
def test_nats_over_tcp_is_taken(url: str) -> None:
    assert settings(nats_url=url).nats_url == url


def test_a_provider_without_a_scheme_is_refused() -> None:
    with pytest.raises(ValidationError, match="must begin with http"):
        settings(nats_url="nats://a", openai_base_url="localhost:11434/v1")


def test_models_that_mean_their_think_tag_are_named_by_patterns() -> None:
    named = settings(nats_url="nats://a", keep_think_tag="tutor, test-*")
    assert [named.keeps_think_tag(model) for model in ("tutor", "test-1", "tutor-2", "")] == [
        True,
        True,
        False,
        False,
    ]
    assert not settings(nats_url="nats://a").keeps_think_tag("")
