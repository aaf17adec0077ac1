-- runs-with: 1
-- Invitations to chats. An invited user is no member: nothing of the chat is shown until the invitation is accepted.

CREATE TABLE invitations (
    chat_id    uuid        NOT NULL REFERENCES chats ON DELETE CASCADE,
    user_id    text        NOT NULL,
    role       text        NOT NULL CHECK (role IN ('writer', 'reader')),
    invited_by text        NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (chat_id, user_id)
);
CREATE INDEX invitations_by_user ON invitations (user_id, created_at);
