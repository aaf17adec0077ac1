-- runs-with: 1
-- Chats, their tree of messages, and the generations that answer them.

CREATE TABLE chats (
    id            uuid        PRIMARY KEY,
    owner_id      text        NOT NULL,
    title         text,
    model         text,
    system_prompt text,
    tip_id        uuid,
    created_at    timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL,
    -- Raised by each change that a reader can see.
    version       bigint      NOT NULL,
    -- Raised by every change: a writer whose revision has passed has decided on what is no longer so.
    revision      bigint      NOT NULL DEFAULT 1,
    -- The last number given to a message of this chat; messages are ordered by it.
    last_position bigint      NOT NULL DEFAULT 0
);

-- What is left of a deleted chat: enough to answer "deleted again", and to stop the answer that was running.
CREATE TABLE deleted_chats (
    id            uuid        PRIMARY KEY,
    owner_id      text        NOT NULL,
    deleted_at    timestamptz NOT NULL,
    generation_id uuid
);
CREATE INDEX deleted_chats_by_time ON deleted_chats (deleted_at);

CREATE TABLE members (
    chat_id  uuid        NOT NULL REFERENCES chats ON DELETE CASCADE,
    user_id  text        NOT NULL,
    role     text        NOT NULL CHECK (role IN ('owner', 'member')),
    added_at timestamptz NOT NULL,
    PRIMARY KEY (chat_id, user_id)
);
CREATE INDEX members_by_user ON members (user_id, chat_id);
CREATE UNIQUE INDEX members_one_owner ON members (chat_id) WHERE role = 'owner';

CREATE TABLE messages (
    chat_id       uuid        NOT NULL REFERENCES chats ON DELETE CASCADE,
    -- Made by the client, so unique within its chat only.
    id            uuid        NOT NULL,
    parent_id     uuid,
    -- Of a queued prompt: whether its parent is chosen (fixed), or is the chat's tip when its turn comes.
    placement     text        NOT NULL CHECK (placement IN ('tip', 'fixed')),
    role          text        NOT NULL CHECK (role IN ('user', 'assistant')),
    author_id     text,
    content       text        NOT NULL,
    reasoning     text        NOT NULL,
    status        text        NOT NULL CHECK (
        CASE role
            WHEN 'user' THEN status IN ('queued', 'sent', 'deleted')
            ELSE status IN ('pending', 'streaming', 'complete', 'stopped', 'failed')
        END
    ),
    model         text,
    finish_reason text,
    error         jsonb,
    usage         jsonb,
    created_at    timestamptz NOT NULL,
    version       bigint      NOT NULL,
    -- Creation order; a queued prompt stands behind all others until its turn comes.
    position      bigint      NOT NULL,
    -- The longest answers exceed what a tsvector can hold, so only their beginning is found.
    search        tsvector    GENERATED ALWAYS AS (to_tsvector('simple', left(content, 100000))) STORED,
    PRIMARY KEY (chat_id, id),
    FOREIGN KEY (chat_id, parent_id) REFERENCES messages (chat_id, id)
);
CREATE UNIQUE INDEX messages_in_order ON messages (chat_id, position);
CREATE INDEX messages_by_parent ON messages (chat_id, parent_id);
CREATE INDEX messages_by_version ON messages (chat_id, version);
CREATE INDEX messages_queued ON messages (chat_id, position) WHERE status = 'queued';
CREATE INDEX messages_search ON messages USING gin (search);

CREATE TABLE generations (
    id           uuid        PRIMARY KEY,
    chat_id      uuid        NOT NULL,
    message_id   uuid        NOT NULL,
    -- Who asked for the answer: its tokens are on their account.
    user_id      text        NOT NULL,
    status       text        NOT NULL CHECK (status IN ('requested', 'running', 'complete', 'stopped', 'failed')),
    -- Raised by each claim: the fence against a worker that was replaced.
    attempt      integer     NOT NULL,
    -- Attempts that were handed back in good order: they do not count against the limit.
    released     integer     NOT NULL,
    claim_id     text,
    worker_id    text,
    claimed_at   timestamptz,
    -- How often it was requested, when last, and the stream sequence of that request; null until it is known to be stored.
    request      integer     NOT NULL,
    requested_at timestamptz NOT NULL,
    request_seq  bigint,
    stop_requested_at timestamptz,
    created_at   timestamptz NOT NULL,
    ended_at     timestamptz,
    FOREIGN KEY (chat_id, message_id) REFERENCES messages (chat_id, id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX generations_one_active ON generations (chat_id) WHERE status IN ('requested', 'running');
CREATE INDEX generations_by_message ON generations (chat_id, message_id);
CREATE INDEX generations_unpublished ON generations (requested_at)
    WHERE request_seq IS NULL AND status IN ('requested', 'running');
CREATE INDEX generations_stopping ON generations (stop_requested_at)
    WHERE stop_requested_at IS NOT NULL AND status IN ('requested', 'running');

-- Tokens stay on the account when the chat is deleted, so nothing here refers to it.
CREATE TABLE usage (
    generation_id uuid        PRIMARY KEY,
    chat_id       uuid        NOT NULL,
    user_id       text        NOT NULL,
    model         text        NOT NULL,
    input_tokens  bigint      NOT NULL,
    output_tokens bigint      NOT NULL,
    created_at    timestamptz NOT NULL
);
CREATE INDEX usage_by_user ON usage (user_id, model);
