-- Which space a column's vectors are of, and how queries of another one reach them. Only the table's owner declares such a thing, for the
-- source is evaluated for it and every search with a text obeys it.

CREATE OR REPLACE FUNCTION pgembed.compensation_report(
    target regclass, model text, column_name name DEFAULT NULL, sample int DEFAULT 2000,
    queries regclass DEFAULT NULL, queries_column name DEFAULT NULL, seed int DEFAULT 1
)
RETURNS TABLE (
    method text, pairs int, queries int, rows int, recall_10_kept float8, cosine float8, own_row float8, own_row_before float8, advice text
)
LANGUAGE plpython3u
VOLATILE PARALLEL UNSAFE
COST 1000000 ROWS 5
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import spaces
return spaces.compensation_report(target, model, column_name, sample, queries, queries_column, seed)
$python$;

COMMENT ON FUNCTION pgembed.compensation_report(regclass, text, name, int, regclass, name, int) IS
    'what searches keep if another model embeds queries, mapped into the column''s space; a line per kind of map';

CREATE OR REPLACE FUNCTION pgembed.compensate(
    target regclass, model text, column_name name DEFAULT NULL, method text DEFAULT 'auto', sample int DEFAULT 2000,
    min_recall float8 DEFAULT 0.9, queries regclass DEFAULT NULL, queries_column name DEFAULT NULL, seed int DEFAULT 1
)
RETURNS float8
LANGUAGE plpython3u
VOLATILE PARALLEL UNSAFE
COST 1000000
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import spaces
return spaces.compensate(target, model, column_name, method, sample, min_recall, queries, queries_column, seed)
$python$;

COMMENT ON FUNCTION pgembed.compensate(regclass, text, name, text, int, float8, regclass, name, int) IS
    'let searches with a text embed it by another model and map it into the column''s space; the measured share of results that is kept';

CREATE OR REPLACE FUNCTION pgembed.fit_adapter(
    target regclass, pairs regclass, query_column name DEFAULT 'query', key_column name DEFAULT 'key', label_column name DEFAULT NULL,
    column_name name DEFAULT NULL, rank int DEFAULT 8, seed int DEFAULT 1, new_model text DEFAULT NULL
)
RETURNS TABLE (measure text, before float8, after float8, queries int, installed boolean)
LANGUAGE plpython3u
VOLATILE PARALLEL UNSAFE
COST 1000000 ROWS 2
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import spaces
return spaces.fit_adapter(target, pairs, query_column, key_column, label_column, column_name, rank, seed, new_model)
$python$;

COMMENT ON FUNCTION pgembed.fit_adapter(regclass, regclass, name, name, name, name, int, int, text) IS
    'fit a map of queries to labelled pairs of a query and a row, and use it where it helps; on pairs held back; new_model makes a model of it';

CREATE OR REPLACE FUNCTION pgembed.drop_adapter(target regclass, column_name name DEFAULT NULL)
RETURNS void
LANGUAGE plpython3u
VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import spaces
return spaces.drop_adapter(target, column_name)
$python$;

COMMENT ON FUNCTION pgembed.drop_adapter(regclass, name) IS
    'take back compensate() or fit_adapter(): queries of the column are again what its own model makes of them';

CREATE OR REPLACE FUNCTION pgembed._provenance(target regclass, column_name name)
RETURNS text
LANGUAGE plpython3u
STABLE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import spaces
return spaces.provenance(target, column_name)
$python$;

COMMENT ON FUNCTION pgembed._provenance(regclass, name) IS 'internal: the statement behind pgembed.provenance()';

-- As the caller: privileges and row security hold.
CREATE OR REPLACE FUNCTION pgembed.provenance(target regclass, column_name name DEFAULT NULL)
RETURNS TABLE (key text, state text, by_hand boolean, model text, fingerprint text, revision int)
LANGUAGE plpgsql
STABLE PARALLEL UNSAFE
COST 10000 ROWS 1000
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY EXECUTE pgembed._provenance(target, column_name);
END;
$$;

COMMENT ON FUNCTION pgembed.provenance(regclass, name) IS
    'of each row the state of its vector and the model that made it; NULL where there is no vector, or where somebody wrote it by hand';
