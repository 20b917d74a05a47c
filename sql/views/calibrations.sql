-- A line for what a path found with one setting. Shares are rounded and no value that was filtered by is named; yet what passes says something
-- of the rows, so it is for those who may read them all.
CREATE OR REPLACE VIEW pgembed.calibrations AS
SELECT
    m.table_name, m.column_name, p.path, m.k, p.share, p.recall, p.milliseconds, p.ef_search, p.candidates, m.codec, p.filter,
    p.low AS recall_low, p.queries, m.rows, m.measured_at, p.path OPERATOR(pg_catalog.=) ANY (c.stale) AS is_stale, c.why AS stale_because
FROM pgembed._calibration AS m
JOIN pg_catalog.pg_class AS t ON t.oid OPERATOR(pg_catalog.=) m.table_name
CROSS JOIN LATERAL pgembed._calibrated(m.table_name, m.column_name) AS c
CROSS JOIN LATERAL pg_catalog.jsonb_to_recordset(m.points) AS p (
    path text, filter text, share float8, candidates int, ef_search int, queries int, recall float8, low float8, milliseconds float8
)
WHERE pg_catalog.has_column_privilege(m.table_name::oid, m.column_name, 'SELECT')
  AND NOT pg_catalog.row_security_active(m.table_name::oid);

COMMENT ON VIEW pgembed.calibrations IS 'a line per path and setting that calibrate() measured: what it found, and what it took';
COMMENT ON COLUMN pgembed.calibrations.table_name IS 'the table';
COMMENT ON COLUMN pgembed.calibrations.column_name IS 'its embedded column';
COMMENT ON COLUMN pgembed.calibrations.path IS 'how the search was done';
COMMENT ON COLUMN pgembed.calibrations.k IS 'rows that were asked for';
COMMENT ON COLUMN pgembed.calibrations.share IS 'of the rows that pass the filter';
COMMENT ON COLUMN pgembed.calibrations.recall IS 'share of the true nearest that were found';
COMMENT ON COLUMN pgembed.calibrations.milliseconds IS 'median time of a search';
COMMENT ON COLUMN pgembed.calibrations.ef_search IS 'setting of the index';
COMMENT ON COLUMN pgembed.calibrations.candidates IS 'rows compared exactly at the end';
COMMENT ON COLUMN pgembed.calibrations.codec IS 'whose codes were used';
COMMENT ON COLUMN pgembed.calibrations.filter IS 'kind of filter';
COMMENT ON COLUMN pgembed.calibrations.recall_low IS 'what it finds at least, at 95 % confidence';
COMMENT ON COLUMN pgembed.calibrations.queries IS 'how many were measured';
COMMENT ON COLUMN pgembed.calibrations.rows IS 'of the table then';
COMMENT ON COLUMN pgembed.calibrations.measured_at IS 'when';
COMMENT ON COLUMN pgembed.calibrations.is_stale IS 'whether it no longer holds';
COMMENT ON COLUMN pgembed.calibrations.stale_because IS 'why';
