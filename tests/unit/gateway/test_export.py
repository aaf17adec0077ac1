"""The export of a user: one document, with what prompts asked for in addition to text."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from gateway.bus.export import Export
from gateway.errors import Unavailable
from gateway.routes.data.own import ExportResponse
from parley.contracts import rpc
from parley.contracts.access import identity
from parley.contracts.completion import CompletionRequest, ContextMessage, ToolCall
from parley.contracts.resources import Chat, Message
from tests.support.users import guest

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CHAT = Chat(
    id="chat",
    owner_id="ann",
    title=None,
    model=None,
    system_prompt=None,
    tip_id="answer",
    created_at=NOW,
    updated_at=NOW,
    version=3,
    running=False,
)
ASKED = CompletionRequest(
    parameters={"seed": 1}, instructions="Rhyme.", context=[ContextMessage(role="user", content="Hello")]
)
CALL = ToolCall(id="call_1", name="look", arguments="{}", server="web", status="complete", result="rain")


def _message(message_id: str, role: Any, **fields: Any) -> Message:
    return Message(
        id=message_id,
        chat_id="chat",
        parent_id=None,
        role=role,
        author_id=None,
        content=message_id,
        reasoning="",
        status="sent",
        model=None,
        error=None,
        usage=None,
        created_at=NOW,
        version=2,
        **fields,
    )


class Store:
    """Has one chat with one turn.

    Attributes:
        away: There is no reply about messages.
    """

    away = False

    async def ask(self, request: Any) -> Any:
        match request:
            case rpc.ListMessages() if self.away:
                raise Unavailable("away")
            case rpc.ListChats():
                return rpc.ChatList(items=[CHAT], next=None)
            case rpc.CheckAccess():
                return rpc.AccessReply(role="owner")
            case rpc.ListMessages():
                items = [_message("prompt", "user"), _message("answer", "assistant", tool_calls=[CALL])]
                completions = {"prompt": ASKED} if request.completions else {}
                return rpc.MessageList(items=items, next=None, completions=completions)
            case identity.ListSessions():
                return identity.SessionList(items=[])
            case identity.ListApiKeys():
                return identity.ApiKeyList(items=[])
            case rpc.ListInvitations():
                return rpc.InvitationList(items=[])
            case rpc.ListMembers():
                return rpc.MemberList(items=[])
            case rpc.ListShareLinks():
                return rpc.ShareLinkList(items=[])
            case _:
                return rpc.UsageReply(items=[])


async def test_an_export_has_the_completions_of_prompts_and_the_tools_of_answers() -> None:
    export = Export(Store(), guest("ann"))  # type: ignore[arg-type]
    document = json.loads(b"".join([chunk async for chunk in export.chunks()]))
    assert document["complete"]
    answer, prompt = document["chats"][0]["messages"]
    assert prompt["completion"] == {
        "parameters": {"seed": 1},
        "instructions": "Rhyme.",
        "context": [{"role": "user", "content": "Hello"}],
    }
    assert answer["tool_calls"][0]["result"] == "rain"
    assert "completion" not in answer


async def test_an_export_that_breaks_off_has_no_last_member_and_one_line_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store, running, sent = Store(), {"ann"}, list[dict[str, Any]]()
    store.away = True

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    response = ExportResponse(Export(store, guest("ann")), running)  # type: ignore[arg-type]
    await response({"type": "http", "asgi": {"spec_version": "2.0"}}, receive, send)
    assert all(message["more_body"] for message in sent[1:]), "the server closes the connection"
    assert b"complete" not in b"".join(message["body"] for message in sent[1:])
    assert [(record.levelname, record.exc_info) for record in caplog.records] == [("WARNING", None)]
    assert not running
