"""The position in a stored chat of a client that sends its whole conversation with each request."""

import contextlib
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import dropwhile, pairwise
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from gateway.bus.store_client import StoreClient
from gateway.errors import Conflict, NotFound
from parley.contracts import rpc
from parley.contracts.completion import WhenBusy
from parley.contracts.ids import derived_id
from parley.contracts.limits import MAX_PAGE
from parley.contracts.resources import Chat, Message

RUNNING = ("pending", "streaming")
"""The states of an answer that has not ended."""


@dataclass(frozen=True, kw_only=True)
class Given:
    """An earlier message that the client sends with its newest one.

    Attributes:
        ids: The ids under which it may be stored.
        place: Where it is in the request, such as ``messages[2]``.
    """

    role: Literal["user", "assistant"]
    ids: tuple[str, ...]
    place: str


@dataclass(frozen=True, kw_only=True)
class Branch:
    """The newest messages of a chat.

    Attributes:
        chat: Null: there is none yet.
    """

    chat: Chat | None = None
    messages: Sequence[Message] = ()

    @cached_property
    def _by_id(self) -> dict[str, Message]:
        return {message.id: message for message in self.messages}

    def find(self, given: Given) -> Message | None:
        """Return the stored message."""
        return next((self._by_id[each] for each in given.ids if each in self._by_id), None)

    def before_newest(self, given: Sequence[Given]) -> list[Given]:
        """Return the messages before the newest one that can be in a chat.

        What the page itself says before the first prompt is in none, and neither is a prompt that was refused, or did
        not arrive: another one follows it at once.
        """
        kept = [each for each, next_ in pairwise(given) if not each.role == next_.role == "user" or self._has(each)]
        return list(dropwhile(lambda each: each.role == "assistant" and not self._has(each), kept))

    def check(self, given: Sequence[Given]) -> None:
        """Check the client's messages against the stored ones, as far back as those are known.

        An answer may be missing: the client stopped reading before it began. Its text is not compared: the client
        may have read a part of it.

        Raises:
            Conflict: the client has another conversation than the chat.
        """
        left = list(given)
        while left and (last := self.find(left[-1])) is not None and last.status == "queued":
            left.pop()
        if not left:
            return
        message = self.find(left[-1])
        if message is None:
            raise _differs(left[-1])
        while left:
            if message.id in left[-1].ids:
                left.pop()
            elif message.role == "user" and not self._continues(message):
                raise _differs(left[-1])
            if message.parent_id is None:
                break
            if message.parent_id not in self._by_id:
                return
            message = self._by_id[message.parent_id]
        if left:
            raise _differs(left[-1])

    def answers_from(self, message: Message) -> list[Message]:
        """Return the answers of the turn whose prompt or first answer is ``message``; empty: there is none yet.

        An answer that called tools of the client is followed by the answer to their results.
        """
        answers = [message] if message.role == "assistant" else []
        while True:
            children = [child for child in self.messages if child.parent_id == message.id]
            following = [child for child in children if child.role == "assistant" or self._continues(child)]
            if not following:
                return answers
            message = following[-1]
            if message.role == "assistant":
                answers.append(message)

    def answer_to_stop(self, message: Message, when_busy: WhenBusy) -> Message | None:
        """Return the running answer that is stopped when another one to ``message`` is asked for.

        It is one to that message; or any, or none, as the client chose.
        """
        replaced = self.messages if when_busy in ("interrupt", "rollback") else self.answers_from(message)[-1:]
        running = [each for each in replaced if each.status in RUNNING]
        return running[-1] if running and when_busy != "reject" else None

    def parent_for(self, given: Sequence[Given]) -> str | None | UnsetType:
        """Return ``NewTurn.parent_id`` of a prompt that follows the client's messages."""
        answer = self._answer_of(given)
        return UNSET if answer is None or self.chat is None or answer.id == self.chat.tip_id else answer.id

    def results_for(self, message: Message, outputs: Mapping[str, str]) -> tuple[Message, list[dict[str, Any]]]:
        """Return the answer that waits for results of tools, and the results as messages of a chat completion.

        Args:
            message: The first answer of the turn.
            outputs: The client's results, by the ids of the calls.

        Raises:
            Conflict: no answer waits for them.
        """
        for answer in reversed(self.answers_from(message)):
            calls = [call for call in answer.tool_calls if call.server is None]
            if calls and all(call.id in outputs for call in calls):
                return answer, _results(answer, outputs)
        raise Conflict("The last answer did not call the tools whose results are sent, or called others, too.")

    def results_before(self, given: Sequence[Given], outputs: Mapping[str, str]) -> list[dict[str, Any]]:
        """Return the results of tools that a prompt behind ``given`` brings along, as :meth:`results_for`; some, or
        none, of those that the answer before it waits for."""
        answer = self._answer_of(given)
        return [] if answer is None else _results(answer, outputs)

    def _answer_of(self, given: Sequence[Given]) -> Message | None:
        """Return the last answer of the turn that the client's messages end with."""
        last = self.find(given[-1]) if given else None
        answers = [] if last is None else self.answers_from(last)
        return answers[-1] if answers else None

    def _has(self, given: Given) -> bool:
        message = self.find(given)
        return message is not None and message.status != "deleted"

    def _continues(self, message: Message) -> bool:
        """Return whether a prompt consists only of the results of tools that the answer before it called."""
        before = self._by_id.get(message.parent_id or "")
        called = before is not None and any(call.server is None for call in before.tool_calls)
        return message.role == "user" and message.content == "" and called


async def read_branch(store: StoreClient, user_id: str, chat_id: str, given: Sequence[Given]) -> Branch:
    """Read the newest messages of a chat, including those that were accepted and not stored yet."""
    if given and given[-1].role == "user":
        # Its reply covers prompts that are not stored yet.
        with contextlib.suppress(NotFound):
            await store.ask(rpc.GetMessage(user_id=user_id, chat_id=chat_id, message_id=given[-1].ids[0]))
    try:
        chat = (await store.ask(rpc.GetChat(user_id=user_id, chat_id=chat_id))).chat
    except NotFound:
        return Branch()
    page = await store.ask(rpc.ListMessages(user_id=user_id, chat_id=chat_id, limit=MAX_PAGE))
    return Branch(chat=chat, messages=page.items)


def prompt_id_of(protocol: str, user_id: str, chat_id: str, message_id: str, content: Any) -> str:
    """Return the id of a user's message. One that was edited has its id still, and is another message.

    The order of the members is not the client's to keep: a page's database may have sorted them.
    """
    digest = hashlib.sha256(msgspec.json.encode(content, order="deterministic")).hexdigest()
    return derived_id(user_id, f"{protocol} message", f"{chat_id}\n{message_id}\n{digest}")


def results_id_of(protocol: str, user_id: str, answer: Message, results: Sequence[dict[str, Any]]) -> str:
    """Return the id of the prompt with the results of tools: the same results again are the same turn."""
    digest = hashlib.sha256(msgspec.json.encode(results)).hexdigest()
    return derived_id(user_id, f"{protocol} results", f"{answer.id}\n{digest}")


def _results(answer: Message, outputs: Mapping[str, str]) -> list[dict[str, Any]]:
    return [
        {"role": "tool", "tool_call_id": call.id, "content": outputs[call.id]}
        for call in answer.tool_calls
        if call.server is None and call.id in outputs
    ]


def _differs(given: Given) -> Conflict:
    return Conflict(
        f"{given.place} differs from the message of the chat. "
        "Read the chat again, and send the new message after its last one."
    )
