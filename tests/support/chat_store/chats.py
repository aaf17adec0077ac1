"""Chats with their members, invitations and messages; prompts as they are accepted."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import UNSET

from parley.contracts import rpc
from parley.contracts.access import policy
from parley.contracts.events import PromptSubmitted
from parley.contracts.resources import Chat, Invitation, Member, Message, TokenUsage
from tests.support.chat_store.part import Part, not_found


class FakeChats(Part):
    """Chats in memory.

    Attributes:
        chats: By id.
        members: By chat and user.
        invitations: By user and chat.
        messages: By chat, oldest first.
        limited: Whether any limit of prompts is set.
        prompts: What was submitted, by chat and message: stored as it is published. Take one out and it is lost.
        prompt_ids: Of each answer whose id its prompt names, by chat and answer.
        stored_as: Returns a prompt as a turn has it.
        answer_to: Returns the first answer to a prompt; None: there is none yet.
    """

    def __init__(self) -> None:
        self.chats: dict[str, Chat] = {}
        self.members: dict[str, dict[str, Member]] = {}
        self.invitations: dict[tuple[str, str], Member] = {}
        self.messages: dict[str, list[Message]] = {}
        self.limited = False
        self.prompts: dict[tuple[str, str], Message] = {}
        self.prompt_ids: dict[tuple[str, str], str] = {}
        self.stored_as: Callable[[Message], Message] = lambda prompt: prompt
        self.answer_to: Callable[[Message], Message | None] = lambda _: None

    def create_for(self, user_id: str, chat_id: str) -> None:
        self._create_chat(rpc.CreateChat(user_id=user_id, chat_id=chat_id))

    def add_message(self, message: Message) -> None:
        self.messages[message.chat_id].append(message)

    def submit(self, prompt: PromptSubmitted) -> None:
        """Store a prompt; once more: no effect."""
        stored = Message(
            id=prompt.message_id,
            chat_id=prompt.chat_id,
            parent_id=None,
            role="user",
            author_id=prompt.user_id,
            content=prompt.content,
            reasoning="",
            status="sent",
            model=None,
            error=None,
            usage=None,
            created_at=prompt.occurred_at,
            version=2,
        )
        self.prompts.setdefault((prompt.chat_id, prompt.message_id), stored)
        if prompt.answer_id is not None:
            self.prompt_ids[prompt.chat_id, prompt.answer_id] = prompt.message_id

    def _get_message(self, request: rpc.GetMessage) -> Any:
        found = self.prompts.get((request.chat_id, request.message_id))
        return not_found() if found is None else rpc.MessageReply(message=found)

    def _get_turn(self, request: rpc.GetTurn) -> Any:
        prompt_id = self.prompt_ids.get((request.chat_id, request.message_id), request.message_id)
        prompt = self.prompts.get((request.chat_id, prompt_id))
        if not self._may(request) or prompt is None:
            return not_found()
        return rpc.TurnReply(
            prompt=self.stored_as(prompt), answer=self.answer_to(prompt), completion=None, chat_version=7
        )

    def _may(self, request: Any) -> bool:
        return request.user_id in self.members.get(request.chat_id, {})

    def _check_access(self, request: rpc.CheckAccess) -> Any:
        if not self._may(request):
            return not_found()
        role = self.members[request.chat_id][request.user_id].role
        if not policy.may_in_chat(role, request.action):
            return rpc.RpcError(code="forbidden", message="You may read this chat, and not write to it.")
        return rpc.AccessReply(role=role)

    def _create_chat(self, request: rpc.CreateChat) -> Any:
        if request.chat_id not in self.chats:
            now = datetime.now(UTC)
            self.chats[request.chat_id] = Chat(
                id=request.chat_id,
                owner_id=request.user_id,
                title=request.title,
                model=request.model,
                system_prompt=request.system_prompt,
                tip_id=None,
                created_at=now,
                updated_at=now,
                version=1,
                running=False,
            )
            self.members[request.chat_id] = {
                request.user_id: Member(user_id=request.user_id, role="owner", added_at=now)
            }
            self.messages[request.chat_id] = []
        if not self._may(request):
            return rpc.RpcError(code="conflict", message="This id is taken.")
        return rpc.ChatReply(chat=self.chats[request.chat_id])

    def _get_chat(self, request: rpc.GetChat) -> Any:
        return rpc.ChatReply(chat=self.chats[request.chat_id]) if self._may(request) else not_found()

    def _list_chats(self, request: rpc.ListChats) -> Any:
        mine = [chat for chat in self.chats.values() if request.user_id in self.members[chat.id]]
        start = int(request.before or 0)
        end = start + request.limit
        return rpc.ChatList(items=mine[start:end], next=str(end) if end < len(mine) else None)

    def _update_chat(self, request: rpc.UpdateChat) -> Any:
        if not self._may(request):
            return not_found()
        changes = {
            field: getattr(request, field)
            for field in ("title", "model", "system_prompt", "tip_id")
            if getattr(request, field) is not UNSET
        }
        chat = msgspec.structs.replace(self.chats[request.chat_id], **changes)
        self.chats[request.chat_id] = chat
        return rpc.ChatReply(chat=chat)

    def _delete_chat(self, request: rpc.DeleteChat) -> Any:
        if not self._may(request):
            return not_found()
        del self.chats[request.chat_id], self.members[request.chat_id]
        return rpc.Done()

    def _list_messages(self, request: rpc.ListMessages) -> Any:
        if not self._may(request):
            return not_found()
        return rpc.MessageList(items=self.messages[request.chat_id][-request.limit :], next=None)

    def _admit_prompt(self, _: rpc.AdmitPrompt) -> Any:
        return rpc.Admitted(limited=self.limited)

    def _regenerate(self, request: rpc.Regenerate) -> Any:
        if not self._may(request):
            return not_found()
        for message in self.messages[request.chat_id]:
            if message.id == request.message_id:
                return rpc.MessageReply(message=msgspec.structs.replace(message, id=request.answer_id))
        return not_found("message")

    def _delete_message(self, request: rpc.DeleteMessage) -> Any:
        return rpc.Done() if self._may(request) else not_found()

    def _stop(self, request: rpc.Stop) -> Any:
        return rpc.Done() if self._may(request) else not_found()

    def _decide_tool_call(self, request: rpc.DecideToolCall) -> Any:
        return rpc.Done() if self._may(request) else not_found()

    def _search(self, request: rpc.Search) -> Any:
        hit = rpc.SearchHit(chat_id="c", chat_title=None, message_id="m", role="user", excerpt=f"… {request.query} …")
        return rpc.SearchReply(items=[hit], next=None)

    def _usage(self, request: rpc.GetUsage) -> Any:
        return rpc.UsageReply(items=[TokenUsage(model="demo", answers=2, input_tokens=10, output_tokens=20)])

    def _list_members(self, request: rpc.ListMembers) -> Any:
        if not self._may(request):
            return not_found()
        return rpc.MemberList(items=list(self.members[request.chat_id].values()))

    def _put_member(self, request: rpc.PutMember) -> Any:
        if not self._may(request):
            return not_found()
        if self.members[request.chat_id][request.user_id].role != "owner":
            return rpc.RpcError(code="forbidden", message="Only the owner can.")
        member = Member(user_id=request.member_id, role=request.role, added_at=datetime.now(UTC))
        if request.member_id in self.members[request.chat_id]:
            self.members[request.chat_id][request.member_id] = member
            return rpc.MemberReply(member=member)
        invited = msgspec.structs.replace(member, status="invited")
        self.invitations[request.member_id, request.chat_id] = invited
        return rpc.MemberReply(member=invited)

    def _list_invitations(self, request: rpc.ListInvitations) -> Any:
        return rpc.InvitationList(
            items=[
                Invitation(
                    chat_id=chat_id,
                    title=self.chats[chat_id].title,
                    role=member.role,
                    invited_by=self.chats[chat_id].owner_id,
                    invited_by_name=None,
                    created_at=member.added_at,
                )
                for (user_id, chat_id), member in self.invitations.items()
                if user_id == request.user_id
            ]
        )

    def _accept_invitation(self, request: rpc.AcceptInvitation) -> Any:
        members = self.members.get(request.chat_id, {})
        invited = self.invitations.pop((request.user_id, request.chat_id), None)
        if invited is not None:
            members[request.user_id] = msgspec.structs.replace(invited, status="member")
        found = members.get(request.user_id)
        return not_found("invitation") if found is None else rpc.MemberReply(member=found)

    def _decline_invitation(self, request: rpc.DeclineInvitation) -> Any:
        self.invitations.pop((request.user_id, request.chat_id), None)
        return rpc.Done()

    def _hand_over(self, request: rpc.HandOver) -> Any:
        if not self._may(request):
            return not_found()
        members = self.members[request.chat_id]
        if members[request.user_id].role != "owner":
            return rpc.RpcError(code="forbidden", message="Only the owner can.")
        if request.member_id not in members:
            return rpc.RpcError(code="conflict", message="Only a member can become the owner.")
        members[request.user_id] = msgspec.structs.replace(members[request.user_id], role="writer")
        members[request.member_id] = msgspec.structs.replace(members[request.member_id], role="owner")
        chat = msgspec.structs.replace(self.chats[request.chat_id], owner_id=request.member_id)
        self.chats[request.chat_id] = chat
        return rpc.ChatReply(chat=chat)

    def _delete_member(self, request: rpc.DeleteMember) -> Any:
        if not self._may(request):
            return not_found()
        self.members[request.chat_id].pop(request.member_id, None)
        return rpc.Done()
