"""Settings of chat-store, read from the environment."""

from typing import Annotated

from pydantic import Field

from chat_store.domain.limits import Limits
from parley.contracts.limits import MAX_QUEUED_PROMPTS
from parley.runtime.settings import ModelSettings, ServiceSettings


class Settings(ModelSettings):
    database_url: str = Field(
        description="Postgres; not through a pooler that shares sessions (PgBouncer: session mode)"
    )
    database_pool_size: int = Field(10, description="connections at most", ge=2)
    database_acquire_timeout: float = Field(
        2.0, description="seconds to wait for a connection before `unavailable`", gt=0
    )
    database_command_timeout: float = Field(10.0, description="seconds that a statement may take", gt=0)
    search_pool_size: int = Field(2, description="searches at once, each with a connection of its own", ge=1)
    search_timeout: float = Field(
        2.0, description="seconds that a search may be queued, and seconds that it may run", gt=0
    )
    prompt_batch: int = Field(256, description="prompts persisted in one transaction, at most", ge=1)
    orphan_after: float = Field(
        25.0, description="seconds of silence of a connected worker after which its answer is requested again", gt=0
    )
    forget_guests_after: float = Field(
        90.0, description="days without a visit after which a guest who is in no chat is removed; 0: never", ge=0
    )
    retention_days: float = Field(
        0.0, description="days without a change after which a chat is deleted, for all its members; 0: never", ge=0
    )
    shutdown_grace: float = Field(10.0, description="seconds for running requests and events to finish", gt=0)
    prompts_per_minute: int = Field(
        0, description="prompts and regenerated answers of one user in a minute; 0: no limit", ge=0
    )
    answers_per_user: int = Field(
        0, description="answers of one user at once; further prompts are queued; 0: no limit", ge=0
    )
    chats_per_user: int = Field(0, description="chats that one user may own; 0: no limit", ge=0)
    tokens_per_day: int = Field(0, description="tokens of one user in a day (UTC), input and output; 0: no limit", ge=0)
    tokens_per_day_of_groups: dict[str, Annotated[int, Field(ge=0)]] = Field(
        {}, description='instead, for members of a group; the largest counts: JSON such as {"staff": 1000000}'
    )
    queued_prompts_per_chat: int = Field(
        MAX_QUEUED_PROMPTS, description="queued prompts of one chat", ge=1, le=MAX_QUEUED_PROMPTS
    )
    queued_bytes_per_chat: int = Field(
        0,
        description="bytes of the queued prompts of one chat, with what they ask for in addition to text; 0: no limit",
        ge=0,
    )

    @property
    def limits(self) -> Limits:
        return Limits(
            prompts_per_minute=self.prompts_per_minute,
            answers_per_user=self.answers_per_user,
            chats_per_user=self.chats_per_user,
            tokens_per_day=self.tokens_per_day,
            tokens_per_day_of_groups=self.tokens_per_day_of_groups,
            queued_prompts=self.queued_prompts_per_chat,
            queued_bytes=self.queued_bytes_per_chat,
            catalog=self.catalog,
        )


class MigrateSettings(ServiceSettings):
    database_url: str = Field(description="Postgres, with a role that may change the schema")
    stream_replicas: int = Field(1, description="copies of each stream: 3 on a NATS cluster", ge=1, le=5)
    ack_wait: float | None = Field(None, description="seconds without a heartbeat until an answer is redelivered", gt=0)
    migrate_timeout: float = Field(60.0, description="seconds to wait for Postgres and NATS to answer", gt=0)
