-- runs-with: 1
-- Erasing users: what is left of one is the id, and when the erasure is carried out (once more).

ALTER TABLE users ADD COLUMN erase_requested_at timestamptz;
ALTER TABLE users ADD COLUMN erase_at timestamptz;
CREATE INDEX users_to_erase ON users (erase_at) WHERE erase_at IS NOT NULL;
CREATE INDEX rejected_prompts_by_user ON rejected_prompts (user_id);

-- Chats in which messages of an erased user were emptied, and when the streams are purged of what is handled.
CREATE TABLE stream_purges (
    chat_id      uuid        PRIMARY KEY,
    requested_at timestamptz NOT NULL,
    purge_at     timestamptz NOT NULL
);
CREATE INDEX stream_purges_by_time ON stream_purges (purge_at);

-- Audit events that are committed with what they report, until the stream AUDIT has them.
CREATE TABLE audit_outbox (
    id    uuid PRIMARY KEY,
    event text NOT NULL
);
