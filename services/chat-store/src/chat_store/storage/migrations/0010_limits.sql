-- runs-with: 1
-- What the limits of users count (docs/decisions/0055), and what a ledger by day and with cost needs.

-- When a user's prompts of the last minute were admitted: one row, so that one statement counts and adds.
CREATE TABLE prompt_rates (
    user_id  text          PRIMARY KEY,
    admitted timestamptz[] NOT NULL
);

-- Prompts, and answers requested again, that were admitted: each counts once, however often it is asked for.
CREATE TABLE prompt_admissions (
    chat_id     uuid        NOT NULL,
    message_id  uuid        NOT NULL,
    user_id     text        NOT NULL,
    bytes       bigint      NOT NULL,
    admitted_at timestamptz NOT NULL,
    PRIMARY KEY (chat_id, message_id)
);
CREATE INDEX prompt_admissions_by_time ON prompt_admissions (admitted_at);

-- Whether the tokens are estimated, and the price of the answer when it was made; null: the model had no price.
ALTER TABLE usage ADD COLUMN estimated boolean NOT NULL DEFAULT false;
ALTER TABLE usage ADD COLUMN cost double precision;

-- The indexes on generations and usage, which may be large, are created concurrently (chat_store/storage/indexes.py).
