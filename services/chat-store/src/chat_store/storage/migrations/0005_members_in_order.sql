-- runs-with: 1
-- A user's list of chats has the most recently changed first, and a page of it must cost a page, however many chats there
-- are: each membership repeats the time of its chat's last change. Triggers keep it, so that programs which do not know
-- the column keep it, too. In three steps, each of which locks one table, so that none waits for a program that waits for it.

ALTER TABLE members ADD COLUMN changed_at timestamptz;

CREATE FUNCTION members_take_changed_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    SELECT updated_at INTO NEW.changed_at FROM chats WHERE id = NEW.chat_id;
    RETURN NEW;
END
$$;
CREATE TRIGGER members_take_changed_at BEFORE INSERT ON members
    FOR EACH ROW EXECUTE FUNCTION members_take_changed_at();
