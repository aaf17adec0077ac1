"""Whatever a provider calls the end of an answer, it has one name."""

import pytest

from llm_worker.provider import finish


@pytest.mark.parametrize(
    ("reason", "name"),
    [
        ("stop", finish.STOP),
        ("STOP", finish.STOP),
        ("end_turn", finish.STOP),
        ("eos_token", finish.STOP),
        ("length", finish.LENGTH),
        ("MAX_TOKENS", finish.LENGTH),
        ("model_length", finish.LENGTH),
        ("model_context_window_exceeded", finish.LENGTH),
        ("ERROR_LIMIT", finish.LENGTH),
        ("tool_calls", finish.TOOL_CALLS),
        ("tool_use", finish.TOOL_CALLS),
        ("function_call", finish.TOOL_CALLS),
        ("toolCalls", finish.TOOL_CALLS),
        ("content_filter", finish.CONTENT_FILTER),
        ("content-filter", finish.CONTENT_FILTER),
        ("contentFilter", finish.CONTENT_FILTER),
        ("sensitive", finish.CONTENT_FILTER),
        ("SAFETY", finish.CONTENT_FILTER),
        ("PROHIBITED_CONTENT", finish.CONTENT_FILTER),
        ("RECITATION", finish.CONTENT_FILTER),
        ("IMAGE_SAFETY", finish.CONTENT_FILTER),
        ("ERROR_TOXIC", finish.CONTENT_FILTER),
        ("refusal", finish.CONTENT_FILTER),
        ("guardrail_intervened", finish.CONTENT_FILTER),
        ("network_error", finish.INTERRUPTED),
        ("insufficient_system_resource", finish.INTERRUPTED),
        ("error", finish.INTERRUPTED),
        ("abort", finish.INTERRUPTED),
        ("MALFORMED_FUNCTION_CALL", finish.INTERRUPTED),
        ("cancelled", finish.INTERRUPTED),
        ("timed out", finish.INTERRUPTED),
        ("unknown", "unknown"),
        ("OTHER", "OTHER"),
    ],
)
def test_a_reason_has_one_name(reason: str, name: str) -> None:
    assert finish.named(reason) == name
