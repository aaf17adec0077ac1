"""The tool rounds of one attempt: between two requests to the provider, the calls of tools that Parley runs.

A round is stored before its calls run and after each of them, so that a worker that takes over does not repeat a
completed call; a call that was running is repeated with the same idempotency key (``docs/decisions/0070``).
"""

import asyncio
import json
import logging
import re
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec

from llm_worker import metrics
from llm_worker.errors import LeaseLost, ToolServerError, WorkerError
from llm_worker.generation import context
from llm_worker.generation.answer import Answer
from llm_worker.generation.approvals import Approvals
from llm_worker.generation.content import Run, pieces_of
from llm_worker.generation.dependencies import Dependencies
from llm_worker.generation.lease import Lease
from llm_worker.provider import finish_reason
from llm_worker.provider.messages import Calling
from llm_worker.tools.toolbox import MAX_NAME, UNKNOWN, Tool, Toolbox, client_tools
from parley.contracts.completion import ToolCall, ToolRound
from parley.contracts.rpc import Claimed, ContextMessage, StoreToolRound
from parley.runtime import tracing
from parley.runtime.backoff import Backoff
from parley.runtime.nats.errors import BusUnavailable, RpcRefused
from parley.runtime.nats.requests import ask

log = logging.getLogger(__name__)

_STORE_TIMEOUT: Final = 3.0
_DECISION_INTERVAL: Final = 3.0
"""Seconds between two requests for a decision whose signal was lost."""

_TRANSIENT_CODES: Final = frozenset({"unavailable", "too_many"})
_MAX_CALLS: Final = 32
"""Calls of one round that are run."""

DENIED: Final = "The user did not allow this call."


class ToolRounds:
    """The rounds of one attempt.

    Args:
        publish: Publishes new runs of the answer's content.

    Attributes:
        context: The messages of the rounds so far, for the provider.
        is_over: The last round has calls that the client runs: the answer ends with them.
        number: The next round's.
    """

    def __init__(
        self,
        claim: Claimed,
        answer: Answer,
        lease: Lease,
        dependencies: Dependencies,
        approvals: Approvals,
        publish: Callable[[list[Run]], None],
    ) -> None:
        self._claim = claim
        self._answer = answer
        self._lease = lease
        self._dependencies = dependencies
        self._approvals = approvals
        self._publish = publish
        self._toolbox: Toolbox | None = None
        self._mark = 0
        self.context: list[ContextMessage] = []
        self.is_over = False
        self.number = 0

    def server_of(self, tool: str) -> str | None:
        """Return the name of the server of a tool that Parley runs; None for another one."""
        return self._toolbox.server_of(tool) if self._toolbox is not None else None

    async def begin(self, model: str) -> None:
        """Find the tools and replay the rounds that earlier attempts stored, at the first request of an attempt.

        Raises:
            LeaseLost
        """
        if self._toolbox is None:
            self._approvals.decide_all(self._claim.decisions)
            servers = self._dependencies.tools
            self._toolbox = await servers.toolbox(model, taken=client_tools(self._claim.parameters))
            for stored in self._claim.rounds:
                self._mark = self._answer.content.mark()
                pieces = pieces_of(
                    stored.text,
                    stored.reasoning,
                    stored.calls,
                    stored.layout,
                    first_call=len(self._answer.content.tool_calls),
                )
                self._publish(self._answer.content.add(pieces))
                await self._run_round()
        self._mark = self._answer.content.mark()

    def drop_tools(self) -> bool:
        """Offer no tools to a model that does not accept them; False: Parley's were not offered, or one was called."""
        model = self._answer.model
        if model is None or self._toolbox is None or not self._toolbox.tools or self.number:
            return False
        self._dependencies.tools.refuse(model)
        self._toolbox = Toolbox({}, self._toolbox.client)
        return True

    def parameters(self) -> dict[str, Any]:
        """Return the parameters of the next request: the prompt's own, and Parley's tools."""
        parameters = dict(self._claim.parameters)
        definitions = self._toolbox.definitions if self._toolbox is not None else []
        if not definitions or parameters.get("tool_choice") == "none":
            return parameters if parameters.get("tools") else _without_tools(parameters)
        parameters["tools"] = [*(parameters.get("tools") or ()), *definitions]
        if self.number >= self._dependencies.settings.mcp_rounds:
            parameters["tool_choice"] = "none"
        elif self.number:
            # A call that is required would be required after each result, too.
            parameters.pop("tool_choice", None)
        return parameters

    async def run_calls(self) -> str | None:
        """Run the calls of a request that ended with calls.

        Returns:
            The finish reason of the answer; None: the model is asked again, with the results.

        Raises:
            LeaseLost
        """
        if all(call.server is None for call in self._calls()):
            return finish_reason.TOOL_CALLS
        await self._run_round()
        if self.is_over:
            return finish_reason.TOOL_CALLS
        if self._answer.content.full or self.number > self._dependencies.settings.mcp_rounds:
            return finish_reason.LENGTH
        return None

    def _calls(self) -> list[ToolCall]:
        return self._answer.content.since(self._mark).calls

    async def _run_round(self) -> None:
        """Run the calls without a result, and append the messages for the next request.

        The round is stored before each call and after the last one, so that no call runs before the results of those
        before it are stored.
        """
        pending = [call for call in self._calls() if call.server is not None and call.result is None]
        for position, call in enumerate(pending):
            await self._run_call(call, position)
        stored = self._answer.content.since(self._mark)
        if pending:
            await self._store()
        self.is_over = any(call.server is None for call in stored.calls)
        self.context += messages_of(stored)
        self.number += 1

    async def _run_call(self, call: ToolCall, position: int) -> None:
        assert self._toolbox is not None
        tool = self._toolbox.tools.get(call.name)
        refusal = self._refusal(call, tool, position)
        if tool is None or refusal is not None:
            self._change(call, status="failed", result=refusal)
            return
        if tool.server.needs_approval(tool.tool) and call.status != "running":
            self._change(call, status="awaiting_approval")
            if not await self._is_approved(call, tool.server.approval_timeout):
                self._change(call, status="denied", result=DENIED)
                return
        self._change(call, status="running")
        await self._store()
        began = time.monotonic()
        try:
            text, failed = await self._call(tool, call)
        except ToolServerError as error:
            text, failed = str(error), True
        seconds = time.monotonic() - began
        metrics.TOOL_CALLS.labels(tool.server.name, "failed" if failed else "complete").inc()
        metrics.TOOL_CALL.labels(tool.server.name).observe(seconds)
        self._change(call, status="failed" if failed else "complete", result=text, seconds=round(seconds, 3))

    async def _is_approved(self, call: ToolCall, timeout: float) -> bool:
        """Wait for the user's decision. The reply to a stored round contains decisions whose signal was lost."""
        deadline = time.monotonic() + timeout
        while True:
            await self._store()
            remaining = deadline - time.monotonic()
            approved = await self._approvals.wait(call.id, timeout=max(0.0, min(_DECISION_INTERVAL, remaining)))
            if approved is not None or remaining <= 0:
                return bool(approved)

    def _refusal(self, call: ToolCall, tool: Tool | None, position: int) -> str | None:
        """Return why a call is not run, as its result for the model."""
        if self.number >= self._dependencies.settings.mcp_rounds:
            return f"Not run: tools were called {self.number} times in a row. Answer with what is known."
        if self._answer.content.full:
            return "Not run: the answer has no place for its result."
        if position >= _MAX_CALLS:
            return f"Not run: more than {_MAX_CALLS} calls at once."
        if call.server == UNKNOWN:
            return f"There is no tool named {call.name}."
        if tool is None or tool.server.name != call.server:
            return f"The tool {call.name} is not available now."
        return None if _arguments(call) is not None else "Not run: the arguments are not a JSON object."

    async def _call(self, tool: Tool, call: ToolCall) -> tuple[str, bool]:
        key = f"{self._answer.generation_id}:{self.number}:{call.id}"
        # Named by OpenTelemetry's conventions for generative AI. Neither arguments nor results go into a trace.
        attributes = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": call.name,
            "gen_ai.tool.call.id": call.id,
        }
        with tracing.span(f"execute_tool {call.name}", kind="client", attributes=attributes):
            result = await tool.connection.call(tool.tool, _arguments(call) or {}, key=key)
        return result.text, result.failed

    def _change(self, call: ToolCall, **fields: Any) -> None:
        self._lease.check()
        self._publish(self._answer.content.change_call(call.id, **fields))

    async def _store(self) -> None:
        """Store the round as it is now. At least once: the same number replaces it.

        Raises:
            LeaseLost: the attempt is not the current one any more, or the answer has ended.
            WorkerError: chat-store refuses permanently.
        """
        request = StoreToolRound(
            chat_id=self._answer.chat_id,
            generation_id=self._answer.generation_id,
            attempt=self._answer.attempt,
            number=self.number,
            round=self._answer.content.since(self._mark),
        )
        backoff = Backoff(0.1, 1.0)
        while True:
            self._lease.check()
            try:
                reply = await ask(self._dependencies.nc, request, timeout=_STORE_TIMEOUT)
                self._approvals.decide_all(reply.decisions)
                return
            except RpcRefused as refused:
                if refused.code == "conflict":
                    raise LeaseLost from refused
                if refused.code not in _TRANSIENT_CODES:
                    raise WorkerError(f"round refused: {refused.code}: {refused.message}") from refused
            except BusUnavailable as error:
                log.debug("Retrying to store a round: %r", error)
            await asyncio.sleep(backoff.next_delay())


def messages_of(stored: ToolRound) -> list[ContextMessage]:
    """Return a round as messages for the provider."""
    called = Calling(
        role="assistant",
        content=stored.text,
        tool_calls=[_readable(call) for call in stored.calls],
        reasoning=stored.reasoning,
    )
    results = [ContextMessage(role="tool", content=call.result or "", tool_call_id=call.id) for call in stored.calls]
    return [called, *results]


def _readable(call: ToolCall) -> ToolCall:
    """Return a call that providers accept: with a name that a tool can have, and arguments that are a JSON object."""
    arguments = call.arguments
    if (value := _arguments(call)) is None or not arguments.lstrip().startswith("{"):
        arguments = json.dumps(value or {}, ensure_ascii=False)
    name = re.sub(r"[^a-zA-Z0-9_-]", "_", call.name)[:MAX_NAME]
    return msgspec.structs.replace(call, name=name, arguments=arguments)


def tokens_of_rounds(claim: Claimed) -> list[int]:
    """Return the estimated tokens of the rounds in each request of earlier attempts after the first one."""
    sizes: list[int] = []
    total = 0
    for stored in claim.rounds:
        total += sum(map(context.tokens_of, messages_of(stored)))
        sizes.append(total)
    return sizes


def _without_tools(parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of a request that has no tools.

    Clients of OpenAI's Responses say how tools are called also where there are none; chat completions refuse that.
    """
    return {
        name: value
        for name, value in parameters.items()
        if name not in ("tools", "parallel_tool_calls") and not (name == "tool_choice" and value in ("none", "auto"))
    }


def _arguments(call: ToolCall) -> dict[str, Any] | None:
    """Return the arguments of a call; None: they are not a JSON object."""
    try:
        value = json.loads(call.arguments or "{}")
        if isinstance(value, str):
            # vLLM and others encode the arguments of some models twice.
            value = json.loads(value)
        if value is None:
            return {}
        # Half of a surrogate pair cannot be sent, and would end the connection to the server.
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
