"""Settings of chat-store, read from the environment."""

from pydantic import Field

from parley.runtime.settings import MigratedServiceSettings, ServiceSettings


class Settings(MigratedServiceSettings):
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
    shutdown_grace: float = Field(10.0, description="seconds for running requests and events to finish", gt=0)


class MigrateSettings(ServiceSettings):
    database_url: str = Field(description="Postgres, with a role that may change the schema")
    stream_replicas: int = Field(1, description="copies of each stream: 3 on a NATS cluster", ge=1, le=5)
    ack_wait: float | None = Field(None, description="seconds without a heartbeat until an answer is redelivered", gt=0)
    migrate_timeout: float = Field(60.0, description="seconds to wait for Postgres and NATS to answer", gt=0)
