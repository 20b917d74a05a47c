-- What a row's hash column says. It holds the hash of the text that the vector was made of, and one byte before it where that text is no
-- longer the row's: 00 stale, ff failed. NULL: nothing is known (a vector adopted as it was, or none yet). Empty: the source is NULL.
CREATE OR REPLACE FUNCTION pgembed._freshness(embedded boolean, hash bytea)
RETURNS text
LANGUAGE sql
IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN hash IS NULL OR octet_length(hash) = 16 THEN CASE WHEN embedded THEN 'fresh' ELSE 'pending' END
    WHEN octet_length(hash) = 0 THEN 'null_source'
    WHEN get_byte(hash, 0) = 255 THEN 'failed'
    WHEN embedded THEN 'stale'
    ELSE 'pending'
END;

COMMENT ON FUNCTION pgembed._freshness(boolean, bytea) IS 'internal: state of a row from what pgembed.freshness() is given';

CREATE OR REPLACE FUNCTION pgembed.freshness(embedding vector, hash bytea)
RETURNS text
LANGUAGE sql
IMMUTABLE PARALLEL SAFE
RETURN pgembed._freshness(embedding IS NOT NULL, hash);

COMMENT ON FUNCTION pgembed.freshness(vector, bytea) IS
    'state of an embedded row from its vector and its hash column: fresh, stale, pending, failed or null_source';

CREATE OR REPLACE FUNCTION pgembed.freshness(embedding halfvec, hash bytea)
RETURNS text
LANGUAGE sql
IMMUTABLE PARALLEL SAFE
RETURN pgembed._freshness(embedding IS NOT NULL, hash);

COMMENT ON FUNCTION pgembed.freshness(halfvec, bytea) IS
    'state of an embedded row from its vector and its hash column: fresh, stale, pending, failed or null_source';

CREATE OR REPLACE FUNCTION pgembed._source_hash(source text)
RETURNS bytea
LANGUAGE sql
IMMUTABLE STRICT PARALLEL SAFE  -- convert_to() is stable only because the encodings of a database could change; they cannot
RETURN substr(sha256(convert_to(source, 'UTF8')), 1, 16);

COMMENT ON FUNCTION pgembed._source_hash(text) IS 'internal: hash of a source text, 16 bytes of SHA-256';

-- Called by the generated triggers when the source text has changed. A text that changed and changed back is fresh again.
CREATE OR REPLACE FUNCTION pgembed._hash_after_change(hash bytea, new_source text)
RETURNS bytea
LANGUAGE sql
IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN new_source IS NULL THEN ''::bytea
    WHEN octet_length(hash) = 16 THEN '\x00'::bytea || hash
    WHEN octet_length(hash) = 17 AND substr(hash, 2) = pgembed._source_hash(new_source) THEN substr(hash, 2)
    WHEN octet_length(hash) = 17 THEN '\x00'::bytea || substr(hash, 2)
    ELSE '\x00'::bytea
END;

COMMENT ON FUNCTION pgembed._hash_after_change(bytea, text) IS 'internal: the hash column of a row whose source text has changed';
