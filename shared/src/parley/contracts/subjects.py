"""Every NATS subject of Parley, built here and nowhere else.

``TEMPLATES`` names them with placeholders: use those as labels of metrics and spans, never the concrete subject, or
each chat becomes a time series.
"""

from typing import Final
from urllib.parse import quote

TEMPLATES: Final[dict[str, str]] = {
    "prompt_submitted": "chat.{chat}.prompt.submitted",
    "generation_requested": "chat.{chat}.generation.requested",
    "generation_segment": "chat.{chat}.generation.segment",
    "generation_finished": "chat.{chat}.generation.finished",
    "live_delta": "live.{chat}.delta",
    "live_generation": "live.{chat}.generation",
    "live_changed": "live.{chat}.changed",
    "live_rejected": "live.{chat}.rejected",
    "live_presence": "live.{chat}.presence",
    "user_chats": "user.{user}.chats",
    "rpc_store": "rpc.store.{verb}",
    "rpc_models_list": "rpc.models.list",
    "rpc_generation_snapshot": "rpc.generation.{generation}.snapshot",
    "ctl_generation_stop": "ctl.generation.{generation}.stop",
    "ctl_generation_decided": "ctl.generation.{generation}.decided",
    "ctl_search_cancel": "ctl.search.{search}.cancel",
    "ctl_ticket_used": "ctl.ticket.used",
    "ctl_identity_revoked": "ctl.identity.revoked",
    "dead_letter": "dead.{consumer}.{chat}",
    "audit": "audit.{kind}",
    "write_probe": "probe.chat",
}

ANY_PROMPT_SUBMITTED: Final = "chat.*.prompt.submitted"
ANY_GENERATION_REQUESTED: Final = "chat.*.generation.requested"
ANY_GENERATION_SEGMENT: Final = "chat.*.generation.segment"
ANY_GENERATION_FINISHED: Final = "chat.*.generation.finished"
ANY_LIVE_REJECTED: Final = "live.*.rejected"
ANY_DEAD_LETTER: Final = "dead.>"
ANY_AUDIT: Final = "audit.*"
ANY_MAX_DELIVERIES: Final = "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.>"

RPC_MODELS_LIST: Final = "rpc.models.list"
CTL_TICKET_USED: Final = "ctl.ticket.used"
CTL_IDENTITY_REVOKED: Final = "ctl.identity.revoked"

WRITE_PROBE: Final = "probe.chat"
"""Stored by the stream CHAT and taken by nobody: whether the stream can be written."""


def prompt_submitted(chat_id: str) -> str:
    return f"chat.{chat_id}.prompt.submitted"


def generation_requested(chat_id: str) -> str:
    return f"chat.{chat_id}.generation.requested"


def generation_segment(chat_id: str) -> str:
    return f"chat.{chat_id}.generation.segment"


def generation_finished(chat_id: str) -> str:
    return f"chat.{chat_id}.generation.finished"


def live(chat_id: str) -> str:
    """All live traffic of a chat: what a push room subscribes to."""
    return f"live.{chat_id}.>"


def live_delta(chat_id: str) -> str:
    return f"live.{chat_id}.delta"


def live_generation(chat_id: str) -> str:
    return f"live.{chat_id}.generation"


def live_changed(chat_id: str) -> str:
    return f"live.{chat_id}.changed"


def live_rejected(chat_id: str) -> str:
    return f"live.{chat_id}.rejected"


def live_presence(chat_id: str) -> str:
    return f"live.{chat_id}.presence"


def user_chats(user_id: str) -> str:
    """What happens to the chats of a user, whoever causes it. Of an id, what is special in a subject is quoted."""
    return f"user.{quote(user_id, safe='').replace('.', '%2E')}.chats"


def rpc_store(verb: str) -> str:
    """The subject of a request to chat-store; ``verb`` is the ``VERB`` of a request in :mod:`parley.contracts.rpc`."""
    return f"rpc.store.{verb}"


def rpc_generation_snapshot(generation_id: str) -> str:
    return f"rpc.generation.{generation_id}.snapshot"


def ctl_generation_stop(generation_id: str) -> str:
    return f"ctl.generation.{generation_id}.stop"


def ctl_generation_decided(generation_id: str) -> str:
    return f"ctl.generation.{generation_id}.decided"


def ctl_search_cancel(search_id: str) -> str:
    return f"ctl.search.{search_id}.cancel"


def dead_letter(consumer: str, chat_id: str) -> str:
    """Where the durable consumer named ``consumer`` puts what it cannot handle of a chat."""
    return f"dead.{consumer}.{chat_id}"


def audit(kind: str) -> str:
    """The subject of an event of :mod:`parley.contracts.access.audit`."""
    return f"audit.{kind}"


def generations_of_chat(chat_id: str) -> str:
    """Requests for answers, segments and ends of a chat."""
    return f"chat.{chat_id}.generation.>"


def dead_letters_of_chat(chat_id: str) -> str:
    return f"dead.*.{chat_id}"


def chat_of(subject: str) -> str:
    """Return the chat that a durable subject (``chat.<chat>.…``) is of."""
    return subject.split(".")[1]
