-- binvec(n): n bits, bound to the server's own C functions for bit, so that nothing is compiled. Unlike bit(n) no cast changes its length.
CREATE TYPE pgembed.binvec;

CREATE FUNCTION pgembed.binvec_in(cstring, oid, int) RETURNS pgembed.binvec LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'bit_in';
CREATE FUNCTION pgembed.binvec_out(pgembed.binvec) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'bit_out';
CREATE FUNCTION pgembed.binvec_recv(internal, oid, int) RETURNS pgembed.binvec LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'bit_recv';
CREATE FUNCTION pgembed.binvec_send(pgembed.binvec) RETURNS bytea LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'bit_send';
CREATE FUNCTION pgembed.binvec_typmod_in(cstring[]) RETURNS int LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'bittypmodin';
CREATE FUNCTION pgembed.binvec_typmod_out(int) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'bittypmodout';

CREATE TYPE pgembed.binvec (
    INPUT = pgembed.binvec_in, OUTPUT = pgembed.binvec_out, RECEIVE = pgembed.binvec_recv, SEND = pgembed.binvec_send,
    TYPMOD_IN = pgembed.binvec_typmod_in, TYPMOD_OUT = pgembed.binvec_typmod_out, LIKE = pg_catalog.bit
);

COMMENT ON TYPE pgembed.binvec IS 'a code of n bits; compares and is indexed as bit(n)';

CREATE CAST (pgembed.binvec AS pg_catalog.bit) WITHOUT FUNCTION AS IMPLICIT;
CREATE CAST (pg_catalog.bit AS pgembed.binvec) WITHOUT FUNCTION AS ASSIGNMENT;

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

-- bit's own length cast pads and cuts in silence
CREATE FUNCTION pgembed.binvec(code pgembed.binvec, typmod int, explicit boolean)
RETURNS pgembed.binvec
LANGUAGE sql
IMMUTABLE STRICT PARALLEL SAFE
RETURN CASE WHEN typmod < 0 OR length(code) = typmod THEN code ELSE pgembed._binvec_refused(code, typmod) END;

COMMENT ON FUNCTION pgembed.binvec(pgembed.binvec, int, boolean) IS 'internal: the length of a code, checked';

CREATE CAST (pgembed.binvec AS pgembed.binvec) WITH FUNCTION pgembed.binvec(pgembed.binvec, int, boolean) AS IMPLICIT;
