"""``/openai/v1/conversations``: a conversation is a chat; its items are those of the chat's current branch."""

from typing import Annotated, Any, Final, Literal

import msgspec
from fastapi import APIRouter, Depends, Path
from starlette.requests import Request

from gateway.answers.reader import AnswerRef
from gateway.auth.authentication import ProtocolReader, ProtocolWriter
from gateway.auth.identities import Identity
from gateway.auth.model_access import check_model
from gateway.context import Gateway, GatewayDependency
from gateway.errors import Conflict, NotFound
from gateway.http.requests import JsonBody, check_system_prompt, check_title
from gateway.http.routing import StructRoute, raises
from gateway.protocols.openai.response_items import Item, Strict, input_items, item_of, output_items
from gateway.protocols.openai.response_lists import After, Includes, ItemPage, Limit, Order, item_page
from gateway.protocols.openai.responses_ids import chat_of, conversation_id, message_of
from gateway.protocols.options import TurnIds
from gateway.routes.schemas import Model, Title
from parley.contracts import rpc
from parley.contracts.limits import MAX_PAGE
from parley.contracts.resources import Message

PATH: Final = "/openai/v1/conversations"
_CONVERSATION: Final = "/{conversation_id}"

router = APIRouter(prefix=PATH, tags=["OpenAI"], route_class=StructRoute)


@raises(NotFound)
async def _chat_id(conversation_id: Annotated[str, Path()]) -> str:
    return chat_of(conversation_id)


ConversationId = Annotated[str, Depends(_chat_id)]


class ConversationMetadata(Strict, frozen=True, kw_only=True):
    """The title, model and system prompt of the chat. Other metadata cannot be stored with it."""

    title: Title | None = None
    model: Model | None = None
    system_prompt: str | None = None


class ChangedConversation(Strict, frozen=True, kw_only=True):
    """``POST /openai/v1/conversations/{conversation_id}``: absent members stay as they are."""

    metadata: ConversationMetadata


class NewConversation(Strict, frozen=True, kw_only=True):
    """``POST /openai/v1/conversations``.

    Attributes:
        items: Empty. Items are added to a conversation by responses.
    """

    metadata: ConversationMetadata | None = None
    items: Annotated[list[Any], msgspec.Meta(max_length=0)] | None = None


class Conversation(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation."""

    id: str
    created_at: int
    metadata: dict[str, str]
    object: Literal["conversation"] = "conversation"


class DeletedConversation(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    object: Literal["conversation.deleted"] = "conversation.deleted"
    deleted: bool = True


@router.post("")
@raises(Conflict)
async def create_conversation(
    request: Request,
    gateway: GatewayDependency,
    identity: ProtocolWriter,
    body: Annotated[NewConversation, Depends(JsonBody(NewConversation, optional=True))],
) -> Conversation:
    """Create a conversation; the same ``Idempotency-Key`` returns the same one."""
    metadata = _checked(gateway, identity, body.metadata or ConversationMetadata())
    chat_id = TurnIds.of(identity.user_id, request.headers).chat_id
    return await _conversation(gateway, rpc.CreateChat(user_id=identity.user_id, chat_id=chat_id, **metadata))


@router.get(_CONVERSATION)
async def show_conversation(
    gateway: GatewayDependency, identity: ProtocolReader, chat_id: ConversationId
) -> Conversation:
    """Show a conversation."""
    return await _conversation(gateway, rpc.GetChat(user_id=identity.user_id, chat_id=chat_id))


@router.post(_CONVERSATION)
async def change_conversation(
    gateway: GatewayDependency,
    identity: ProtocolWriter,
    chat_id: ConversationId,
    body: Annotated[ChangedConversation, Depends(JsonBody(ChangedConversation))],
) -> Conversation:
    """Change the title, the model or the system prompt of a conversation, which are its metadata."""
    metadata = _checked(gateway, identity, body.metadata)
    return await _conversation(gateway, rpc.UpdateChat(user_id=identity.user_id, chat_id=chat_id, **metadata))


@router.delete(_CONVERSATION)
async def delete_conversation(
    gateway: GatewayDependency, identity: ProtocolWriter, chat_id: ConversationId
) -> DeletedConversation:
    """Delete a conversation of the user's own with all its responses."""
    await gateway.store.ask(rpc.DeleteChat(user_id=identity.user_id, chat_id=chat_id))
    return DeletedConversation(id=conversation_id(chat_id))


@router.get(_CONVERSATION + "/items")
async def list_conversation_items(
    gateway: GatewayDependency,
    identity: ProtocolReader,
    chat_id: ConversationId,
    include: Includes,
    order: Order = "desc",
    after: After = None,
    limit: Limit = 20,
) -> ItemPage:
    """List the items of the conversation's current branch."""
    branch = await _branch(gateway, identity, chat_id)
    if order == "asc":
        branch.reverse()
    if after is not None:
        last = message_of(after).message_id
        first = next((index for index, message in enumerate(branch) if message.id == last), len(branch))
        branch = branch[first:]
    items: list[Item] = []
    before = 0  # items that may be before the page
    for message in branch:
        of_message = await _items(gateway, identity, message)
        items += of_message if order == "asc" else reversed(of_message)
        before = before or len(items)
        if len(items) > before + limit:
            break
    return item_page(items, after, limit)


@router.get(_CONVERSATION + "/items/{item_id}")
async def show_conversation_item(
    gateway: GatewayDependency, identity: ProtocolReader, chat_id: ConversationId, include: Includes, item_id: str
) -> dict[str, Any]:
    """Show one item."""
    turn = await gateway.turns.get(identity, AnswerRef(chat_id=chat_id, message_id=message_of(item_id).message_id))
    return item_of(turn, item_id)


def _checked(gateway: Gateway, identity: Identity, metadata: ConversationMetadata) -> dict[str, str]:
    """Return the members of a chat that the metadata sets. Raises Invalid, Forbidden."""
    check_title(metadata.title)
    check_model(metadata.model, identity, gateway.models)
    check_system_prompt(metadata.system_prompt)
    return {name: value for name, value in msgspec.structs.asdict(metadata).items() if value is not None}


async def _conversation(gateway: Gateway, request: rpc.Request[rpc.ChatReply]) -> Conversation:
    chat = (await gateway.store.ask(request)).chat
    members = {"title": chat.title, "model": chat.model, "system_prompt": chat.system_prompt}
    return Conversation(
        id=conversation_id(chat.id),
        created_at=int(chat.created_at.timestamp()),
        metadata={name: value for name, value in members.items() if value is not None},
    )


async def _branch(gateway: Gateway, identity: Identity, chat_id: str) -> list[Message]:
    """Return the messages from the chat's tip to its root."""
    chat = (await gateway.store.ask(rpc.GetChat(user_id=identity.user_id, chat_id=chat_id))).chat
    messages: dict[str, Message] = {}
    before: str | None = None
    while True:
        request = rpc.ListMessages(user_id=identity.user_id, chat_id=chat_id, before=before, limit=MAX_PAGE)
        page = await gateway.store.ask(request)
        messages.update((message.id, message) for message in page.items)
        before = page.next
        if before is None:
            break
    branch: list[Message] = []
    at = chat.tip_id
    while at is not None and at in messages:
        branch.append(messages[at])
        at = messages[at].parent_id
    return branch


async def _items(gateway: Gateway, identity: Identity, message: Message) -> list[Item]:
    if message.role == "assistant":
        return output_items(message)
    turn = await gateway.turns.get(identity, AnswerRef(chat_id=message.chat_id, message_id=message.id))
    return input_items(turn.prompt, turn.completion)
