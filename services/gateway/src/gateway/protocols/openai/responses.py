"""``/openai/v1/responses``: a response is an answer in an ordinary chat (docs/decisions/0071)."""

from collections.abc import AsyncGenerator
from typing import Annotated, Final, Literal

import msgspec
from fastapi import APIRouter, Depends, Path, Query
from msgspec import UNSET, UnsetType
from starlette.requests import Request

from gateway.answers.events import AttemptStarted, Ended, Requested
from gateway.answers.reader import AnswerRef
from gateway.answers.turns import NewTurn
from gateway.auth.authentication import ProtocolReader, ProtocolWriter
from gateway.auth.identities import Identity
from gateway.context import Gateway, GatewayDependency
from gateway.errors import Conflict, GatewayError, Invalid, NotFound
from gateway.http.event_response import EventResponse
from gateway.http.requests import JsonBody
from gateway.http.routing import StructRoute, raises
from gateway.protocols.openai import errors
from gateway.protocols.openai.delivery import STREAMED, Delivery
from gateway.protocols.openai.response_items import Item, input_items, item_of, references
from gateway.protocols.openai.response_lists import After, Includes, ItemPage, Limit, Order, item_page
from gateway.protocols.openai.responses_events import ResponseEvents, encode
from gateway.protocols.openai.responses_ids import answer_of, chat_of, message_of, response_id
from gateway.protocols.openai.responses_object import ResponseObject, response_object
from gateway.protocols.openai.responses_request import NOT_STORED, NewResponse
from gateway.protocols.options import Options, TurnIds
from gateway.protocols.stopping import stop_and_wait
from parley.contracts import rpc
from parley.contracts.limits import MAX_PAGE
from parley.contracts.resources import Message
from parley.runtime import tracing

PATH: Final = "/openai/v1/responses"

_FIRST_SECONDS: Final = 1.0
"""How long a stream waits for output before it starts: an error until then is the response's status."""

router = APIRouter(prefix=PATH, tags=["OpenAI"], route_class=StructRoute)


@raises(NotFound)
async def _answer_ref(identifier: Annotated[str, Path(alias="response_id")]) -> AnswerRef:
    return answer_of(identifier)


class DeletedResponse(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    object: Literal["response.deleted"] = "response.deleted"
    deleted: bool = True


ResponseId = Annotated[AnswerRef, Depends(_answer_ref)]


@router.post("", responses=STREAMED)
@raises(NotFound, Conflict)
async def create_response(
    request: Request,
    gateway: GatewayDependency,
    identity: ProtocolWriter,
    body: Annotated[NewResponse, Depends(JsonBody(NewResponse))],
) -> ResponseObject:
    """Answer input, whole or as a stream of server-sent events (``stream``), or later (``background``)."""
    options = Options.of(request.headers, body.metadata)
    ids = TurnIds.of(identity.user_id, request.headers)
    with tracing.span(f"POST {PATH}", kind="server", parent=request.headers):
        turn, is_new = await _new_turn(gateway, identity, body, options, ids)
        delivery = Delivery(
            gateway=gateway,
            request=request,
            identity=identity,
            ref=AnswerRef(chat_id=turn.chat_id, message_id=ids.answer_id),
            stops=not (body.background or options.detach),
            deletes=not body.is_stored,
            from_key=ids.from_key,
        )
        await delivery.submit(turn, new_chat=is_new)
    response = _Response(delivery)
    if body.stream:
        return await response.stream(waits=not body.background)  # type: ignore[return-value]
    return await (response.now() if body.background else response.whole())


@router.get("/{response_id}", responses=STREAMED)
async def show_response(
    request: Request,
    gateway: GatewayDependency,
    identity: ProtocolReader,
    ref: ResponseId,
    include: Includes,
    stream: bool = False,
    starting_after: Annotated[int | None, Query(ge=-1, lt=2**53)] = None,
    include_obfuscation: bool = False,
) -> ResponseObject:
    """Show a response; with ``stream``, its events, those after ``starting_after`` only, until it has ended."""
    if include_obfuscation:
        raise Invalid("Obfuscation is not supported.", field="include_obfuscation")
    if starting_after is not None and not stream:
        raise Invalid("starting_after is for streams: add stream=true.", field="starting_after")
    response = _Response(Delivery(gateway=gateway, request=request, identity=identity, ref=ref))
    if stream:
        return await response.stream(-1 if starting_after is None else starting_after)  # type: ignore[return-value]
    return await response.now()


@router.post("/{response_id}/cancel")
async def cancel_response(
    request: Request, gateway: GatewayDependency, identity: ProtocolWriter, ref: ResponseId
) -> ResponseObject:
    """Stop the answer, which keeps its text so far. Without effect on one that has ended."""
    await stop_and_wait(gateway, request, identity, ref)
    return await _Response(Delivery(gateway=gateway, request=request, identity=identity, ref=ref)).now()


@router.delete("/{response_id}")
@raises(Conflict)
async def delete_response(gateway: GatewayDependency, identity: ProtocolWriter, ref: ResponseId) -> DeletedResponse:
    """Delete a response with its chat, if the chat has no other turn; else delete the conversation."""
    await gateway.turns.get(identity, ref)
    await gateway.turns.delete(identity, ref)
    return DeletedResponse(id=response_id(ref.chat_id, ref.message_id))


@router.get("/{response_id}/input_items")
async def list_input_items(
    gateway: GatewayDependency,
    identity: ProtocolReader,
    ref: ResponseId,
    include: Includes,
    order: Order = "desc",
    after: After = None,
    limit: Limit = 20,
) -> ItemPage:
    """List the input of a response, without the earlier items of its conversation."""
    turn = await gateway.turns.get(identity, ref)
    items = input_items(turn.prompt, turn.completion)
    return item_page(items if order == "asc" else items[::-1], after, limit)


async def _new_turn(
    gateway: Gateway, identity: Identity, body: NewResponse, options: Options, ids: TurnIds
) -> tuple[NewTurn, bool]:
    """Return the turn of a request, and whether it begins a chat."""
    body = await _with_references(gateway, identity, body)
    content, completion = body.prompt_and_completion(options.metadata)
    chat_id = options.chat_id
    parent_id: str | UnsetType = UNSET
    if options.chat_id is not None and (body.conversation or body.previous_response_id):
        raise Invalid("The chat is named twice.", field="metadata.parley.chat_id")
    if options.chat_id is not None and not body.is_stored:
        raise Invalid(NOT_STORED, field="store")
    if body.conversation_id is not None:
        chat_id = chat_of(body.conversation_id)
    elif body.previous_response_id is not None:
        previous = await _previous(gateway, identity, body.previous_response_id)
        chat_id, parent_id = previous.chat_id, previous.message_id
    turn = NewTurn(
        chat_id=chat_id or ids.chat_id,
        message_id=ids.message_id,
        answer_id=ids.answer_id,
        content=content,
        completion=completion,
        model=body.model,
        parent_id=parent_id,
        when_busy=options.when_busy,
    )
    return turn, chat_id is None


async def _with_references(gateway: Gateway, identity: Identity, body: NewResponse) -> NewResponse:
    """Return the request with the items that its input refers to. Raises NotFound."""
    if isinstance(body.input, str):
        return body
    turns: dict[AnswerRef, rpc.TurnReply] = {}
    items: dict[int, Item] = {}
    for index, identifier in references(body.input):
        try:
            ref = message_of(identifier)
            if ref not in turns:
                turns[ref] = await gateway.turns.get(identity, ref)
            items[index] = item_of(turns[ref], identifier)
        except NotFound:
            raise NotFound(f"There is no item {identifier!r}.", field=f"input[{index}].id") from None
        if len(turns) > MAX_PAGE:
            raise Invalid(f"input refers to items of more than {MAX_PAGE} messages.", field="input")
    return msgspec.structs.replace(body, input=[items.get(index, item) for index, item in enumerate(body.input)])


async def _previous(gateway: Gateway, identity: Identity, identifier: str) -> AnswerRef:
    try:
        ref = answer_of(identifier)
        await gateway.turns.get(identity, ref)
    except NotFound:
        raise NotFound(
            f"There is no response {identifier!r}.", code="previous_response_not_found", field="previous_response_id"
        ) from None
    return ref


def _check_output(message: Message) -> None:
    """Raises AnswerFailed: a message failed that has no output. OpenAI's API refuses such a request by its status."""
    if message.error is not None and (message.role == "user" or not (message.content or message.tool_calls)):
        raise errors.answer_failed(message)


class _Response:
    """A response, as one client reads it, which may not be the one that asked for the answer."""

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery
        self._ref = delivery.ref
        self._begin: bytes | None = b""
        """The events before the first output; None once the response has started."""

    async def now(self) -> ResponseObject:
        """Return the response as it is stored."""
        return response_object(await self._turn(), self._ref.message_id)

    async def whole(self) -> ResponseObject:
        """Return the response once it has ended. Raises AnswerFailed: it failed before it had output."""
        async with self._delivery.whole():
            await self._delivery.wait()
            turn = await self._turn()
        _check_output(turn.answer or turn.prompt)
        return response_object(turn, self._ref.message_id)

    async def stream(self, after: int = -1, *, waits: bool = False) -> EventResponse:
        """Return the events after a number as a stream.

        Args:
            waits: Start with the first output, or after ``_FIRST_SECONDS``. Raises AnswerFailed: it failed before.
        """
        try:
            turn = await self._turn()
        except GatewayError:
            await self._delivery.give_up()
            raise
        events = ResponseEvents(turn, self._ref.message_id, after)
        encoded = self._encoded(events, after, waits=waits)
        response = EventResponse(
            encoded, error_event=events.error_event, abandoned=self._delivery.abandon, preface=self._start
        )
        await response.wait_for_first(self._delivery.request, _FIRST_SECONDS)
        return response

    async def _turn(self) -> rpc.TurnReply:
        return await self._delivery.gateway.turns.get(self._delivery.identity, self._ref)

    def _start(self) -> bytes:
        begin, self._begin = self._begin or b"", None
        return begin

    async def _encoded(self, events: ResponseEvents, after: int, *, waits: bool) -> AsyncGenerator[bytes, None]:
        begin = b"".join(map(encode, events.begin()))
        if waits:
            self._begin = begin
        else:
            yield begin
        ended = False
        try:
            async with self._delivery.events(after) as answer:
                async for event in answer:
                    ended = isinstance(event, Ended)
                    encoded = b"".join(map(encode, events.translate(event)))
                    if waits and self._begin is not None:
                        if isinstance(event, Requested | AttemptStarted):
                            self._begin += encoded
                            continue
                        if isinstance(event, Ended):
                            _check_output(event.message)
                    yield encoded
        except GatewayError:
            # A stream that has started is continued by its response's id, as long as the response is stored.
            if not ended and (self._begin is not None or self._delivery.deletes):
                await self._delivery.give_up()
            raise
        finally:
            if ended:  # also one that failed
                await self._delivery.complete()
