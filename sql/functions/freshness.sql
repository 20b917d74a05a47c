-- What a row's hash column says. It holds the hash of the text that the vector was made of, and one byte before it where there is more to
-- say: 00 the text is no longer the row's, 01 it was longer than the model reads, 02 both; 03 somebody else than pgembed wrote the vector when
-- the row had this text, 04 and it has it no more; ff the source fails. 03 may stand alone: the text was not known. NULL: nothing is known
-- (a vector adopted as it was, or none yet). Empty: the source is NULL.
CREATE OR REPLACE FUNCTION pgembed._freshness(embedded boolean, hash bytea)
RETURNS text
LANGUAGE sql
IMMUTABLE PARALLEL SAFE
RETURN CASE
    -- As few calls as say it: the predicate of the work index is this, and each statement that writes a row prepares it anew.
    WHEN hash = '' THEN 'null_source'
    WHEN hash = '\xff' THEN 'failed'
    WHEN embedded IS NOT TRUE THEN 'pending'
    WHEN hash IS NULL OR octet_length(hash) = 16 OR substr(hash, 1, 1) IN ('\x01', '\x03') THEN 'fresh'
    ELSE 'stale'
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

-- Of a column over chunks: what has a hash has chunks.
CREATE OR REPLACE FUNCTION pgembed.freshness(hash bytea)
RETURNS text
LANGUAGE sql
IMMUTABLE PARALLEL SAFE
RETURN pgembed._freshness(octet_length(hash) >= 16, hash);

COMMENT ON FUNCTION pgembed.freshness(bytea) IS
    'state of a row that is embedded in chunks, from its hash column: fresh, stale, pending, failed or null_source';

CREATE OR REPLACE FUNCTION pgembed.truncated(hash bytea)
RETURNS boolean
LANGUAGE sql
IMMUTABLE PARALLEL SAFE
RETURN coalesce(octet_length(hash) = 17 AND substr(hash, 1, 1) IN ('\x01', '\x02'), false);

COMMENT ON FUNCTION pgembed.truncated(bytea) IS
    'whether the model did not read a row''s text to its end; from the row''s hash column';

CREATE OR REPLACE FUNCTION pgembed.by_hand(hash bytea)
RETURNS boolean
LANGUAGE sql
IMMUTABLE PARALLEL SAFE
RETURN coalesce(octet_length(hash) IN (1, 17) AND substr(hash, 1, 1) IN ('\x03', '\x04'), false);

COMMENT ON FUNCTION pgembed.by_hand(bytea) IS
    'whether somebody else than pgembed wrote a row''s vector; from the row''s hash column';

CREATE OR REPLACE FUNCTION pgembed._source_hash(source text)
RETURNS bytea
LANGUAGE sql
IMMUTABLE STRICT PARALLEL SAFE  -- convert_to() is stable only because the encodings of a database could change; they cannot
RETURN substr(sha256(convert_to(source, 'UTF8')), 1, 16);

COMMENT ON FUNCTION pgembed._source_hash(text) IS 'internal: hash of a source text, 16 bytes of SHA-256';

-- Called by the generated triggers where the new source text is not known yet, and where the source is another one.
CREATE OR REPLACE FUNCTION pgembed._hash_stale(hash bytea)
RETURNS bytea
LANGUAGE sql
IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN octet_length(hash) = 16 THEN '\x00'::bytea || hash
    WHEN octet_length(hash) = 17 AND substr(hash, 1, 1) = '\x01' THEN '\x02'::bytea || substr(hash, 2)
    WHEN octet_length(hash) = 17 AND substr(hash, 1, 1) = '\x03' THEN '\x04'::bytea || substr(hash, 2)
    WHEN octet_length(hash) = 17 THEN hash
    ELSE '\x00'::bytea
END;

COMMENT ON FUNCTION pgembed._hash_stale(bytea) IS 'internal: the hash column of a row whose vector is no longer that of its source';

-- Called by the generated triggers when the source text has changed. A text that changed and changed back is fresh again, and one that came
-- with its vector and hash is what they say.
CREATE OR REPLACE FUNCTION pgembed._hash_after_change(hash bytea, new_source text)
RETURNS bytea
LANGUAGE sql
IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN new_source IS NULL THEN ''::bytea
    WHEN octet_length(hash) = 16 AND hash = pgembed._source_hash(new_source) THEN hash
    WHEN octet_length(hash) = 17 AND substr(hash, 2) = pgembed._source_hash(new_source) THEN CASE substr(hash, 1, 1)
        WHEN '\x00' THEN substr(hash, 2)
        WHEN '\x02' THEN '\x01'::bytea || substr(hash, 2)
        WHEN '\x04' THEN '\x03'::bytea || substr(hash, 2)
        ELSE hash
    END
    ELSE pgembed._hash_stale(hash)
END;

COMMENT ON FUNCTION pgembed._hash_after_change(bytea, text) IS 'internal: the hash column of a row whose source text has changed';
