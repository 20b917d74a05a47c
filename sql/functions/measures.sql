-- What codecs cost in recall, measured on the column that they are for. Both read the column with a cursor, which PostgreSQL lets no stable
-- function declare.

-- Where a scan of a large table begins is by default where another one is just now, and the sample would not be the same one again.
CREATE OR REPLACE FUNCTION pgembed.recommend_codec(
    target regclass, min_recall float8 DEFAULT NULL, max_bytes int DEFAULT NULL, column_name name DEFAULT NULL,
    queries regclass DEFAULT NULL, queries_column name DEFAULT NULL, seed int DEFAULT 1
)
RETURNS TABLE (
    method text, options jsonb, bytes int, scan text, recall float8, recall_20 float8, recall_50 float8, recall_100 float8,
    recall_200 float8, rescore int, distortion float8, encode_rate float8, is_recommended boolean, statement text
)
LANGUAGE plpython3u
VOLATILE PARALLEL UNSAFE
COST 1000000 ROWS 30
SET search_path = pg_catalog, pg_temp
SET synchronize_seqscans = off
AS $python$
from pgembed.udf import measures
return measures.recommend_codec(target, min_recall, max_bytes, column_name, queries, queries_column, seed)
$python$;

COMMENT ON FUNCTION pgembed.recommend_codec(regclass, float8, int, name, regclass, name, int) IS
    'compare codecs on an embedded column itself, and say which to make; of the fewest bytes that find min_recall (0.99) of the ten nearest among 200 candidates, or the best within max_bytes';

CREATE OR REPLACE FUNCTION pgembed.check_codec(name text, queries regclass DEFAULT NULL, queries_column name DEFAULT NULL)
RETURNS TABLE (
    recall_100_then float8, recall_100_now float8, recall_100_retrained float8, rows_then bigint, rows_now bigint,
    needs_retraining boolean, reason text
)
LANGUAGE plpython3u
VOLATILE PARALLEL UNSAFE
COST 1000000 ROWS 1
SET search_path = pg_catalog, pg_temp
SET synchronize_seqscans = off
AS $python$
from pgembed.udf import measures
return measures.check_codec(name, queries, queries_column)
$python$;

COMMENT ON FUNCTION pgembed.check_codec(text, regclass, name) IS
    'measure a codec again on the column as it is now, and note whether to retrain it';
