-- How many rows a table has is what PostgreSQL last counted, which everybody may read; it has nothing to do with which rows the reader sees.
CREATE OR REPLACE VIEW pgembed.codecs AS
SELECT
    c.name, c.table_name, c.column_name, c.method, c.options, c.kind, c.length,
    CASE c.kind WHEN 'bits' THEN (c.length + 7) / 8 WHEN 'halfvec' THEN 2 * c.length ELSE c.length END AS bytes,
    c.code_type, c.trained_at, c.sample_rows, c.table_rows,
    (m.served->>'10')::float8 AS recall, (m.served->>'20')::float8 AS recall_20, (m.served->>'50')::float8 AS recall_50,
    (m.served->>'100')::float8 AS recall_100, (m.served->>'200')::float8 AS recall_200,
    (c.measured->'rescore'->>'0.99')::int AS rescore_99,
    (c.measured->'asymmetric'->>'10')::float8 AS asymmetric_recall, (c.measured->'asymmetric'->>'20')::float8 AS asymmetric_recall_20,
    (c.measured->'asymmetric'->>'50')::float8 AS asymmetric_recall_50, (c.measured->'asymmetric'->>'100')::float8 AS asymmetric_recall_100,
    (c.measured->'asymmetric'->>'200')::float8 AS asymmetric_recall_200,
    (c.measured->'asymmetric_rescore'->>'0.99')::int AS asymmetric_rescore_99,
    c.measured->>'drawn' AS queries_drawn, (c.measured->>'queries')::int AS queries,
    (c.measured->>'distortion')::float8 AS distortion, (c.measured->>'encode_rate')::float8 AS encode_rate,
    (c.checked->>'checked_at')::timestamptz AS checked_at, (m.served_now->>'100')::float8 AS recall_100_now,
    CASE WHEN t.reltuples >= 0 THEN t.reltuples::bigint END AS rows_now,
    w.reason IS NOT NULL AS needs_retraining, coalesce(w.reason, c.checked->>'reason') AS retrain_reason,
    (c.measured->'masked'->>'10')::float8 AS masked_recall, (c.measured->'masked'->>'20')::float8 AS masked_recall_20,
    (c.measured->'masked'->>'50')::float8 AS masked_recall_50, (c.measured->'masked'->>'100')::float8 AS masked_recall_100,
    (c.measured->'masked'->>'200')::float8 AS masked_recall_200, (c.measured->'masked_rescore'->>'0.99')::int AS masked_rescore_99
FROM pgembed._codec AS c
JOIN pg_catalog.pg_class AS t ON t.oid = c.table_name
LEFT JOIN pgembed._embedding AS e ON e.table_name = c.table_name AND e.column_name = c.column_name
CROSS JOIN LATERAL (
    SELECT
        coalesce(nullif(c.measured->'hamming', 'null'), c.measured->'asymmetric') AS served,
        coalesce(nullif(c.checked->'hamming', 'null'), c.checked->'asymmetric') AS served_now,
        greatest(c.table_rows, (c.checked->>'rows')::bigint) AS rows_known
) AS m
CROSS JOIN LATERAL (
    SELECT CASE
        WHEN (e.fingerprint, e.metric) IS DISTINCT FROM (c.fingerprint, c.metric) AND e.table_name IS NOT NULL
            THEN format('the column''s vectors are of another model or metric now: SELECT pgembed.retrain_codec(%L)', c.name)
        WHEN (c.checked->>'needs_retraining')::boolean THEN c.checked->>'reason'
        WHEN t.reltuples > 3 * m.rows_known
            THEN format('the table has grown from %s to about %s rows: SELECT * FROM pgembed.check_codec(%L)', m.rows_known, t.reltuples::bigint, c.name)
    END AS reason
) AS w;

COMMENT ON VIEW pgembed.codecs IS
    'trained codecs: what they are, what they cost in recall when codes are compared as an index does (of bits by Hamming distance),'
    ' asymmetrically, and of bits without those that a query is unsure of, and when to train them anew';
