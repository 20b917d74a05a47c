-- The lines of tables that the caller owns: a report has keys of their rows.
CREATE OR REPLACE VIEW pgembed.model_changes AS
SELECT
    c.table_name, c.column_name, c.state, p.done, p.rows, c.old_model, c.new_model, p.failed, p.rate, p.eta, c.new_column,
    c.started_at, c.switched_at, c.last_error,
    (c.report->>'overlap')::float8 AS overlap,
    (c.report->>'cka')::float8 AS cka,
    (c.report->>'old_recall')::float8 AS old_recall,
    (c.report->>'new_recall')::float8 AS new_recall,
    c.report->'moved' AS moved,
    c.report->'depends' AS depends,
    c.report
FROM pgembed._model_change AS c
JOIN pg_catalog.pg_class AS t ON t.oid = c.table_name
CROSS JOIN LATERAL pgembed._model_progress(
    c.table_name, c.column_name, c.state, pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - c.filling_since), c.filled_before
) AS p
WHERE pg_catalog.pg_has_role(current_user, t.relowner, 'USAGE');

COMMENT ON VIEW pgembed.model_changes IS 'changes of models of your tables: how far they are, and how the new vectors compare with the old ones';
COMMENT ON COLUMN pgembed.model_changes.table_name IS 'the table';
COMMENT ON COLUMN pgembed.model_changes.column_name IS 'its embedded column';
COMMENT ON COLUMN pgembed.model_changes.state IS 'preparing to finished; or abandoned';
COMMENT ON COLUMN pgembed.model_changes.done IS 'rows that have a vector of the new model';
COMMENT ON COLUMN pgembed.model_changes.rows IS 'that are to have one';
COMMENT ON COLUMN pgembed.model_changes.old_model IS 'the one it had';
COMMENT ON COLUMN pgembed.model_changes.new_model IS 'the one it gets';
COMMENT ON COLUMN pgembed.model_changes.failed IS 'rows that could not be embedded';
COMMENT ON COLUMN pgembed.model_changes.rate IS 'rows in a second';
COMMENT ON COLUMN pgembed.model_changes.eta IS 'how long it still takes';
COMMENT ON COLUMN pgembed.model_changes.new_column IS 'the column of the new vectors';
COMMENT ON COLUMN pgembed.model_changes.started_at IS 'when it was begun';
COMMENT ON COLUMN pgembed.model_changes.switched_at IS 'when searches got the new vectors';
COMMENT ON COLUMN pgembed.model_changes.last_error IS 'why the last row failed';
COMMENT ON COLUMN pgembed.model_changes.overlap IS 'share of the 10 nearest that both models agree on';
COMMENT ON COLUMN pgembed.model_changes.cka IS 'how alike both spaces are, from 0 to 1';
COMMENT ON COLUMN pgembed.model_changes.old_recall IS 'of searches by the old column''s index';
COMMENT ON COLUMN pgembed.model_changes.new_recall IS 'by the new one''s';
COMMENT ON COLUMN pgembed.model_changes.moved IS 'rows whose neighbours have changed most';
COMMENT ON COLUMN pgembed.model_changes.depends IS 'what names the column and has to follow';
COMMENT ON COLUMN pgembed.model_changes.report IS 'all that was compared';
