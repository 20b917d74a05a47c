-- masked_query(): what of a query to compare codes of bits with, by PostgreSQL's & and pgvector's <~>. As the caller; the codec is taken from
-- the registry, so no function of a user's runs.

CREATE OR REPLACE FUNCTION pgembed._masked_query(codec text, query bytea, OUT bits bit, OUT mask bit)
LANGUAGE plpython3u
STABLE PARALLEL UNSAFE
COST 1000
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import masked
return masked.query_of(codec, query)
$python$;

COMMENT ON FUNCTION pgembed._masked_query(text, bytea) IS 'internal: masked_query() of a vector as vector_send() makes it';

CREATE OR REPLACE FUNCTION pgembed.masked_query(codec text, query vector, OUT bits bit, OUT mask bit)
LANGUAGE sql
STABLE PARALLEL UNSAFE
COST 1000
BEGIN ATOMIC
    SELECT m.bits, m.mask FROM pgembed._masked_query(codec, pgembed._sent(query)) AS m;
END;

COMMENT ON FUNCTION pgembed.masked_query(text, vector) IS
    'the code of a query, and the mask of those bits that it is sure of; ORDER BY (code & mask) <~> bits finds more than Hamming distance does; for codecs of bits';
