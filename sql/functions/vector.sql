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

-- A wrong length would disclose memory, NaN or Infinity would make a dump that cannot be restored. Bound when it is created, so no
-- search_path redirects it.
CREATE OR REPLACE FUNCTION pgembed._vector_sound(image bytea)
RETURNS boolean
LANGUAGE sql
IMMUTABLE PARALLEL SAFE
RETURN octet_length(image) BETWEEN 8 AND 64004
    AND octet_length(image) % 4 = 0
    AND get_byte(image, 2) = 0 AND get_byte(image, 3) = 0
    AND vector_dims(pgembed._vector_relabel(image)) = (octet_length(image) - 4) / 4
    AND vector_norm(pgembed._vector_relabel(image)) < 'Infinity'::float8;

COMMENT ON FUNCTION pgembed._vector_sound(bytea) IS 'internal: whether bytes are the image of a vector of finite numbers';

REVOKE ALL ON FUNCTION pgembed._vector_sound(bytea) FROM PUBLIC;

-- SECURITY DEFINER so that callers need no right on the unchecked function. In PL/pgSQL, which keeps its plan for the session: a function in
-- SQL that cannot be inlined is planned anew in every statement, which took longer than all the rest. It has no operator that a caller's
-- search_path could redirect, so none is set, which would take as long as the check.
CREATE OR REPLACE FUNCTION pgembed._vector(image bytea)
RETURNS vector
LANGUAGE plpgsql
IMMUTABLE STRICT PARALLEL SAFE SECURITY DEFINER
AS $$
BEGIN
    IF pgembed._vector_sound(image) THEN
        RETURN pgembed._vector_relabel(image);
    END IF;
    RETURN pgembed._vector_refused(pg_catalog.octet_length(image));
END;
$$;

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

CREATE OR REPLACE FUNCTION pgembed._vector_type()
RETURNS oid
LANGUAGE sql
IMMUTABLE PARALLEL SAFE
RETURN 'vector'::regtype::oid;

COMMENT ON FUNCTION pgembed._vector_type() IS 'internal: number of the type vector in this database';
