-- binvec(n): n bits, bound to the server's own C functions for bit, so that nothing is compiled. They are the same from PostgreSQL 14 to 18,
-- each with these arguments (src/backend/utils/adt/varbit.c); what is not: from 16 on bit_in reports a wrong text softly, for
-- pg_input_is_valid(). Unlike bit(n) no cast changes a length, and binvec without one is of any length, where bit is bit(1).
--
-- The one implicit cast lets bit's operators, pgvector's of them, and all operator classes serve: btree, HNSW and IVFFlat. An implicit cast to
-- varbit beside it would take the default btree class away, for there would be two to choose from. bit has no hash class, so groups and
-- joins of codes are made by sorting.
CREATE TYPE pgembed.binvec;

CREATE FUNCTION pgembed._binvec_in(code cstring, type oid, typmod int)
RETURNS pgembed.binvec LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'bit_in';

CREATE FUNCTION pgembed._binvec_out(code pgembed.binvec)
RETURNS cstring LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'bit_out';

CREATE FUNCTION pgembed._binvec_recv(code internal, type oid, typmod int)
RETURNS pgembed.binvec LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'bit_recv';

CREATE FUNCTION pgembed._binvec_send(code pgembed.binvec)
RETURNS bytea LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'bit_send';

CREATE FUNCTION pgembed._binvec_typmod_in(modifiers cstring[])
RETURNS int LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'bittypmodin';

CREATE FUNCTION pgembed._binvec_typmod_out(typmod int)
RETURNS cstring LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'bittypmodout';

CREATE TYPE pgembed.binvec (
    INPUT = pgembed._binvec_in, OUTPUT = pgembed._binvec_out, RECEIVE = pgembed._binvec_recv, SEND = pgembed._binvec_send,
    TYPMOD_IN = pgembed._binvec_typmod_in, TYPMOD_OUT = pgembed._binvec_typmod_out, LIKE = pg_catalog.bit
);

COMMENT ON TYPE pgembed.binvec IS 'a code of n bits, whose length no cast changes; compares and is indexed as bit(n)';
COMMENT ON FUNCTION pgembed._binvec_in(cstring, oid, int) IS 'internal: a code from text; bit_in()';
COMMENT ON FUNCTION pgembed._binvec_out(pgembed.binvec) IS 'internal: a code as text; bit_out()';
COMMENT ON FUNCTION pgembed._binvec_recv(internal, oid, int) IS 'internal: a code from its binary form; bit_recv()';
COMMENT ON FUNCTION pgembed._binvec_send(pgembed.binvec) IS 'internal: a code in its binary form, int4 bits and the bytes; bit_send()';
COMMENT ON FUNCTION pgembed._binvec_typmod_in(cstring[]) IS 'internal: the length in binvec(n), checked; bittypmodin()';
COMMENT ON FUNCTION pgembed._binvec_typmod_out(int) IS 'internal: the length in binvec(n) as text; bittypmodout()';

CREATE CAST (pgembed.binvec AS pg_catalog.bit) WITHOUT FUNCTION AS IMPLICIT;
CREATE CAST (pg_catalog.bit AS pgembed.binvec) WITHOUT FUNCTION AS ASSIGNMENT;
CREATE CAST (pgembed.binvec AS pg_catalog.varbit) WITHOUT FUNCTION AS ASSIGNMENT;
CREATE CAST (pg_catalog.varbit AS pgembed.binvec) WITHOUT FUNCTION AS ASSIGNMENT;

CREATE FUNCTION pgembed._binvec_refused(code pgembed.binvec, expected int)
RETURNS pgembed.binvec
LANGUAGE plpgsql
IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE string_data_length_mismatch USING
        MESSAGE = format('code has %s bits, expected %s', length(code), expected),
        HINT = 'A code has the length that its codec makes; no cast pads or cuts it.';
END;
$$;

COMMENT ON FUNCTION pgembed._binvec_refused(pgembed.binvec, int) IS 'internal: the error of a code of another length';

-- In place of bit's own length cast, which pads and cuts in silence where it is written out. NULL is NULL. Not STRICT and without a pinned
-- search_path, so that it is inlined; every name is qualified instead. The body is a string, for it needs the cast to bit, and where this
-- is no extension pg_dump writes functions before casts.
CREATE FUNCTION pgembed._binvec_sized(code pgembed.binvec, typmod int, explicit boolean)
RETURNS pgembed.binvec
LANGUAGE sql
IMMUTABLE PARALLEL SAFE
AS $$
SELECT CASE
    WHEN pg_catalog.length(code) OPERATOR(pg_catalog.<>) typmod THEN pgembed._binvec_refused(code, typmod)
    ELSE code
END
$$;

COMMENT ON FUNCTION pgembed._binvec_sized(pgembed.binvec, int, boolean) IS 'internal: the length of a code, checked';

CREATE CAST (pgembed.binvec AS pgembed.binvec) WITH FUNCTION pgembed._binvec_sized(pgembed.binvec, int, boolean) AS IMPLICIT;
