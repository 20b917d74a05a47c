-- distance(): of codes, of a code and a vector, of two rows. As the caller; the codec is taken from the registry, so no function of a user's
-- runs. Comparing codes of two codecs, or vectors of two models, is an error.

-- record_send() gives each value with the number of its type, domains too, in one pass: what Python would have to ask for otherwise.
CREATE OR REPLACE FUNCTION pgembed._distance(sent bytea, codec text)
RETURNS float8
LANGUAGE plpython3u
STABLE PARALLEL UNSAFE
COST 500
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import distance
return distance.values(sent, codec)
$python$;

COMMENT ON FUNCTION pgembed._distance(bytea, text) IS 'internal: distance of two values, as record_send() writes them';

-- Without a pinned search_path, so that it is inlined; every name is qualified instead. A standard body can't be polymorphic.
CREATE OR REPLACE FUNCTION pgembed.distance(a anyelement, b anycompatible, codec text DEFAULT NULL)
RETURNS float8
LANGUAGE sql
STABLE PARALLEL UNSAFE
COST 500
AS $$
SELECT pgembed._distance(pg_catalog.record_send(ROW(a, b)), codec)
$$;

COMMENT ON FUNCTION pgembed.distance(anyelement, anycompatible, text) IS
    'distance of two codes, or of a code and a vector, by the codec''s metric; codec is needed for bits and halfvec, which do not say it';

CREATE OR REPLACE FUNCTION pgembed.distance(
    target regclass, key text, other regclass, other_key text, column_name name DEFAULT NULL, other_column name DEFAULT NULL
)
RETURNS float8
LANGUAGE plpython3u
STABLE PARALLEL UNSAFE
COST 1000
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import distance
return distance.rows(target, key, other, other_key, column_name, other_column)
$python$;

COMMENT ON FUNCTION pgembed.distance(regclass, text, regclass, text, name, name) IS
    'distance of two rows by their embedded columns, exact, or by columns of codes; NULL where one is not embedded yet';
