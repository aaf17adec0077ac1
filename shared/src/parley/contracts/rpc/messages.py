"""Requests about messages, Stop and search."""

from typing import ClassVar, Literal

import msgspec

from parley.contracts.completion import CompletionRequest
from parley.contracts.requests import Done, ReplyBase, StoreRequest
from parley.contracts.resources import Message


class MessageReply(ReplyBase, frozen=True, kw_only=True, tag="message"):
    message: Message


class MessageList(ReplyBase, frozen=True, kw_only=True, tag="message_list"):
    """Oldest first within the page; ``next`` leads to older ones.

    Attributes:
        completions: By the ids of prompts, where the request asks for them.
    """

    items: list[Message]
    next: str | None
    completions: dict[str, CompletionRequest] = msgspec.field(default_factory=dict)


class SearchHit(msgspec.Struct, frozen=True, kw_only=True):
    """A message that matches, with an excerpt in plain text around the match."""

    chat_id: str
    chat_title: str | None
    message_id: str
    role: Literal["user", "assistant"]
    excerpt: str


class SearchReply(ReplyBase, frozen=True, kw_only=True, tag="search"):
    items: list[SearchHit]
    next: str | None


class ListMessages(StoreRequest[MessageList], frozen=True, kw_only=True):
    """List the messages of a chat; the newest page first, oldest first within it.

    Attributes:
        completions: Return the prompts' completions, too; fewer messages fit into a page.
    """

    VERB: ClassVar = "list_messages"
    user_id: str
    chat_id: str
    before: str | None = None
    limit: int = 50
    completions: bool = False


class GetMessage(StoreRequest[MessageReply], frozen=True, kw_only=True):
    """Read one message. The author of a prompt that was accepted and not stored gets it as ``rejected``.

    The reply covers every prompt that was accepted before the request.
    """

    VERB: ClassVar = "get_message"
    user_id: str
    chat_id: str
    message_id: str


class TurnReply(ReplyBase, frozen=True, kw_only=True, tag="turn"):
    """A prompt and one of its answers.

    Attributes:
        prompt: ``rejected`` when it was not stored.
        answer: Null while the prompt is queued, and when it was rejected or deleted.
        completion: Of the prompt; null where there is none.
        chat_version: Of the chat when this was read.
        cut: The whole does not fit into a reply: the completion comes without ``context`` and ``parts``, which
            ``GetTurn.without_answer`` returns.
    """

    prompt: Message
    answer: Message | None
    completion: CompletionRequest | None
    chat_version: int
    cut: bool = False


class GetTurn(StoreRequest[TurnReply], frozen=True, kw_only=True):
    """Read the turn of an answer, or of a prompt and its first answer.

    The reply covers every prompt that was accepted before the request.

    Attributes:
        message_id: The prompt's, or the answer's, also one that a queued prompt names (``answer_id``).
        without_answer: Return the prompt and its completion, whole, and no answer.
    """

    VERB: ClassVar = "get_turn"
    user_id: str
    chat_id: str
    message_id: str
    without_answer: bool = False


class Regenerate(StoreRequest[MessageReply], frozen=True, kw_only=True):
    """Create another answer: a sibling of ``message_id`` (an ended answer), or to it (a prompt).

    ``conflict`` while an answer is active in the chat.

    ``answer_id`` names the new answer: the same one again changes nothing.
    """

    VERB: ClassVar = "regenerate"
    user_id: str
    chat_id: str
    message_id: str
    answer_id: str
    model: str | None = None


class DeleteMessage(StoreRequest[Done], frozen=True, kw_only=True):
    """Delete a queued prompt; ``conflict`` when it has started."""

    VERB: ClassVar = "delete_message"
    user_id: str
    chat_id: str
    message_id: str


class Stop(StoreRequest[Done], frozen=True, kw_only=True):
    """Stop the active generation; with none active, nothing happens. Queued prompts then start.

    It covers every prompt that was accepted before the request, stored or not.

    Attributes:
        message_id: Stop only this answer, or the first answer to this prompt; with another one active, nothing happens.
    """

    VERB: ClassVar = "stop"
    user_id: str
    chat_id: str
    message_id: str | None = None


class Search(StoreRequest[SearchReply], frozen=True, kw_only=True):
    """Search the messages of a user's chats, the best match first; ``ctl.search.<search_id>.cancel`` cancels it."""

    VERB: ClassVar = "search"
    user_id: str
    query: str
    before: str | None = None
    limit: int = 20
    search_id: str | None = None


class CancelSearch(msgspec.Struct, frozen=True, kw_only=True):
    """Cancel a search whose caller has given up; there is no reply."""
