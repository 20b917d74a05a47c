-- The way of a vector from Python into the database: pgvector's own memory layout as bytea, relabelled instead of parsed (about 20 us
-- for 384 dimensions with all checks; as text 390 us). Relabelling is unsafe for bytes that are not a vector: only _vector() reaches it.

CREATE OR REPLACE FUNCTION pgembed._vector_relabel(image bytea)
RETURNS vector
LANGUAGE internal
IMMUTABLE STRICT PARALLEL SAFE
AS 'xmltotext';  -- an identity function: it looks at nothing and returns its argument

COMMENT ON FUNCTION pgembed._vector_relabel(bytea) IS 'internal: bytes taken for a vector, unchecked';

REVOKE ALL ON FUNCTION pgembed._vector_relabel(bytea) FROM PUBLIC;

CREATE OR REPLACE FUNCTION pgembed._vector_refused(bytes int)
RETURNS vector
LANGUAGE plpgsql
IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE data_exception USING
        MESSAGE = format('pgembed: %s bytes are not the image of a vector', bytes),
        HINT = 'An image is int16 dim, int16 zero and dim finite float4, all in the byte order of the server.';
END;
$$;

COMMENT ON FUNCTION pgembed._vector_refused(int) IS 'internal: the error of _vector()';

-- SECURITY DEFINER so that callers need no right on the unchecked function; the body is bound when it is created, so no search_path
-- of a caller can redirect it. A wrong length would disclose memory, NaN or Infinity would make a dump that cannot be restored.
CREATE OR REPLACE FUNCTION pgembed._vector(image bytea)
RETURNS vector
LANGUAGE sql
IMMUTABLE STRICT PARALLEL SAFE SECURITY DEFINER
BEGIN ATOMIC
    SELECT CASE
        WHEN octet_length(image) BETWEEN 8 AND 64004
         AND octet_length(image) % 4 = 0
         AND get_byte(image, 2) = 0 AND get_byte(image, 3) = 0
         AND vector_dims(pgembed._vector_relabel(image)) = (octet_length(image) - 4) / 4
         AND vector_norm(pgembed._vector_relabel(image)) < 'Infinity'::float8
        THEN pgembed._vector_relabel(image)
        ELSE pgembed._vector_refused(octet_length(image))
    END;
END;

COMMENT ON FUNCTION pgembed._vector(bytea) IS 'internal: a vector from its memory image, checked';

-- Many vectors at once, as one array in PostgreSQL's own layout. Nothing checks these bytes, so the only callers are functions of ours that
-- run as their owner and take them from our own Python code, never from a user.
CREATE OR REPLACE FUNCTION pgembed._vectors_relabel(image bytea)
RETURNS vector[]
LANGUAGE internal
IMMUTABLE STRICT PARALLEL SAFE
AS 'xmltotext';  -- an identity function: it looks at nothing and returns its argument

COMMENT ON FUNCTION pgembed._vectors_relabel(bytea) IS 'internal: bytes taken for an array of vectors, unchecked';

REVOKE ALL ON FUNCTION pgembed._vectors_relabel(bytea) FROM PUBLIC;
