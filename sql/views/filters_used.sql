-- The view reads the log with its owner's rights, and asks for each line whether the caller may read the table. How many rows passed, where a
-- policy hides some of them from the caller, is not told.
CREATE OR REPLACE VIEW pgembed.filters_used WITH (security_barrier) AS
SELECT
    l.target, l.column_name, l.shape, l.columns, l.searches,
    CASE WHEN NOT row_security_active(l.target::oid) THEN l.rows_sum / l.searches END AS rows,
    CASE WHEN NOT row_security_active(l.target::oid) AND t.reltuples > 0 THEN least(1, l.rows_sum / l.searches / t.reltuples) END AS share,
    nullif(l.ms_total, 0) / l.searches AS ms, l.first_used, l.last_used, l.terms
FROM pgembed._filter_log AS l
JOIN pg_catalog.pg_class AS t ON t.oid = l.target
WHERE has_any_column_privilege(l.target::oid, 'SELECT');

COMMENT ON VIEW pgembed.filters_used IS
    'a line per shape of filter that searches used while set_filter_log() was on: columns, how many searches, how many rows passed on average'
    ' by PostgreSQL''s estimate; a lower bound, for a session writes now and then';
