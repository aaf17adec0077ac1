-- runs-with: 1
-- What search compares: a message's text in one form for all ways to write the same, and all of it. The column `search` is
-- for programs that do not know this migration, and goes in a later release (docs/decisions/0022).

-- One form: compatibility composition (full width, ligatures, NFD), without invisible characters, white space as one space,
-- without case. The locale of the database decides what case is. (By `replace`, which takes a tenth of the time of
-- `translate` and `regexp_replace`; white space by way of pairs, of which only the outer halves stay.)
CREATE OR REPLACE FUNCTION search_fold(content text) RETURNS text
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    folded text := content;
    one    text;
BEGIN
    IF pg_catalog.octet_length(content) OPERATOR(pg_catalog.<>) pg_catalog.length(content) THEN
        folded := pg_catalog.normalize(content, 'NFKC');
        FOREACH one IN ARRAY ARRAY[
            E'\u00ad', E'\u200b', E'\u200c', E'\u200d', E'\u200e', E'\u200f', E'\u202a', E'\u202b', E'\u202c', E'\u202d',
            E'\u202e', E'\u2060', E'\u2066', E'\u2067', E'\u2068', E'\u2069', E'\ufe0e', E'\ufe0f', E'\ufeff'
        ] LOOP
            folded := pg_catalog.replace(folded, one, '');
        END LOOP;
    END IF;
    FOREACH one IN ARRAY ARRAY[E'\n', E'\t', E'\r'] LOOP
        folded := pg_catalog.replace(folded, one, ' ');
    END LOOP;
    folded := pg_catalog.replace(folded, ' ', E'\x01\x02');
    folded := pg_catalog.replace(folded, E'\x02\x01', '');
    folded := pg_catalog.replace(folded, E'\x01\x02', ' ');
    RETURN pg_catalog.upper(folded);
END
$$;

-- Whether `needle`, both folded, occurs with no letter or digit beside its own at either end. Looks at the first few, in a
-- piece of the text: each look copies what is left of it.
CREATE OR REPLACE FUNCTION search_stands_alone(haystack text, needle text) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    size   constant integer := pg_catalog.length(needle);
    starts constant boolean := pg_catalog.left(needle, 1) OPERATOR(pg_catalog.~) '\w';
    ends   constant boolean := pg_catalog.right(needle, 1) OPERATOR(pg_catalog.~) '\w';
    first  constant integer := pg_catalog.strpos(haystack, needle);
    rest   text := pg_catalog.substr(haystack, first, 4000);
    before text := CASE WHEN first OPERATOR(pg_catalog.>) 1 THEN pg_catalog.substr(haystack, first - 1, 1) ELSE '' END;
    place  integer;
BEGIN
    FOR tries IN 1..16 LOOP
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
