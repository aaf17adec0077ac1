"""One chat while it is being changed, without input or output.

A :class:`Conversation` is loaded with the part of a chat that a command needs. The rules (:mod:`prompts`,
:mod:`generations`, :mod:`chats`, on top of :mod:`answers`) change it, and :meth:`Conversation.changes` returns what to
persist and what to publish. The invariants:

- at most one generation of a chat is active; while prompts are queued, one is (or the start of the first is deferred);
- prompts are answered one at a time, first in, first out;
- the same message, claim or end again changes nothing; an end of an older attempt changes nothing;
- the version goes up by one with each change that a reader can see.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Final

import msgspec
from msgspec.structs import replace

from chat_store.domain.records import (
    ACTIVE,
    ChatRecord,
    GenerationRecord,
    InvitationRecord,
    MemberRecord,
    MessageRecord,
    RejectionRecord,
    UsageRecord,
)
from chat_store.errors import Forbidden, NotFound
from parley.contracts import ids
from parley.contracts.access import policy
from parley.contracts.access.policy import ChatAction
from parley.contracts.resources import Role

NO_CHAT: Final = "There is no such chat."


def check_role(role: Role | None, action: ChatAction) -> Role:
    """Return a user's role in a chat, which allows the action.

    Raises:
        NotFound: the chat is not this user's.
        Forbidden: it is, and the role does not allow the action.
    """
    if role is None or not policy.may_in_chat(role, "read"):
        raise NotFound(NO_CHAT)
    if not policy.may_in_chat(role, action):
        raise Forbidden(
            "You may read this chat, and not write to it."
            if policy.may_in_chat("writer", action)
            else "Only the chat's owner may do this."
        )
    return role


class State(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a chat that a command needs.

    Attributes:
        active: Its active generation; ``answer`` is the message that it fills.
        prompt_parent_id: The parent of the prompt that is answered.
        next_queued: The first queued prompt; only loaded for commands that may end a generation.
        queued, queued_bytes: How many prompts are queued, and the bytes of their content and their completions.
        found: The messages that the command names, if they exist, and queued prompts whose answers are named.
        rejected: Prompts with the ids that the command names, which were rejected since the chat was busy.
        members: The members that the command names, if they are members.
        invitations: Their invitations, if they are invited.
        users: Those of the users whom the command names who exist and are not disabled.
        member_count: Members and invitations together. These four are loaded for commands that name users.
    """

    chat: ChatRecord
    active: GenerationRecord | None = None
    answer: MessageRecord | None = None
    prompt_parent_id: str | None = None
    next_queued: MessageRecord | None = None
    queued: int = 0
    queued_bytes: int = 0
    found: list[MessageRecord] = []
    rejected: list[RejectionRecord] = []
    members: list[MemberRecord] = []
    invitations: list[InvitationRecord] = []
    users: list[str] = []
    member_count: int = 0


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """The result of the commands on one chat.

    Attributes:
        since: The chat's version before; ``chat.version`` is one higher when a reader can see the change, else equal.
        messages: Added or changed, whole, in the order of the changes.
        generations: Added or changed, whole; ended ones first, or the one that follows would be a second active one.
        active: The active generation afterwards.
        request: The generation that must be requested.
        stop: The generation whose worker must get a stop signal.
        deleted: The chat was deleted, with everything in it.
        deleted_user: Whose active answer was deleted with it.
        waiting: Whose queued prompt may start next, when its start is deferred.
        rejected: Prompts that were rejected since the chat is busy, which other readers do not see.
        listed: Whether a list of chats shows the change: everything that readers can see, except attempts at an answer.
        members_changed: Users who have become members, or have another role.
        invitations_changed, invitations_removed: Invitations, which readers do not see.
        members: The members before the change; known once it is written.
    """

    since: int
    chat: ChatRecord
    messages: list[MessageRecord]
    generations: list[GenerationRecord]
    usage: list[UsageRecord]
    members_changed: list[MemberRecord]
    members_removed: list[str]
    active: GenerationRecord | None
    request: GenerationRecord | None
    stop: str | None
    invitations_changed: list[InvitationRecord] = []
    invitations_removed: list[str] = []
    rejected: list[RejectionRecord] = []
    deleted: bool = False
    deleted_user: str | None = None
    waiting: str | None = None
    listed: bool = True
    members: list[str] = []

    @property
    def visible(self) -> bool:
        """Whether a reader can see the change."""
        return self.chat.version != self.since


class Conversation:
    """The unit of work of one chat, for one transaction, in which at most one generation may end.

    Args:
        state: What was loaded, as of one moment.
        now: The time of the transaction.
        new_id: Creates the ids of answers and generations.

    Attributes:
        messages, members: Those that the command names, by id, with the changes so far.
        since, request, deleted, deleted_user, waiting, stop_signal: As in :class:`Changes`; the last is its ``stop``.
        defers: Whether prompts are queued, and no queued prompt is started: others of its author may come first.
    """

    def __init__(self, state: State, *, now: datetime, new_id: Callable[[], str] = ids.new_id) -> None:
        self.chat = state.chat
        self.since = state.chat.version
        self.active = state.active
        self.answer = state.answer
        self._prompt_parent_id = state.prompt_parent_id
        self.next_queued = state.next_queued
        self.queued = state.queued
        self.queued_bytes = state.queued_bytes
        self.messages = {message.id: message for message in state.found}
        self._rejected = {(rejection.message_id, rejection.user_id) for rejection in state.rejected}
        self.members = {member.user_id: member for member in state.members}
        self.invitations = {invitation.user_id: invitation for invitation in state.invitations}
        self.users = frozenset(state.users)
        self.member_count = state.member_count
        self.now = now
        self.new_id = new_id
        self._visible = False
        self._listed = False
        self._changed: dict[str, MessageRecord] = {}
        self._generations: dict[str, GenerationRecord] = {}
        self.usage: list[UsageRecord] = []
        self._members_changed: dict[str, MemberRecord] = {}
        self._members_removed: set[str] = set()
        self._invitations_changed: dict[str, InvitationRecord] = {}
        self._invitations_removed: set[str] = set()
        self._rejections: list[RejectionRecord] = []
        self.request: GenerationRecord | None = None
        self.stop_signal: str | None = None
        self.deleted = False
        self.deleted_user: str | None = None
        self.defers = False
        self.waiting: str | None = None

    @property
    def running(self) -> bool:
        return self.active is not None

    @property
    def busy(self) -> bool:
        """Whether an answer is active or prompts are queued."""
        return self.active is not None or self.queued > 0

    @property
    def parent_of_running(self) -> str | None:
        """The parent of the prompt whose answer is active."""
        if self.answer is None or self.answer.parent_id is None:
            raise AssertionError("no prompt is answered")
        prompt = self.messages.get(self.answer.parent_id)
        return self._prompt_parent_id if prompt is None else prompt.parent_id

    def role_of(self, user_id: str) -> Role | None:
        member = self.members.get(user_id)
        return None if member is None else member.role

    def require(self, user_id: str, action: ChatAction) -> Role:
        """As :func:`check_role`, for the role of the user."""
        return check_role(self.role_of(user_id), action)

    def changes(self) -> Changes | None:
        """Return what to persist and publish; None when nothing changed."""
        touched = (
            self._visible
            or self._generations
            or self._invitations_changed
            or self._invitations_removed
            or self._rejections
            or self.stop_signal is not None
        )
        if not touched:
            return None
        return Changes(
            since=self.since,
            chat=replace(self.chat, revision=self.chat.revision + 1),
            messages=list(self._changed.values()),
            generations=sorted(self._generations.values(), key=lambda generation: generation.status in ACTIVE),
            usage=self.usage,
            members_changed=list(self._members_changed.values()),
            members_removed=sorted(self._members_removed),
            invitations_changed=list(self._invitations_changed.values()),
            invitations_removed=sorted(self._invitations_removed),
            rejected=self._rejections,
            active=self.active,
            request=self.request,
            stop=self.stop_signal,
            deleted=self.deleted,
            deleted_user=self.deleted_user,
            waiting=self.waiting,
            listed=self._listed,
        )

    def queued_with_answer(self, answer_id: str) -> MessageRecord | None:
        """Return the queued prompt, of those that the command names, whose answer gets this id."""
        queued = (message for message in self.messages.values() if message.status == "queued")
        return next((message for message in queued if message.answer_id == answer_id), None)

    def active_generation(self, generation_id: str) -> GenerationRecord | None:
        """Return the generation, if it is the active one."""
        return self.active if self.active is not None and self.active.id == generation_id else None

    def touch(self, *, listed: bool = True) -> None:
        """Raise the version, once: readers see the change; with ``listed``, in lists of chats, too."""
        self._listed = self._listed or listed
        if not self._visible:
            self._visible = True
            self.chat = replace(self.chat, version=self.since + 1, updated_at=self.now)

    def change_chat(self, **fields: str | None) -> None:
        self.touch()
        self.chat = replace(self.chat, **fields)

    def put_message(self, message: MessageRecord, *, listed: bool = True) -> MessageRecord:
        """Add or replace a message."""
        self.touch(listed=listed)
        message = replace(message, version=self.chat.version)
        self.messages[message.id] = self._changed[message.id] = message
        return message

    def put_generation(
        self, generation: GenerationRecord, *, visible: bool = True, listed: bool = True
    ) -> GenerationRecord:
        """Add or replace the active generation."""
        if visible:
            self.touch(listed=listed)
        self._generations[generation.id] = generation
        self.active = generation
        return generation

    def is_rejected(self, message_id: str, user_id: str) -> bool:
        """Return whether a prompt was rejected before because the chat was busy."""
        return (message_id, user_id) in self._rejected

    def reject(self, message_id: str, user_id: str) -> None:
        """Reject a prompt because the chat is busy. No reader sees it, so the version stays."""
        self._rejected.add((message_id, user_id))
        self._rejections.append(RejectionRecord(chat_id=self.chat.id, message_id=message_id, user_id=user_id))

    def put_member(self, member: MemberRecord) -> MemberRecord:
        """Add a member, or give a member another role."""
        self.touch()
        self.member_count += member.user_id not in self.members
        self._members_removed.discard(member.user_id)
        self.members[member.user_id] = self._members_changed[member.user_id] = member
        return member

    def remove_member(self, user_id: str) -> None:
        self.touch()
        self.member_count -= 1
        del self.members[user_id]
        self._members_changed.pop(user_id, None)
        self._members_removed.add(user_id)

    def put_invitation(self, invitation: InvitationRecord) -> InvitationRecord:
        """Invite a user, or change the role of an invitation. No reader sees it, so the version stays."""
        self.member_count += invitation.user_id not in self.invitations
        self._invitations_removed.discard(invitation.user_id)
        self.invitations[invitation.user_id] = self._invitations_changed[invitation.user_id] = invitation
        return invitation

    def remove_invitation(self, user_id: str) -> InvitationRecord | None:
        """Remove an invitation and return it; None: there is none."""
        invitation = self.invitations.pop(user_id, None)
        if invitation is not None:
            self.member_count -= 1
            self._invitations_changed.pop(user_id, None)
            self._invitations_removed.add(user_id)
        return invitation

    def next_position(self) -> int:
        """Return a position after every message that is not queued."""
        self.touch()
        self.chat = replace(self.chat, last_position=self.chat.last_position + 1)
        return self.chat.last_position
