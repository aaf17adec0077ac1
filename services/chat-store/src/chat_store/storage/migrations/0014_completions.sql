-- runs-with: 1
-- What the provider is asked for beside a prompt's text, and what an answer has beside text (docs/decisions/0069).
-- JSON as text: models read the members of a JSON Schema in their order, which jsonb does not keep; and the length of a
-- text is known without reading it.

ALTER TABLE messages ADD COLUMN completion text;
-- Of a queued prompt: the id that its answer gets.
ALTER TABLE messages ADD COLUMN answer_id uuid;
ALTER TABLE messages ADD COLUMN attempt integer NOT NULL DEFAULT 0;
ALTER TABLE messages ADD COLUMN tool_calls text NOT NULL DEFAULT '[]';
ALTER TABLE messages ADD COLUMN layout text NOT NULL DEFAULT '[]';

-- What a running answer said and did until its last call of a tool that Parley runs; removed when the answer ends.
CREATE TABLE tool_rounds (
    generation_id uuid    NOT NULL REFERENCES generations ON DELETE CASCADE,
    number        integer NOT NULL,
    round         text    NOT NULL,
    PRIMARY KEY (generation_id, number)
);
