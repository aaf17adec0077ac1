-- runs-with: 1
-- The session at the identity provider (`sid`) that a session was begun in: the provider ends sessions by it (back-channel
-- logout). Null: the provider named none.
ALTER TABLE sessions ADD COLUMN provider_session text;
CREATE INDEX sessions_by_provider_session ON sessions (provider_session) WHERE provider_session IS NOT NULL;

-- Logout tokens are good once.
CREATE TABLE used_logout_tokens (
    digest     text        PRIMARY KEY,
    expires_at timestamptz NOT NULL
);
CREATE INDEX used_logout_tokens_by_expiry ON used_logout_tokens (expires_at);
