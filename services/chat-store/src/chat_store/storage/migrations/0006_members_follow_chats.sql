-- runs-with: 1
-- The second step of 0005: no chat changes while the times of its members are written for the first time.

CREATE FUNCTION chats_give_changed_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE members SET changed_at = NEW.updated_at WHERE chat_id = NEW.id;
    RETURN NULL;
END
$$;
CREATE TRIGGER chats_give_changed_at AFTER UPDATE OF updated_at ON chats
    FOR EACH ROW WHEN (OLD.updated_at IS DISTINCT FROM NEW.updated_at) EXECUTE FUNCTION chats_give_changed_at();

UPDATE members SET changed_at = chats.updated_at FROM chats WHERE chats.id = members.chat_id;
