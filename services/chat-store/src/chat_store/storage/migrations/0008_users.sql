-- runs-with: 1
-- Users, their sessions and their API keys. Nothing refers to `users` from the tables of chats: those go on naming users by
-- id, so no large table is locked.

CREATE TABLE users (
    id           text        PRIMARY KEY,
    -- Who vouches for `subject`; null: a guest.
    issuer       text,
    subject      text,
    email        text,
    name         text,
    role         text        NOT NULL DEFAULT 'user' CHECK (role IN ('user', 'administrator')),
    groups       text[]      NOT NULL DEFAULT '{}',
    disabled     boolean     NOT NULL DEFAULT false,
    created_at   timestamptz NOT NULL,
    last_seen_at timestamptz NOT NULL,
    CHECK ((issuer IS NULL) = (subject IS NULL))
);
CREATE UNIQUE INDEX users_external ON users (issuer, subject) WHERE issuer IS NOT NULL;
CREATE INDEX users_newest ON users (created_at, id);
CREATE INDEX users_guests ON users (last_seen_at) WHERE issuer IS NULL;

-- An ended session has no row.
CREATE TABLE sessions (
    id            uuid             PRIMARY KEY,
    user_id       text             NOT NULL REFERENCES users ON DELETE CASCADE,
    secret_digest text             NOT NULL,
    method        text             NOT NULL,
    address       text             NOT NULL,
    user_agent    text             NOT NULL,
    created_at    timestamptz      NOT NULL,
    last_used_at  timestamptz      NOT NULL,
    idle_seconds  double precision NOT NULL,
    -- When it ends unless it is used before, and when it ends at the latest.
    expires_at    timestamptz      NOT NULL,
    ends_at       timestamptz      NOT NULL
);
CREATE UNIQUE INDEX sessions_by_secret ON sessions (secret_digest);
CREATE INDEX sessions_by_user ON sessions (user_id, last_used_at);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);

-- A revoked key has no row.
CREATE TABLE api_keys (
    id            uuid        PRIMARY KEY,
    user_id       text        NOT NULL REFERENCES users ON DELETE CASCADE,
    name          text        NOT NULL,
    prefix        text        NOT NULL,
    secret_digest text        NOT NULL,
    scopes        text[]      NOT NULL,
    created_at    timestamptz NOT NULL,
    last_used_at  timestamptz,
    expires_at    timestamptz
);
CREATE UNIQUE INDEX api_keys_by_prefix ON api_keys (prefix);
CREATE INDEX api_keys_by_user ON api_keys (user_id, created_at);

-- Whoever has done anything so far is a guest. Reads the tables, and locks none.
INSERT INTO users (id, created_at, last_seen_at)
SELECT id, min(first), max(last) FROM (
    SELECT owner_id AS id, min(created_at) AS first, max(updated_at) AS last FROM chats GROUP BY owner_id
    UNION ALL
    SELECT user_id, min(added_at), max(added_at) FROM members GROUP BY user_id
    UNION ALL
    SELECT author_id, min(created_at), max(created_at) FROM messages WHERE author_id IS NOT NULL GROUP BY author_id
    UNION ALL
    SELECT user_id, min(created_at), max(created_at) FROM generations GROUP BY user_id
    UNION ALL
    SELECT user_id, min(created_at), max(created_at) FROM usage GROUP BY user_id
) known GROUP BY id;
