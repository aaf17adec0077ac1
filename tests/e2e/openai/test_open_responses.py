"""The compliance cases of Open Responses: what each sends, and what it asks of the response.

Written anew from the public list of cases; objects are checked by ``openresponses-types``.
"""

from typing import Any, Final

import httpx
import pytest

from parley_client import ParleyClient
from tests.e2e.openai.test_responses import PIXEL, WEATHER, token_of
from tests.support.stack import RunningStack
from tests.unit.gateway.openai.responses import as_dict, check_event, check_response
from tests.unit.gateway.openai.responses import turn as stored_turn

CASES: Final[dict[str, dict[str, Any]]] = {
    "basic-response": {"input": [{"type": "message", "role": "user", "content": "Say hello in exactly 3 words."}]},
    "assistant-phase": {
        "input": [
            {"type": "message", "role": "assistant", "phase": "commentary", "content": "I look up the number."},
            {"type": "message", "role": "assistant", "phase": "final_answer", "content": "The number is four."},
            {"type": "message", "role": "user", "content": "Repeat only the number."},
        ]
    },
    "system-prompt": {
        "input": [
            {"type": "message", "role": "system", "content": "You are a pirate."},
            {"type": "message", "role": "user", "content": "Say hello."},
        ]
    },
    "image-input": {
        "input": [
            {
                "type": "message",
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "What do you see in this image?"},
                    {"type": "input_image", "image_url": PIXEL},
                ],
            }
        ]
    },
    "multi-turn": {
        "input": [
            {"type": "message", "role": "user", "content": "My name is Alice."},
            {"type": "message", "role": "assistant", "content": "Hello Alice!"},
            {"type": "message", "role": "user", "content": "What is my name?"},
        ]
    },
}

UNSUPPORTED: Final = {
    **dict.fromkeys(
        (
            "websocket-response",
            "websocket-sequential-responses",
            "websocket-continuation",
            "websocket-reconnect-store-false-recovery",
            "websocket-previous-response-not-found",
            "websocket-failed-continuation-evicts-cache",
            "websocket-compact-new-chain",
        ),
        "Responses over a websocket, which the description leaves to each server: a stream is resumed over HTTP here.",
    ),
    **dict.fromkeys(
        ("compact-response", "compact-missing-model"),
        "POST /responses/compact makes items that only its maker can read; here, what is too long is cut.",
    ),
}
"""The cases that do not pass, each with the reason (docs/open-protocols.md)."""


@pytest.fixture
async def http(stack: RunningStack, client: ParleyClient) -> Any:
    headers = {"Authorization": f"Bearer {await token_of(client)}"}
    async with httpx.AsyncClient(base_url=f"{stack.url}/openai/v1", headers=headers, timeout=30) as http:
        yield http


async def stream(http: httpx.AsyncClient, body: dict[str, Any]) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    async with http.stream("POST", "/responses", json={**body, "stream": True}) as response:
        assert response.status_code == 200
        async for line in response.aiter_lines():
            if line.startswith("data: "):
                events.append(httpx.Response(200, content=line[6:]).json())
                check_event(events[-1])
    return events


@pytest.mark.parametrize("case", CASES)
async def test_a_case_with_one_request(http: httpx.AsyncClient, case: str) -> None:
    answered = await http.post("/responses", json={"model": "demo-fast", **CASES[case]})
    assert answered.status_code == 200, answered.text
    response = answered.json()
    check_response(response)
    assert response["status"] == "completed"
    assert response["output"]


async def test_streaming_response(http: httpx.AsyncClient) -> None:
    body = {"model": "demo-fast", "input": [{"type": "message", "role": "user", "content": "Count from 1 to 5."}]}
    events = await stream(http, body)
    check_response(events[-1]["response"])
    assert events[-1]["response"]["status"] == "completed"


async def test_tool_calling(http: httpx.AsyncClient) -> None:
    body = {"model": "demo-tools", "input": "What's the weather like in San Francisco?", "tools": [WEATHER]}
    response = (await http.post("/responses", json=body)).json()
    check_response(response)
    assert "function_call" in {item["type"] for item in response["output"]}
    events = await stream(http, body)
    kinds = [event["type"] for event in events]
    for kind in ("delta", "done"):
        assert f"response.function_call_arguments.{kind}" in kinds
    for kind in ("added", "done"):
        of_calls = [event for event in events if event["type"] == f"response.output_item.{kind}"]
        assert "function_call" in {event["item"]["type"] for event in of_calls}


def test_response_output_phase_schema() -> None:
    """The case checks its own description; ours has no phases, and stays valid with them."""
    response = as_dict(stored_turn())
    for phase in ("commentary", "final_answer"):
        text = {"type": "output_text", "text": "Four.", "annotations": []}
        item = {"type": "message", "id": phase, "status": "completed", "role": "assistant", "phase": phase}
        response["output"].append({**item, "content": [text]})
    check_response(response)


def test_the_cases_are_seventeen() -> None:
    passed = {*CASES, "streaming-response", "tool-calling", "response-output-phase-schema"}
    assert len(passed | UNSUPPORTED.keys()) == 17
