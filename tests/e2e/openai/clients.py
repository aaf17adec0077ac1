"""LangChain and LiteLLM as clients: ``python clients.py CLIENT BASE_URL KEY`` in their environment; prints JSON."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

QUESTION = "Tell me about otters"
PARAMETERS = {"type": "object", "properties": {"at": {"type": "string"}}}
TOOL = {"type": "function", "function": {"name": "look", "description": "Look at it.", "parameters": PARAMETERS}}


def langchain(base_url: str, key: str) -> dict[str, Any]:
    from langchain_core.messages import HumanMessage, SystemMessage, ToolMessage
    from langchain_openai import ChatOpenAI

    def model(name: str) -> Any:
        return ChatOpenAI(base_url=base_url, api_key=key, model=name, max_retries=0, timeout=60, temperature=0)

    messages: list[Any] = [SystemMessage("Be brief."), HumanMessage(QUESTION)]
    whole = model("demo-fast").invoke(messages)
    chunks = list(model("demo-fast").stream(messages))
    called = model("demo-tools").bind_tools([TOOL]).invoke(messages)
    results = [ToolMessage("two otters", tool_call_id=call["id"]) for call in called.tool_calls]
    answered = model("demo-tools").bind_tools([TOOL]).invoke([*messages, called, *results])

    async def batch() -> list[Any]:
        return list(await model("demo-fast").abatch([messages] * 3))

    try:
        model("demo-context-length").invoke(messages)
        refused = ""
    except Exception as error:
        refused = type(error).__name__
    return {
        "whole": whole.content,
        "tokens": whole.usage_metadata["total_tokens"],
        "streamed": "".join(chunk.content for chunk in chunks),
        "calls": [call["name"] for call in called.tool_calls],
        "answered": answered.content,
        "batch": [one.content for one in asyncio.run(batch())],
        "refused": refused,
    }


def litellm(base_url: str, key: str) -> dict[str, Any]:
    import litellm as client

    messages: list[Any] = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": QUESTION}]

    def ask(name: str, **more: Any) -> Any:
        given = {"messages": messages, "api_base": base_url, "api_key": key, "num_retries": 0} | more
        return client.completion(model=f"openai/{name}", **given)

    whole = ask("demo-fast", temperature=0)
    chunks = list(ask("demo-fast", stream=True))
    called = ask("demo-tools", tools=[TOOL]).choices[0].message
    results = [{"role": "tool", "tool_call_id": call.id, "content": "two otters"} for call in called.tool_calls]
    said = {"role": "assistant", "content": None, "tool_calls": [call.model_dump() for call in called.tool_calls]}
    answered = ask("demo-tools", tools=[TOOL], messages=[*messages, said, *results])

    async def batch() -> list[Any]:
        asked = {"messages": messages, "api_base": base_url, "api_key": key}
        return list(await asyncio.gather(*(client.acompletion(model="openai/demo-fast", **asked) for _ in range(3))))

    try:
        ask("demo-context-length")
        refused = ""
    except client.BadRequestError as error:
        refused = type(error).__name__
    return {
        "whole": whole.choices[0].message.content,
        "tokens": whole.usage.total_tokens,
        "streamed": "".join(chunk.choices[0].delta.content or "" for chunk in chunks),
        "calls": [call.function.name for call in called.tool_calls],
        "answered": answered.choices[0].message.content,
        "batch": [one.choices[0].message.content for one in asyncio.run(batch())],
        "refused": refused,
    }


if __name__ == "__main__":
    clients = {"langchain": langchain, "litellm": litellm}
    print(json.dumps(clients[sys.argv[1]](*sys.argv[2:])))
