"""Limits that two services must agree on.

All of them follow from NATS' default ``max_payload`` of 1 MiB, which Parley must fit into on a server that it did not
configure: whatever is accepted can be published, answered and finished.
"""

MAX_PROMPT_BYTES = 128 * 1024
"""The longest prompt, in bytes of UTF-8. JSON may spell one byte with six, and 768 KiB still fit."""

MAX_TURN_BYTES = 768 * 1024
"""The longest prompt together with its completion, in bytes as JSON."""

MAX_ANSWER_BYTES = 600 * 1024
"""The longest answer: text and reasoning together, in bytes as JSON. A longer one ends there, as ``complete``."""

MAX_REPLY_BYTES = 900 * 1024
"""The longest ``rpc`` reply, in bytes. Pages are cut short to stay below it."""

MAX_TITLE_LENGTH = 200
"""Characters of a chat's title."""

MAX_SYSTEM_PROMPT_BYTES = 32 * 1024
MAX_MODEL_LENGTH = 200
MAX_MEMBERS = 100
"""Members of one chat, its owner included."""

MAX_QUEUED_PROMPTS = 1000
"""Prompts of one chat that wait for their turn."""

MAX_PAGE = 100
"""Items of one page of a list."""

MAX_ATTEMPTS = 3
"""How many attempts an answer gets; one that was released does not count."""

# Which limit of an operator refused a prompt, an answer or a chat: the ``reason`` of an ``RpcError``, the code of a
# problem with status 429, and the code of the error of a message that was accepted before.
TOO_MANY_PROMPTS = "too_many_prompts"
TOO_MANY_ANSWERS = "too_many_answers"
TOO_MANY_CHATS = "too_many_chats"
QUEUE_FULL = "queue_full"
BUDGET_SPENT = "budget_spent"
REASONS = (TOO_MANY_PROMPTS, TOO_MANY_ANSWERS, TOO_MANY_CHATS, QUEUE_FULL, BUDGET_SPENT)

MODEL_NOT_ALLOWED = "model_not_allowed"
"""The same for a model that the user may not use; status 403."""
