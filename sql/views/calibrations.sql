-- A line for what a path found with one setting. Shares are rounded and no value that was filtered by is named; yet what passes says something
-- of the rows, so it is for those who may read them all.
CREATE OR REPLACE VIEW pgembed.calibrations AS
SELECT
    m.table_name, m.column_name, p.path, m.codec, m.k, p.filter, p.share, p.candidates, p.ef_search, p.queries, p.recall, p.low AS recall_low,
    p.milliseconds, m.rows, m.measured_at, p.path OPERATOR(pg_catalog.=) ANY (c.stale) AS is_stale, c.why AS stale_because
FROM pgembed._calibration AS m
JOIN pg_catalog.pg_class AS t ON t.oid OPERATOR(pg_catalog.=) m.table_name
CROSS JOIN LATERAL pgembed._calibrated(m.table_name, m.column_name) AS c
CROSS JOIN LATERAL pg_catalog.jsonb_to_recordset(m.points) AS p (
    path text, filter text, share float8, candidates int, ef_search int, queries int, recall float8, low float8, milliseconds float8
)
WHERE pg_catalog.has_column_privilege(m.table_name::oid, m.column_name, 'SELECT')
  AND NOT pg_catalog.row_security_active(m.table_name::oid);

COMMENT ON VIEW pgembed.calibrations IS
    'a line per path and setting that calibrate() measured: the share of the true k nearest that it found, the least that it finds at 95 %'
    ' confidence, and what it took';
