-- runs-with: 1
-- What search compares: a message's text in one form for all ways to write the same, and all of it. The column `search` is
-- for programs that do not know this migration, and goes in a later release (docs/decisions/0020).

-- One form: compatibility composition (full width, ligatures, NFD), without invisible characters, white space as one space,
-- without case. The locale of the database decides what case is.
CREATE FUNCTION search_fold(content text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN pg_catalog.upper(pg_catalog.regexp_replace(
        pg_catalog.translate(
            pg_catalog.normalize(content, 'NFKC'),
            U&'\00AD\200B\200C\200D\200E\200F\202A\202B\202C\202D\202E\2060\2066\2067\2068\2069\FE0E\FE0F\FEFF',
            ''
        ),
        '\s+', ' ', 'g'
    ));

-- Whether `needle`, both folded, occurs with no letter or digit beside its own at either end. Looks at the first few.
CREATE FUNCTION search_stands_alone(haystack text, needle text) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    size   constant integer := pg_catalog.length(needle);
    starts constant boolean := pg_catalog.left(needle, 1) OPERATOR(pg_catalog.~) '\w';
    ends   constant boolean := pg_catalog.right(needle, 1) OPERATOR(pg_catalog.~) '\w';
    rest   text := haystack;
    before text := '';
    place  integer;
BEGIN
    FOR tries IN 1..8 LOOP
        place := pg_catalog.strpos(rest, needle);
        IF place = 0 THEN
            RETURN false;
        END IF;
        IF place > 1 THEN
            before := pg_catalog.substr(rest, place - 1, 1);
        END IF;
        IF NOT (starts AND before OPERATOR(pg_catalog.~) '\w')
            AND NOT (ends AND pg_catalog.substr(rest, place + size, 1) OPERATOR(pg_catalog.~) '\w') THEN
            RETURN true;
        END IF;
        before := pg_catalog.substr(rest, place, 1);
        rest := pg_catalog.substr(rest, place + 1);
    END LOOP;
    RETURN false;
END
$$;

ALTER TABLE messages ADD COLUMN folded text GENERATED ALWAYS AS (search_fold(content)) STORED;
