"""Settings that cannot work are refused at the start."""

from typing import Any

import pytest
from pydantic import ValidationError

from llm_worker.settings import WorkerSettings


def settings(**values: Any) -> WorkerSettings:
    return WorkerSettings(**values)


@pytest.mark.parametrize("url", ["ws://nats:8080", "wss://nats", "nats://a:4222, WS://b:80"])
def test_nats_over_a_websocket_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="not over a websocket"):
        settings(nats_url=url)


@pytest.mark.parametrize("url", ["nats://a:4222", "tls://a:4222,b:4222", "a:4222"])
def test_nats_over_tcp_is_accepted(url: str) -> None:
    assert settings(nats_url=url).nats_url == url


def test_a_provider_without_a_scheme_is_refused() -> None:
    with pytest.raises(ValidationError, match="must begin with http"):
        settings(nats_url="nats://a", openai_base_url="localhost:11434/v1")


def test_a_tool_server_whose_program_is_not_there_is_refused() -> None:
    with pytest.raises(ValidationError, match="clock: there is no program no-such-program here"):
        settings(nats_url="nats://a", mcp_servers='[{"name": "clock", "command": ["no-such-program", "--utc"]}]')


def test_models_that_mean_their_think_tag_are_named_by_patterns() -> None:
    named = settings(nats_url="nats://a", keep_think_tag="tutor, test-*")
    assert [named.keeps_think_tag(model) for model in ("tutor", "test-1", "tutor-2", "")] == [
        True,
        True,
        False,
        False,
    ]
    assert not settings(nats_url="nats://a").keeps_think_tag("")


@pytest.mark.parametrize("url", ["http://", "https://:443/v1", "http://provider:99999/v1", "http://provider:port/v1"])
def test_an_address_of_a_provider_that_cannot_be_one_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="openai_base_url"):
        settings(nats_url="nats://nats", openai_base_url=url)


def test_white_space_around_a_key_is_not_part_of_it() -> None:
    key = settings(nats_url="nats://nats", openai_api_key=" sk-key\n").openai_api_key
    assert key is not None
    assert key.get_secret_value() == "sk-key"


@pytest.mark.parametrize("key", ["sk-\nkey", "schlüssel", "sk-\x00"])
def test_a_key_that_a_header_cannot_carry_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(ValidationError, match="a header cannot carry") as refused:
        settings(nats_url="nats://nats", openai_api_key=key)
    assert key not in str(refused.value.errors()[0]["msg"])
