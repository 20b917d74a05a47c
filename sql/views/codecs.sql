-- How many rows a table has is what PostgreSQL last counted, which everybody may read; it has nothing to do with which rows the reader sees.
CREATE OR REPLACE VIEW pgembed.codecs AS
SELECT
    c.name, c.table_name, c.column_name, c.method,
    CASE c.kind WHEN 'bits' THEN (c.length + 7) / 8 WHEN 'halfvec' THEN 2 * c.length ELSE c.length END AS bytes,
    (m.served->>'100')::float8 AS recall_100, w.reason IS NOT NULL AS needs_retraining, c.trained_at,
    coalesce(w.reason, c.checked->>'reason') AS retrain_reason, c.options, c.kind, c.length, c.code_type, c.sample_rows, c.table_rows,
    (m.served->>'10')::float8 AS recall, (m.served->>'20')::float8 AS recall_20, (m.served->>'50')::float8 AS recall_50, (m.served->>'200')::float8 AS recall_200,
    (c.measured->'rescore'->>'0.99')::int AS rescore_99,
    (c.measured->'asymmetric'->>'10')::float8 AS asymmetric_recall, (c.measured->'asymmetric'->>'20')::float8 AS asymmetric_recall_20,
    (c.measured->'asymmetric'->>'50')::float8 AS asymmetric_recall_50, (c.measured->'asymmetric'->>'100')::float8 AS asymmetric_recall_100,
    (c.measured->'asymmetric'->>'200')::float8 AS asymmetric_recall_200,
    (c.measured->'asymmetric_rescore'->>'0.99')::int AS asymmetric_rescore_99,
    c.measured->>'drawn' AS queries_drawn, (c.measured->>'queries')::int AS queries,
    (c.measured->>'distortion')::float8 AS distortion, (c.measured->>'encode_rate')::float8 AS encode_rate,
    (c.checked->>'checked_at')::timestamptz AS checked_at, (m.served_now->>'100')::float8 AS recall_100_now,
    CASE WHEN t.reltuples >= 0 THEN t.reltuples::bigint END AS rows_now,
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

COMMENT ON VIEW pgembed.codecs IS 'trained codecs: what they are, what they cost in recall, and when to train them anew';
COMMENT ON COLUMN pgembed.codecs.name IS 'of the codec, and of the function that encodes';
COMMENT ON COLUMN pgembed.codecs.table_name IS 'the table it was trained on';
COMMENT ON COLUMN pgembed.codecs.column_name IS 'the embedded column';
COMMENT ON COLUMN pgembed.codecs.method IS 'how vectors are encoded';
COMMENT ON COLUMN pgembed.codecs.bytes IS 'of a code';
COMMENT ON COLUMN pgembed.codecs.recall_100 IS 'share of the 10 nearest that are among the 100 nearest by codes';
COMMENT ON COLUMN pgembed.codecs.needs_retraining IS 'whether it no longer fits the column';
COMMENT ON COLUMN pgembed.codecs.trained_at IS 'when it was trained';
COMMENT ON COLUMN pgembed.codecs.retrain_reason IS 'why it is to be trained anew, and by which statement';
COMMENT ON COLUMN pgembed.codecs.options IS 'of its training';
COMMENT ON COLUMN pgembed.codecs.kind IS 'of the code: bits, bytes or halfvec';
COMMENT ON COLUMN pgembed.codecs.length IS 'numbers or bits in a code';
COMMENT ON COLUMN pgembed.codecs.code_type IS 'type of a column of codes';
COMMENT ON COLUMN pgembed.codecs.sample_rows IS 'rows it was trained on';
COMMENT ON COLUMN pgembed.codecs.table_rows IS 'rows the table had then';
COMMENT ON COLUMN pgembed.codecs.recall IS 'share of the 10 nearest that are the 10 nearest by codes';
COMMENT ON COLUMN pgembed.codecs.recall_20 IS 'the same among the 20 nearest by codes';
COMMENT ON COLUMN pgembed.codecs.recall_50 IS 'among 50';
COMMENT ON COLUMN pgembed.codecs.recall_200 IS 'among 200';
COMMENT ON COLUMN pgembed.codecs.rescore_99 IS 'candidates that find 99 % of the 10 nearest';
COMMENT ON COLUMN pgembed.codecs.asymmetric_recall IS 'as recall, with queries that are no codes';
COMMENT ON COLUMN pgembed.codecs.asymmetric_recall_20 IS 'the same among 20';
COMMENT ON COLUMN pgembed.codecs.asymmetric_recall_50 IS 'among 50';
COMMENT ON COLUMN pgembed.codecs.asymmetric_recall_100 IS 'among 100';
COMMENT ON COLUMN pgembed.codecs.asymmetric_recall_200 IS 'among 200';
COMMENT ON COLUMN pgembed.codecs.asymmetric_rescore_99 IS 'candidates that find 99 % of the 10 nearest so';
COMMENT ON COLUMN pgembed.codecs.queries_drawn IS 'where the queries came from that it was measured with';
COMMENT ON COLUMN pgembed.codecs.queries IS 'how many they were';
COMMENT ON COLUMN pgembed.codecs.distortion IS 'mean squared error of a decoded vector';
COMMENT ON COLUMN pgembed.codecs.encode_rate IS 'vectors encoded in a second';
COMMENT ON COLUMN pgembed.codecs.checked_at IS 'when check_codec() measured it again';
COMMENT ON COLUMN pgembed.codecs.recall_100_now IS 'what recall_100 was then';
COMMENT ON COLUMN pgembed.codecs.rows_now IS 'rows the table has by PostgreSQL''s count';
COMMENT ON COLUMN pgembed.codecs.masked_recall IS 'as recall, without bits that a query is unsure of';
COMMENT ON COLUMN pgembed.codecs.masked_recall_20 IS 'the same among 20';
COMMENT ON COLUMN pgembed.codecs.masked_recall_50 IS 'among 50';
COMMENT ON COLUMN pgembed.codecs.masked_recall_100 IS 'among 100';
COMMENT ON COLUMN pgembed.codecs.masked_recall_200 IS 'among 200';
COMMENT ON COLUMN pgembed.codecs.masked_rescore_99 IS 'candidates that find 99 % of the 10 nearest so';
