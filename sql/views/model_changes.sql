-- The lines of tables that the caller owns: a report has keys of their rows.
CREATE OR REPLACE VIEW pgembed.model_changes AS
SELECT
    c.table_name, c.column_name, c.state, c.old_model, c.new_model, c.new_column, p.rows, p.done, p.failed, p.rate, p.eta,
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

COMMENT ON VIEW pgembed.model_changes IS
    'changes of models of the caller''s tables: how far they are, how long they will take, and how the new vectors compare with the old ones';
