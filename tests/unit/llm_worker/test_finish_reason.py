"""Whatever a provider calls the end of an answer, it has one name."""

import pytest

from llm_worker.provider import finish_reason


@pytest.mark.parametrize(
    ("reason", "name"),
    [
        ("stop", finish_reason.STOP),
        ("STOP", finish_reason.STOP),
        ("end_turn", finish_reason.STOP),
        ("eos_token", finish_reason.STOP),
        ("length", finish_reason.LENGTH),
        ("MAX_TOKENS", finish_reason.LENGTH),
        ("model_length", finish_reason.LENGTH),
        ("model_context_window_exceeded", finish_reason.LENGTH),
        ("ERROR_LIMIT", finish_reason.LENGTH),
        ("tool_calls", finish_reason.TOOL_CALLS),
        ("tool_use", finish_reason.TOOL_CALLS),
        ("function_call", finish_reason.TOOL_CALLS),
        ("toolCalls", finish_reason.TOOL_CALLS),
        ("content_filter", finish_reason.CONTENT_FILTER),
        ("content-filter", finish_reason.CONTENT_FILTER),
        ("contentFilter", finish_reason.CONTENT_FILTER),
        ("sensitive", finish_reason.CONTENT_FILTER),
        ("SAFETY", finish_reason.CONTENT_FILTER),
        ("PROHIBITED_CONTENT", finish_reason.CONTENT_FILTER),
        ("RECITATION", finish_reason.CONTENT_FILTER),
        ("IMAGE_SAFETY", finish_reason.CONTENT_FILTER),
        ("ERROR_TOXIC", finish_reason.CONTENT_FILTER),
        ("refusal", finish_reason.CONTENT_FILTER),
        ("guardrail_intervened", finish_reason.CONTENT_FILTER),
        ("network_error", finish_reason.INTERRUPTED),
        ("insufficient_system_resource", finish_reason.INTERRUPTED),
        ("error", finish_reason.INTERRUPTED),
        ("abort", finish_reason.INTERRUPTED),
        ("MALFORMED_FUNCTION_CALL", finish_reason.INTERRUPTED),
        ("cancelled", finish_reason.INTERRUPTED),
        ("timed out", finish_reason.INTERRUPTED),
        ("unknown", "unknown"),
        ("OTHER", "OTHER"),
    ],
)
def test_a_reason_has_one_name(reason: str, name: str) -> None:
    assert finish_reason.normalized(reason) == name
