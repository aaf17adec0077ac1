"""``/ai-sdk/chat``: what ``useChat`` and the AI SDK's chat transport need."""

import contextlib
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from gateway.answers.reader import AnswerRef
from gateway.auth.authentication import ProtocolReader, ProtocolWriter
from gateway.auth.identities import Identity
from gateway.context import Gateway, GatewayDependency
from gateway.errors import Conflict, Invalid, NotFound
from gateway.http.event_response import EventResponse
from gateway.http.requests import JsonBody
from gateway.http.routing import StructRoute, raises
from gateway.protocols.ai_sdk.chunks import HEADERS, UIMessageChunks, error_chunk
from gateway.protocols.ai_sdk.request import (
    ChatRequest,
    chat_id_of,
    given_of,
    new_prompt,
    new_results,
    outputs_of,
)
from gateway.protocols.branch import RUNNING, Branch, Given, read_branch
from gateway.protocols.options import Options, TurnIds, check_new_chat
from gateway.protocols.stopping import regenerate
from parley.contracts import rpc
from parley.contracts.completion import ContextMessage
from parley.contracts.resources import Message
from parley.runtime import tracing

PATH = "/ai-sdk/chat"

router = APIRouter(tags=["AI SDK"], route_class=StructRoute)


@router.post(PATH, response_class=EventResponse)
@raises(NotFound, Conflict)
async def chat(
    request: Request,
    gateway: GatewayDependency,
    identity: ProtocolWriter,
    body: Annotated[ChatRequest, Depends(JsonBody(ChatRequest))],
) -> Response:
    """Answer the newest message of a conversation as a UI message stream. The answer continues without the client."""
    if not body.messages or body.messages[-1].role == "system":
        raise Invalid("The last message must be the user's, or an answer.", field="messages")
    chat_id = chat_id_of(identity.user_id, body.id)
    given = given_of(identity.user_id, chat_id, body.messages)
    branch = await read_branch(gateway.store, identity.user_id, chat_id, given)
    if branch.chat is None:
        check_new_chat(chat_id, body.id)
    newest = branch.find(given[-1])
    before = branch.before_newest(given)
    branch.check([*before, given[-1]] if newest is not None or given[-1].role == "assistant" else before)
    asking = _Asking(gateway, request, identity, body, branch)
    reading = _Reading(gateway, request, identity, chat_id)
    with tracing.span(f"POST {PATH}", kind="server", parent=request.headers):
        if newest is not None and body.trigger == "regenerate-message" and newest.status != "queued":
            answer_id = await asking.again(newest)
        elif newest is not None and newest.role == "assistant":
            answer_id = await asking.with_results(newest)
            reading.message_id = newest.id
        else:
            answer_id = await asking.with_prompt(chat_id, before)
    reading.answers.append((answer_id, ()))
    return await reading.response()


@router.get(PATH + "/{chat_id:path}/stream", response_class=EventResponse)
async def resume_chat(request: Request, gateway: GatewayDependency, identity: ProtocolReader, chat_id: str) -> Response:
    """Stream the running answer from its beginning; 204 without one."""
    chat_id = chat_id_of(identity.user_id, chat_id)
    branch = await read_branch(gateway.store, identity.user_id, chat_id, ())
    running = [message for message in branch.messages if message.status in RUNNING]
    if not running:
        return Response(status_code=204)
    reading = _Reading(gateway, request, identity, chat_id)
    await reading.add(running[-1].id)
    return await reading.response()


@router.post(PATH + "/{chat_id:path}/stop", status_code=204)
async def stop_ai_sdk_chat(gateway: GatewayDependency, identity: ProtocolWriter, chat_id: str) -> None:
    """Stop the running answer, if there is one."""
    chat_id = chat_id_of(identity.user_id, chat_id)
    await gateway.store.ask(rpc.Stop(user_id=identity.user_id, chat_id=chat_id, message_id=None))


@dataclass(frozen=True)
class _Asking:
    """Asks for the answer to one request. Each method returns the id of the answer or of its prompt."""

    gateway: Gateway
    request: Request
    identity: Identity
    body: ChatRequest
    branch: Branch

    async def with_prompt(self, chat_id: str, before: Sequence[Given]) -> str:
        """Submit the newest message. Without effect if it was submitted before."""
        parent_id = self.branch.parent_for(before)
        if self.body.message_id == self.body.messages[-1].id and not before:
            parent_id = None  # another version of the first message
        results = self.branch.results_before(before, outputs_of(self.body.messages[-2:-1]))
        turn = new_prompt(self.body, self.identity.user_id, chat_id, self._options(), parent_id, results)
        await self.gateway.turns.submit(self.identity, turn, new_chat=self.branch.chat is None)
        return turn.message_id

    async def with_results(self, answer: Message) -> str:
        """Submit the results of tools; their answer continues the same UI message."""
        turn = new_results(self.body, self.identity.user_id, self.branch, answer, self._options())
        await self.gateway.turns.submit(self.identity, turn)
        return turn.message_id

    async def again(self, message: Message) -> str:
        """Request another answer to a prompt, or next to an answer."""
        answer_id = TurnIds.of(self.identity.user_id, self.request.headers).answer_id
        await regenerate(
            self.gateway,
            self.request,
            self.identity,
            self.branch,
            message,
            answer_id=answer_id,
            model=self.body.model,
            when_busy=self._options().when_busy,
        )
        return answer_id

    def _options(self) -> Options:
        return Options.of(self.request.headers, self.body.metadata)


@dataclass
class _Reading:
    """Reads the answers of one UI message.

    Attributes:
        message_id: The message's; None: its first answer's.
        answers: The id of each answer, or of its prompt, and the results of tools that it answers.
    """

    gateway: Gateway
    request: Request
    identity: Identity
    chat_id: str
    message_id: str | None = None
    answers: list[tuple[str, Sequence[ContextMessage]]] = field(default_factory=list)

    async def add(self, answer_id: str) -> None:
        """Add an answer and, before it, the answers to whose tool calls it has the results."""
        read = partial(rpc.GetTurn, user_id=self.identity.user_id, chat_id=self.chat_id, message_id=answer_id)
        turn = await self.gateway.store.ask(read())
        if turn.cut:
            turn = await self.gateway.store.ask(read(without_answer=True))
        context = turn.completion.context if turn.completion is not None else []
        results = context if all(message.role == "tool" for message in context) else []
        self.answers.insert(0, (answer_id, results))
        if results and turn.prompt.parent_id is not None:
            await self.add(turn.prompt.parent_id)

    async def response(self) -> Response:
        response = EventResponse(self._chunks(), error_event=error_chunk, headers=HEADERS)
        await response.wait_for_first(self.request)
        return response

    async def _chunks(self) -> AsyncGenerator[bytes, None]:
        chunks = UIMessageChunks(self.message_id)
        for message_id, results in self.answers:
            yield chunks.results(results)
            ref = AnswerRef(chat_id=self.chat_id, message_id=message_id)
            async with contextlib.aclosing(self.gateway.answers.read(ref, self.request, self.identity)) as events:
                async for event in events:
                    yield chunks.encode(event, is_last=message_id == self.answers[-1][0])
