-- One number a row, by key, so that it can be stored in a column and be used by searches and joins later.

CREATE OR REPLACE FUNCTION pgembed.hubness(
    target regclass, column_name name DEFAULT NULL, queries regclass DEFAULT NULL, queries_column name DEFAULT NULL,
    method text DEFAULT 'csls'
)
RETURNS TABLE (key text, hubness float8)
LANGUAGE plpython3u
STABLE PARALLEL UNSAFE
COST 1000000 ROWS 1000
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import hubness
return hubness.hubness(target, column_name, queries, queries_column, method)
$python$;

COMMENT ON FUNCTION pgembed.hubness(regclass, name, regclass, name, text) IS
    'how much of a hub each row is, which is near to everything; csls: its mean similarity with the ten nearest queries; qb_norm: as an inverted softmax over queries has it; queries are the rows unless a column is named';
