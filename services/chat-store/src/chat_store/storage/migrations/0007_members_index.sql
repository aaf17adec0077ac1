-- runs-with: 1
-- The third step of 0005: the order. Its index begins with the user, as the one before did.

CREATE INDEX members_in_order ON members (user_id, changed_at, chat_id);
DROP INDEX members_by_user;
ALTER TABLE members ALTER COLUMN changed_at SET NOT NULL;
