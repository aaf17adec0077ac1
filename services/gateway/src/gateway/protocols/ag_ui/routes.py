"""``/ag-ui``: an answer as a run of an AG-UI agent."""

import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query
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
from gateway.protocols.ag_ui.events import RunEvents, error_event
from gateway.protocols.ag_ui.request import (
    RunInput,
    answer_id_of,
    chat_id_of,
    given_of,
    new_prompt,
    new_results,
    outputs_of,
)
from gateway.protocols.branch import Branch, read_branch
from gateway.protocols.options import Options, check_new_chat
from gateway.protocols.stopping import regenerate
from parley.contracts.completion import WhenBusy
from parley.contracts.resources import Message
from parley.runtime import tracing

PATH = "/ag-ui"

LastEventId = Annotated[str | None, Header()]

router = APIRouter(tags=["AG-UI"], route_class=StructRoute)


@router.post(PATH, response_class=EventResponse)
@raises(NotFound, Conflict)
async def run_agent(
    request: Request,
    gateway: GatewayDependency,
    identity: ProtocolWriter,
    body: Annotated[RunInput, Depends(JsonBody(RunInput))],
    last_event_id: LastEventId = None,
) -> Response:
    """Start a run and follow it; the same ids again follow the same run, after ``Last-Event-ID`` or from its start.

    The run continues when the client disconnects.
    """
    if not body.messages:
        raise Invalid("There is no message.", field="messages")
    run = _Run(gateway, request, identity, body.thread_id, body.run_id)
    with tracing.span(f"POST {PATH}", kind="server", parent=request.headers):
        message_id = await run.find() or await run.start(body)
    return await run.response(message_id, last_event_id, has_cancelled=body.protocol_version is not None)


@router.get(PATH, response_class=EventResponse)
@raises(NotFound)
async def follow_run(
    request: Request,
    gateway: GatewayDependency,
    identity: ProtocolReader,
    thread_id: Annotated[str, Query(alias="threadId")],
    run_id: Annotated[str, Query(alias="runId")],
    last_event_id: LastEventId = None,
) -> Response:
    """Follow a run after ``Last-Event-ID`` or from its start, also when it has ended."""
    run = _Run(gateway, request, identity, thread_id, run_id)
    message_id = await run.find()
    if message_id is None:
        raise NotFound("There is no such run.")
    return await run.response(message_id, last_event_id)


@dataclass(frozen=True)
class _Run:
    gateway: Gateway
    request: Request
    identity: Identity
    thread_id: str
    run_id: str

    @property
    def chat_id(self) -> str:
        return chat_id_of(self.identity.user_id, self.thread_id)

    @property
    def answer_id(self) -> str:
        return answer_id_of(self.identity.user_id, self.chat_id, self.run_id)

    async def find(self) -> str | None:
        """Return the id of the run's answer; None: there is no such run yet."""
        ref = AnswerRef(chat_id=self.chat_id, message_id=self.answer_id)
        try:
            await self.gateway.turns.get(self.identity, ref)
        except NotFound:
            return None
        return self.answer_id

    async def start(self, body: RunInput) -> str:
        """Start the run, and return the id of its answer or prompt."""
        user_id, store = self.identity.user_id, self.gateway.store
        options = Options.of(self.request.headers, body.props.metadata)
        given = given_of(user_id, self.chat_id, body.messages)
        branch = await read_branch(store, user_id, self.chat_id, given)
        if branch.chat is None:
            check_new_chat(self.chat_id, self.thread_id)
        newest = branch.find(given[-1]) if given else None
        before = branch.before_newest(given)
        role = body.messages[-1].role
        if role == "user":
            branch.check(before if newest is None else [*before, given[-1]])
            if newest is not None:
                return await self._answer_again(branch, newest, body, options.when_busy)
            parent_id = branch.parent_for(before)
            results = branch.results_before(before, outputs_of(body))
            turn = new_prompt(body, user_id, self.chat_id, options, parent_id, results)
        elif role == "tool" and newest is not None:
            branch.check([*before, given[-1]])
            turn = new_results(body, user_id, branch, newest, options)
        else:
            raise Invalid("The last message must be the user's, or the result of a tool.", field="messages")
        await self.gateway.turns.submit(self.identity, turn, new_chat=branch.chat is None)
        return turn.message_id

    async def _answer_again(self, branch: Branch, prompt: Message, body: RunInput, when_busy: WhenBusy) -> str:
        """Request another answer to a prompt that has one."""
        await regenerate(
            self.gateway,
            self.request,
            self.identity,
            branch,
            prompt,
            answer_id=self.answer_id,
            model=body.props.model,
            when_busy=when_busy,
        )
        return self.answer_id

    async def response(self, message_id: str, last_event_id: str | None, *, has_cancelled: bool = True) -> Response:
        after = int(last_event_id) if last_event_id is not None and last_event_id.isdecimal() else -1
        response = EventResponse(self._events(message_id, after, has_cancelled), error_event=error_event)
        await response.wait_for_first(self.request)
        return response

    async def _events(self, message_id: str, after: int, has_cancelled: bool) -> AsyncGenerator[bytes, None]:
        ref = AnswerRef(chat_id=self.chat_id, message_id=message_id)
        run = RunEvents(
            thread_id=self.thread_id,
            run_id=self.run_id,
            answer_id=self.answer_id,
            after=after,
            has_cancelled=has_cancelled,
        )
        answer = self.gateway.answers.read(ref, self.request, self.identity, after=after)
        async with contextlib.aclosing(answer) as events:
            async for event in events:
                yield run.encode(event)
