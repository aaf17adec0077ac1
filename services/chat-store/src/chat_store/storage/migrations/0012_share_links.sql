-- runs-with: 1
-- Read-only links to chats. A revoked one has no row.

CREATE TABLE share_links (
    id           uuid        PRIMARY KEY,
    chat_id      uuid        NOT NULL REFERENCES chats ON DELETE CASCADE,
    token_digest text        NOT NULL,
    live         boolean     NOT NULL,
    -- Of a link that is not live: where the branch ends; of a live one: a message that the branch goes through, if chosen.
    tip_id       uuid,
    created_at   timestamptz NOT NULL
);
CREATE UNIQUE INDEX share_links_by_token ON share_links (token_digest);
CREATE INDEX share_links_by_chat ON share_links (chat_id, created_at);
CREATE INDEX api_keys_newest ON api_keys (created_at, id);
