-- runs-with: 1
-- The roles `writer`, which `member` becomes, and `reader`. The rows of programs before this one stay `member`, which every
-- statement reads as `writer`, so that those programs go on beside this one; a later release rewrites the rows.
-- NOT VALID: the rows are not read while the table is locked, and all of them fulfil the narrower constraint before.

ALTER TABLE members DROP CONSTRAINT members_role_check;
ALTER TABLE members ADD CONSTRAINT members_role_check CHECK (role IN ('owner', 'member', 'writer', 'reader')) NOT VALID;
