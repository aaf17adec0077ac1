"""One chat and the worker of its running answer, as a script moves them: what rooms are tested against."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

import msgspec

from parley.contracts.assembly import extend_layout, merge_tool
from parley.contracts.completion import Span, ToolCall, ToolDelta
from parley.contracts.frames import Delta, Generation, Kind
from parley.contracts.live import Changed
from parley.contracts.resources import Chat, GenerationRef, Message, MessageStatus, Role
from parley.contracts.rpc import GenerationSnapshot, SyncReply

CHAT_ID = "01890a5d-ac96-774b-bcce-b302099a8057"
BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Chunk:
    kind: Kind
    text: str
    tool: ToolDelta | None = None


class Said(NamedTuple):
    text: str
    reasoning: str
    calls: list[ToolCall]
    layout: list[Span]


@dataclass
class Attempt:
    """What the worker of one attempt has said, and where its deltas ended."""

    chunks: list[Chunk] = field(default_factory=list)

    def until(self, seq: int) -> Said:
        said = Said("", "", [], [])
        for chunk in self.chunks[:seq]:
            if chunk.tool is not None:
                if merge_tool(said.calls, chunk.tool):
                    extend_layout(said.layout, "tool")
                continue
            extend_layout(said.layout, chunk.kind, len(chunk.text))
            if chunk.kind == "text":
                said = said._replace(text=said.text + chunk.text)
            else:
                said = said._replace(reasoning=said.reasoning + chunk.text)
        return said


class ScriptedChat:
    """The truth of one chat, and its running answer's worker."""

    def __init__(self, chat_id: str = CHAT_ID, members: tuple[str, ...] = ("ann", "ben")) -> None:
        self.chat_id = chat_id
        self.version = 1
        self.members = list(members)
        self.roles: dict[str, Role] = {}
        self.messages: dict[str, Message] = {}
        self.ref: GenerationRef | None = None
        self.attempts: dict[tuple[str, int], Attempt] = {}
        self.page_size = 6
        self._made = 0

    @property
    def chat(self) -> Chat:
        return Chat(
            id=self.chat_id,
            owner_id=self.members[0],
            title="A chat",
            model=None,
            system_prompt=None,
            tip_id=None,
            created_at=BEGINNING,
            updated_at=BEGINNING,
            version=self.version,
            running=self.ref is not None,
        )

    # --- what happens to it ------------------------------------------------------------------------------------------

    def rename(self) -> Changed:
        return self._change([])

    def submit(self) -> Changed:
        """A prompt, and with none running the pending answer to it: two messages in one change."""
        if self.ref is not None:
            return self._change([self._message("user", "queued")])
        prompt, answer = self._message("user", "sent"), self._message("assistant", "pending")
        self.ref = GenerationRef(
            generation_id=f"g-{self.chat_id[-12:]}-{answer.id}", message_id=answer.id, attempt=0, status="requested"
        )
        return self._change([prompt, answer])

    def claim(self, *, announced: bool) -> tuple[Changed | None, Generation]:
        """A worker takes the answer; ``announced``: the chat changes by it."""
        assert self.ref is not None
        self.ref = msgspec.structs.replace(self.ref, attempt=self.ref.attempt + 1, status="running")
        self.attempts[self.ref.generation_id, self.ref.attempt] = Attempt()
        changed = None
        if announced:
            changed = self._change([self._edit(self.ref.message_id, "streaming")])
        started = Generation(
            chat_id=self.chat_id,
            generation_id=self.ref.generation_id,
            message_id=self.ref.message_id,
            attempt=self.ref.attempt,
            status="started",
        )
        return changed, started

    def say(self, kind: Kind, chunks: int) -> Delta:
        """The worker reads so many chunks at once."""
        assert self.ref is not None
        attempt = self.attempts[self.ref.generation_id, self.ref.attempt]
        from_ = len(attempt.chunks) + 1
        for number in range(from_, from_ + chunks):
            attempt.chunks.append(Chunk(kind, f"‹{self.ref.attempt}.{number}›"))
        return Delta(
            chat_id=self.chat_id,
            generation_id=self.ref.generation_id,
            attempt=self.ref.attempt,
            from_=from_,
            to=from_ + chunks - 1,
            kind=kind,
            text="".join(chunk.text for chunk in attempt.chunks[from_ - 1 :]),
        )

    def use_tool(self, news: Literal["begin", "arguments", "result"]) -> Delta | None:
        """The worker has news of its newest call; None: there is no call."""
        assert self.ref is not None
        attempt = self.attempts[self.ref.generation_id, self.ref.attempt]
        seq = len(attempt.chunks) + 1
        calls = attempt.until(seq).calls
        if news == "begin":
            tool = ToolDelta(index=len(calls), call=ToolCall(id=f"call-{seq}", name="clock"), arguments=f"‹{seq}›")
        elif not calls:
            return None
        elif news == "arguments":
            tool = ToolDelta(index=len(calls) - 1, arguments=f"‹{seq}›")
        else:
            call = msgspec.structs.replace(calls[-1], status="complete", result=f"result-{seq}")
            tool = ToolDelta(index=len(calls) - 1, call=call)
        attempt.chunks.append(Chunk("text", "", tool))
        return Delta(
            chat_id=self.chat_id,
            generation_id=self.ref.generation_id,
            attempt=self.ref.attempt,
            from_=seq,
            to=seq,
            kind="text",
            text="",
            tool=tool,
        )

    def finish(self) -> Changed:
        assert self.ref is not None
        ref, self.ref = self.ref, None
        text, reasoning, *_ = self.attempts.get((ref.generation_id, ref.attempt), Attempt()).until(10**9)
        return self._change([self._edit(ref.message_id, "complete", text, reasoning)])

    def remove(self, user_id: str) -> Changed:
        self.members.remove(user_id)
        return self._change([], removed=[user_id])

    def add(self, user_id: str) -> Changed:
        self.members.append(user_id)
        return self._change([])

    def set_role(self, user_id: str, role: Role) -> Changed:
        self.roles[user_id] = role
        return self._change([], roles={user_id: role})

    def delete(self) -> Changed:
        self.version += 1
        return Changed(chat_id=self.chat_id, since=self.version - 1, version=self.version, chat=None, messages=[])

    # --- what it answers ---------------------------------------------------------------------------------------------

    def sync(self, after: int | None) -> SyncReply:
        messages = list(self.messages.values())
        recovered = False
        more = None
        if after is not None and after <= self.version:
            changed = [message for message in messages if message.version > after]
            if len(changed) <= self.page_size:
                messages, recovered = changed, True
        if not recovered and len(messages) > self.page_size:
            messages = messages[-self.page_size :]
            more = messages[0].id
        return SyncReply(
            version=self.version,
            recovered=recovered,
            chat=self.chat,
            members=list(self.members),
            roles={user_id: self.roles.get(user_id, "writer") for user_id in self.members},
            messages=messages,
            generation=self.ref,
            next=more,
        )

    def snapshot(self, generation_id: str) -> GenerationSnapshot | None:
        """The worker's answer; None: nobody owns that generation."""
        ref = self.ref
        if ref is None or ref.generation_id != generation_id or ref.attempt == 0:
            return None
        attempt = self.attempts[generation_id, ref.attempt]
        said = attempt.until(len(attempt.chunks))
        return GenerationSnapshot(
            generation_id=generation_id,
            message_id=ref.message_id,
            attempt=ref.attempt,
            status="running",
            seq=len(attempt.chunks),
            text=said.text,
            reasoning=said.reasoning,
            tool_calls=said.calls,
            layout=said.layout,
        )

    # --- within ------------------------------------------------------------------------------------------------------

    def _message(self, role: Literal["user", "assistant"], status: MessageStatus) -> Message:
        self._made += 1
        message = Message(
            id=f"m{self._made:04}",
            chat_id=self.chat_id,
            parent_id=None,
            role=role,
            author_id=self.members[0] if role == "user" else None,
            content="Hello" if role == "user" else "",
            reasoning="",
            status=status,
            model=None,
            error=None,
            usage=None,
            created_at=BEGINNING + timedelta(seconds=self._made),
            version=self.version + 1,
        )
        self.messages[message.id] = message
        return message

    def _edit(self, message_id: str, status: MessageStatus, content: str = "", reasoning: str = "") -> Message:
        message = self.messages[message_id] = msgspec.structs.replace(
            self.messages[message_id],
            status=status,
            content=content,
            reasoning=reasoning,
            version=self.version + 1,
        )
        return message

    def _change(
        self, messages: list[Message], removed: list[str] | None = None, roles: dict[str, Role] | None = None
    ) -> Changed:
        self.version += 1
        return Changed(
            chat_id=self.chat_id,
            since=self.version - 1,
            version=self.version,
            chat=self.chat,
            messages=messages,
            generation=self.ref,
            removed_members=removed or [],
            roles=roles or {},
        )
