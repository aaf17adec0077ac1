"""Which tools the demo model calls, and with what arguments."""

from __future__ import annotations

import json
from itertools import takewhile
from typing import Any

from parley_cli.demo_model.request import ChatRequest


def choose(request: ChatRequest, count: int) -> list[dict[str, Any]]:
    """Return the functions to call: the one that ``tool_choice`` names, those that the prompt names, or the first."""
    if request.tool_choice == "none":
        return []
    functions = [tool["function"] for tool in request.tools or [] if isinstance(tool.get("function"), dict)]
    if isinstance(request.tool_choice, dict):
        name = request.tool_choice.get("function", {}).get("name")
        functions = [function for function in functions if function.get("name") == name]
    named = [function for function in functions if function.get("name", "") in request.prompt]
    # A name within a longer one that the prompt names is not named itself.
    longest = [
        function
        for function in named
        if not any(function is not other and function.get("name", "") in other.get("name", "") for other in named)
    ]
    functions = longest or functions[:1]
    return [functions[number % len(functions)] for number in range(count)] if functions else []


def arguments(function: dict[str, Any], prompt: str) -> str:
    """Return arguments: the object that the prompt contains, or one that the function's schema accepts."""
    try:
        found, _ = json.JSONDecoder().raw_decode(prompt, prompt.index("{"))
    except ValueError:
        found = example({"type": "object", **(function.get("parameters") or {})}, prompt)
    return json.dumps(found, ensure_ascii=False)


def example(schema: dict[str, Any], text: str) -> Any:
    """Return a value that a JSON schema accepts: of its optional properties none, and ``text`` for what may be text."""
    for name in ("const", "default"):
        if name in schema:
            return schema[name]
    if schema.get("enum"):
        return schema["enum"][0]
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if isinstance(kind, list):
        kind = kind[0]
    match kind:
        case "object":
            properties = schema.get("properties", {})
            return {name: example(properties.get(name, {}), text) for name in schema.get("required", [])}
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return True
        case "array":
            return [example(schema.get("items", {}), text)]
        case "null":
            return None
        case _:
            return text


def results(request: ChatRequest) -> list[str]:
    """Return the results at the end of the conversation."""
    newest_first = takewhile(lambda message: message.role == "tool", reversed(request.messages))
    return [message.text for message in newest_first][::-1]


def rounds(request: ChatRequest) -> int:
    """Return how often tools were called since the last prompt."""
    since = takewhile(lambda message: message.role != "user", reversed(request.messages))
    return sum(bool(message.tool_calls) for message in since)
