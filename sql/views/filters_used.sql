-- The view reads the log with its owner's rights, and asks for each line whether the caller may read the table. How many rows passed, where a
-- policy hides some of them from the caller, is not told.
CREATE OR REPLACE VIEW pgembed.filters_used WITH (security_barrier) AS
SELECT
    l.target, l.column_name, l.searches,
    CASE WHEN NOT row_security_active(l.target::oid) THEN l.rows_sum / l.searches END AS rows,
    CASE WHEN NOT row_security_active(l.target::oid) AND t.reltuples > 0 THEN least(1, l.rows_sum / l.searches / t.reltuples) END AS share,
    nullif(l.ms_total, 0) / l.searches AS ms, l.shape, l.columns, l.first_used, l.last_used, l.terms
FROM pgembed._filter_log AS l
JOIN pg_catalog.pg_class AS t ON t.oid = l.target
WHERE has_any_column_privilege(l.target::oid, 'SELECT');

COMMENT ON VIEW pgembed.filters_used IS 'a line per shape of filter that searches used while set_filter_log() was on; a lower bound';
COMMENT ON COLUMN pgembed.filters_used.target IS 'the table';
COMMENT ON COLUMN pgembed.filters_used.column_name IS 'its embedded column';
COMMENT ON COLUMN pgembed.filters_used.searches IS 'how many searches had such a filter';
COMMENT ON COLUMN pgembed.filters_used.rows IS 'that passed on average, by estimate; NULL where rows are hidden';
COMMENT ON COLUMN pgembed.filters_used.share IS 'of all rows that passed';
COMMENT ON COLUMN pgembed.filters_used.ms IS 'milliseconds of a search on average';
COMMENT ON COLUMN pgembed.filters_used.shape IS 'the filter without its values';
COMMENT ON COLUMN pgembed.filters_used.columns IS 'that it asks about';
COMMENT ON COLUMN pgembed.filters_used.first_used IS 'when it was first counted';
COMMENT ON COLUMN pgembed.filters_used.last_used IS 'and last';
COMMENT ON COLUMN pgembed.filters_used.terms IS 'its parts';
