-- runs-with: 1
-- The trace that a prompt belongs to, for the answer that starts when its turn comes, or that is requested again.

ALTER TABLE messages ADD COLUMN traceparent text;
ALTER TABLE generations ADD COLUMN traceparent text;
