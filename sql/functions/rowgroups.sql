-- Groups of a table's rows, by key: they need rights on the key and on what is compared only, and see what the caller sees. STABLE, so
-- all that they read is of one snapshot.

CREATE OR REPLACE FUNCTION pgembed.classify(target regclass, labels jsonb, column_name name DEFAULT NULL)
RETURNS TABLE (key text, label text, score float8, margin float8, probability float8, second text, is_confident boolean)
LANGUAGE plpython3u
STABLE PARALLEL UNSAFE
COST 1000000 ROWS 1000
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import rowgroups
return rowgroups.classify(target, labels, column_name)
$python$;

COMMENT ON FUNCTION pgembed.classify(regclass, jsonb, name) IS
    'the label of each row, of labels that words or sentences describe, without training: {"sport": ["football", "tennis"], "politics": "..."}';

CREATE OR REPLACE FUNCTION pgembed.topics(
    target regclass, column_name name DEFAULT NULL, n int DEFAULT NULL, words_from name[] DEFAULT NULL, seed int DEFAULT 1
)
RETURNS TABLE (topic int, size bigint, words text[], keys text[])
LANGUAGE plpython3u
STABLE PARALLEL UNSAFE
COST 1000000 ROWS 20
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import rowgroups
return rowgroups.topics(target, column_name, n, words_from, seed)
$python$;

COMMENT ON FUNCTION pgembed.topics(regclass, name, int, name[], int) IS
    'what the rows of a table are about: topics, the largest first, with the words that tell them from the others and rows at their centre';

CREATE OR REPLACE FUNCTION pgembed.topic_rows(target regclass, column_name name DEFAULT NULL, n int DEFAULT NULL, seed int DEFAULT 1)
RETURNS TABLE (key text, topic int, score float8, margin float8)
LANGUAGE plpython3u
STABLE PARALLEL UNSAFE
COST 1000000 ROWS 1000
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import rowgroups
return rowgroups.topic_rows(target, column_name, n, seed)
$python$;

COMMENT ON FUNCTION pgembed.topic_rows(regclass, name, int, int) IS
    'the topic of each row, by the numbers that pgembed.topics() gives with the same arguments';

CREATE OR REPLACE FUNCTION pgembed.deduplicate(
    target regclass, column_name name DEFAULT NULL, attributes jsonb DEFAULT NULL, within name[] DEFAULT NULL,
    "precision" float8 DEFAULT NULL, labels regclass DEFAULT NULL
)
RETURNS TABLE (key text, cluster text, size int, similarity float8, is_representative boolean)
LANGUAGE plpython3u
STABLE PARALLEL UNSAFE
COST 1000000 ROWS 1000
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import rowgroups
return rowgroups.deduplicate(target, column_name, attributes, within, precision, labels)
$python$;

COMMENT ON FUNCTION pgembed.deduplicate(regclass, name, jsonb, name[], float8, regclass) IS
    'rows that are the same but for how they are written, as clusters called by the first of their keys; rows without duplicates are left out';
