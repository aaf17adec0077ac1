-- runs-with: 1
-- Prompts that were accepted and could not be stored: their authors are told why. And what the streams still hold of a
-- deleted chat.

-- Nothing here refers to a chat, which may not exist. No content: what is not stored is not kept.
CREATE TABLE rejected_prompts (
    chat_id     uuid        NOT NULL,
    message_id  uuid        NOT NULL,
    user_id     text        NOT NULL,
    code        text        NOT NULL,
    rejected_at timestamptz NOT NULL,
    PRIMARY KEY (chat_id, message_id, user_id)
);
CREATE INDEX rejected_prompts_by_time ON rejected_prompts (rejected_at);

-- When the streams are to be purged of the chat; null: they have been, for the last time. A program that does not know
-- the column leaves its default, so that the purge is done by one that does.
ALTER TABLE deleted_chats ADD COLUMN purge_at timestamptz DEFAULT now();
CREATE INDEX deleted_chats_to_purge ON deleted_chats (purge_at) WHERE purge_at IS NOT NULL;
