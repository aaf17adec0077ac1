"""The body of ``POST /responses``: what a provider is sent, and what is refused."""

import json
from typing import Any

import msgspec
import pytest
from openai.types.responses import response_create_params as create_params

from gateway.errors import GatewayError
from gateway.http.requests import invalid
from gateway.protocols.openai.response_items import input_items, parse_input, references
from gateway.protocols.openai.responses_request import NewResponse
from gateway.protocols.options import Options
from parley.contracts.completion import CompletionRequest, ContextMessage, ImagePart, TextPart, ToolCall
from tests.unit.gateway.openai.responses import prompt

PIXEL = "data:image/png;base64,iVBORw0KGgo="
TOOL = {"type": "function", "name": "weather", "parameters": {"type": "object"}, "strict": True}


def parse(**body: Any) -> tuple[str, CompletionRequest]:
    try:
        request = msgspec.json.decode(json.dumps({"input": "Hi", **body}), type=NewResponse)
    except msgspec.ValidationError as error:
        raise invalid(str(error)) from None
    return request.prompt_and_completion(Options.of({}, request.metadata).metadata)


def parameters(**body: Any) -> dict[str, Any]:
    return parse(**body)[1].parameters


def test_a_text_is_the_prompt() -> None:
    assert parse(input="Hi") == ("Hi", CompletionRequest())


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        ({"temperature": 0, "top_p": 0.5}, {"temperature": 0.0, "top_p": 0.5}),
        ({"max_output_tokens": 7}, {"max_completion_tokens": 7}),
        ({"parallel_tool_calls": False}, {"parallel_tool_calls": False}),
        ({"reasoning": {"effort": "low", "summary": "auto"}}, {"reasoning_effort": "low"}),
        ({"text": {"format": {"type": "text"}, "verbosity": "low"}}, {"verbosity": "low"}),
        ({"text": {"format": {"type": "json_object"}}}, {"response_format": {"type": "json_object"}}),
        (
            {"text": {"format": {"type": "json_schema", "name": "a", "schema": {"type": "object"}, "strict": True}}},
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "a", "schema": {"type": "object"}, "strict": True},
                }
            },
        ),
        (
            {"tools": [TOOL], "tool_choice": "required"},
            {
                "tools": [
                    {
                        "type": "function",
                        "function": {"name": "weather", "parameters": {"type": "object"}, "strict": True},
                    }
                ],
                "tool_choice": "required",
            },
        ),
        (
            {"tool_choice": {"type": "function", "name": "weather"}},
            {"tool_choice": {"type": "function", "function": {"name": "weather"}}},
        ),
        (
            {
                "tool_choice": {
                    "type": "allowed_tools",
                    "mode": "auto",
                    "tools": [{"type": "function", "name": "weather"}],
                }
            },
            {
                "tool_choice": {
                    "type": "allowed_tools",
                    "allowed_tools": {
                        "mode": "auto",
                        "tools": [{"type": "function", "function": {"name": "weather"}}],
                    },
                }
            },
        ),
        ({"service_tier": "auto", "truncation": "auto", "top_logprobs": 0, "stream": True, "store": True}, {}),
        ({"service_tier": "flex", "prompt_cache_key": "k"}, {"service_tier": "flex", "prompt_cache_key": "k"}),
        ({"prompt": None, "max_tool_calls": None, "temperature": None}, {}),
        ({"include": ["reasoning.encrypted_content"], "client_metadata": {"session_id": "1"}}, {}),
        ({"reasoning": {"effort": None, "summary": None, "generate_summary": None, "context": None, "mode": None}}, {}),
        (
            {"tools": [{**TOOL, "defer_loading": False, "allowed_callers": None, "output_schema": None}]},
            {"tools": [{"type": "function", "function": {key: TOOL[key] for key in ("name", "parameters", "strict")}}]},
        ),
        ({"truncation": "disabled"}, {}),
        ({"prompt_cache_options": {"ttl": "30m"}}, {"prompt_cache_options": {"ttl": "30m"}}),
    ],
)
def test_a_parameter_is_sent_as_chat_completions_spell_it(body: dict[str, Any], sent: dict[str, Any]) -> None:
    assert parameters(**body) == sent


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0].type"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]},
            "input[0].content[0].type",
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]},
            "input[0].content[0].file_id",
        ),
        ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user", "content": "x", "name": "Ann"}]}, "input[0].name"),
        ({"input": [{"role": "system", "content": [{"type": "input_image", "image_url": PIXEL}]}]}, "input"),
        ({"input": [{"type": "reasoning", "summary": []}]}, "input"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"type": "mcp", "server_label": "s", "server_url": "https://x"}]}, "tools[0].type"),
        ({"tool_choice": "sometimes"}, "tool_choice"),
        ({"tool_choice": {"type": "file_search"}}, "tool_choice.type"),
        ({"include": ["message.output_text.logprobs"]}, "include[0]"),
        ({"tools": [{**TOOL, "defer_loading": True}]}, "tools[0].defer_loading"),
        ({"input": [{"role": "user", "content": "x", "namespace": "n"}]}, "input[0].namespace"),
        ({"truncation": "never"}, "truncation"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"max_tool_calls": 3}, "max_tool_calls"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"reasoning": {"summary": "detailed"}}, "reasoning.summary"),
        ({"reasoning": {"depth": 3}}, "reasoning.depth"),
        ({"stream_options": {"include_obfuscation": True}}, "stream_options.include_obfuscation"),
        ({"temperature": "hot"}, "temperature"),
        ({"stream": 1}, "stream"),
        ({"metadata": {"a": 1}}, "metadata.a"),
        ({"metadata": {"parley.frobnicate": "1"}}, "metadata.parley.frobnicate"),
        ({"previous_response_id": "resp_1", "conversation": "conv_1"}, "conversation"),
        ({"store": False, "background": True}, "store"),
        ({"store": False, "previous_response_id": "resp_1"}, "store"),
        ({"frobnicate": True}, "frobnicate"),
    ],
)
def test_what_is_not_supported_is_refused_by_its_name(body: dict[str, Any], field: str) -> None:
    with pytest.raises(GatewayError) as refused:
        parse(**body)
    assert refused.value.field == field


def test_every_parameter_may_be_null() -> None:
    names = {*create_params.ResponseCreateParamsBase.__annotations__, "stream"} - {"input"}
    assert {"store", "moderation", "truncation"} < names
    assert parse(**dict.fromkeys(names)) == ("Hi", CompletionRequest())


def test_instructions_and_metadata_go_with_the_turn_and_not_to_the_provider() -> None:
    _, completion = parse(instructions="Be short.", metadata={"a": "b"}, user="ann", conversation={"id": "conv_1"})
    assert completion == CompletionRequest(
        instructions="Be short.", metadata={"a": "b"}, echo={"user": "ann", "conversation": "conv_1"}
    )


def test_the_last_message_of_the_user_is_the_prompt_and_the_others_are_its_context() -> None:
    content, completion = parse(
        input=[
            {"type": "message", "role": "developer", "content": "Be a pirate."},
            {"role": "user", "content": "My name is Ann."},
            {"role": "assistant", "phase": "final_answer", "content": [{"type": "output_text", "text": "Ahoy."}]},
            {"role": "user", "content": [{"type": "input_text", "text": "Who am I?"}]},
        ]
    )
    assert content == "Who am I?"
    assert completion.parts == []
    assert completion.context == [
        ContextMessage(role="system", content="Be a pirate."),
        ContextMessage(role="user", content="My name is Ann."),
        ContextMessage(role="assistant", content="Ahoy."),
    ]


def test_images_and_several_texts_stay_parts() -> None:
    content, parts, context = parse_input(
        [
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "What is this?"},
                    {"type": "input_image", "image_url": PIXEL, "detail": "original"},
                ],
            }
        ]
    )
    assert (content, context) == ("What is this?", [])
    assert parts == [TextPart(text="What is this?"), ImagePart(url=PIXEL, detail="original")]


def test_results_of_tools_are_answered_without_a_prompt() -> None:
    content, _, context = parse_input(
        [
            {"role": "user", "content": "Weather in Rome and Oslo?"},
            {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Look it up."}]},
            {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": "One moment."},
            {"type": "function_call", "id": "fc_1", "call_id": "a", "name": "weather", "arguments": '{"at":"Rome"}'},
            {"type": "function_call", "id": "fc_2", "call_id": "b", "name": "weather", "arguments": '{"at":"Oslo"}'},
            {"type": "function_call_output", "call_id": "a", "output": "Sun"},
            {"type": "function_call_output", "call_id": "b", "output": [{"type": "input_text", "text": "Snow"}]},
        ]
    )
    calls = [
        ToolCall(id="a", name="weather", arguments='{"at":"Rome"}'),
        ToolCall(id="b", name="weather", arguments='{"at":"Oslo"}'),
    ]
    assert content == ""
    assert context == [
        ContextMessage(role="user", content="Weather in Rome and Oslo?"),
        ContextMessage(role="assistant", content="One moment.", tool_calls=calls),
        ContextMessage(role="tool", content="Sun", tool_call_id="a"),
        ContextMessage(role="tool", content="Snow", tool_call_id="b"),
    ]


def test_what_the_sdks_add_to_earlier_output_is_not_sent() -> None:
    """Their helpers parse texts and arguments; ``model_dump()`` writes every member, most of them null."""
    text: dict[str, Any] = {
        "type": "output_text",
        "text": "{}",
        "annotations": [],
        "logprobs": None,
        "parsed": {"a": 1},
    }
    call: dict[str, Any] = {
        "call_id": "a",
        "name": "f",
        "arguments": "{}",
        "parsed_arguments": {},
        "namespace": None,
        "async_": None,
    }
    content, _, context = parse_input(
        [
            {"role": "user", "content": "Hi", "type": None},
            {"type": "message", "id": "msg_1", "role": "assistant", "content": [text], "phase": None, "status": None},
            {"type": "function_call", "id": None, "status": None, "caller": None, **call},
            {"type": "function_call_output", "call_id": "a", "output": "1", "name": None, "namespace": None},
        ]
    )
    assert content == ""
    assert context == [
        ContextMessage(role="user", content="Hi"),
        ContextMessage(role="assistant", content="{}", tool_calls=[ToolCall(id="a", name="f", arguments="{}")]),
        ContextMessage(role="tool", content="1", tool_call_id="a"),
    ]


def test_a_message_without_content_is_empty() -> None:
    assert parse_input([{"role": "user", "content": []}]) == ("", [], [])


def test_references_are_found_with_and_without_their_type() -> None:
    items = [{"id": "a"}, {"role": "user", "content": "Hi", "id": "b"}, {"type": "item_reference", "id": "c"}]
    assert list(references(items)) == [(0, "a"), (2, "c")]


def test_a_call_that_parley_made_is_sent_back_with_its_result() -> None:
    item = {"type": "mcp_call", "id": "mcp_1", "name": "time", "server_label": "clock", "arguments": "{}"}
    _, _, context = parse_input([{**item, "output": "Noon"}, {**item, "error": {"content": "no"}, "output": None}])
    assert [(message.role, message.content) for message in context] == [
        ("assistant", ""),
        ("tool", "Noon"),
        ("assistant", ""),
        ("tool", '{"content":"no"}'),
    ]


@pytest.mark.parametrize(
    "items",
    [
        [{"role": "user", "content": "Hi"}],
        [{"role": "system", "content": "Be short."}, {"role": "assistant", "content": "Yes?"}],
        [
            {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "a", "output": "1"},
        ],
        [{"role": "user", "content": [{"type": "input_image", "image_url": PIXEL, "detail": "auto"}]}],
    ],
)
def test_input_comes_back_as_items(items: list[dict[str, Any]]) -> None:
    content, parts, context = parse_input(items)
    returned = input_items(prompt(content=content), CompletionRequest(parts=parts, context=context))
    assert len({item["id"] for item in returned}) == len(items)
    again = parse_input(returned)
    assert (again[0], again[2]) == (content, context)
    assert again[1] == parts
