CREATE OR REPLACE VIEW pgembed.adapters AS
SELECT
    a.table_name, a.column_name, a.kind, a.method, a.model, a.fingerprint, e.model AS column_model,
    a.column_fingerprint IS NOT DISTINCT FROM e.fingerprint AS in_force,
    a.query_dim, a.dim, a.rank, a.measured, a.adapter, a.made_at
FROM pgembed._adapter AS a
JOIN pgembed._embedding AS e ON e.table_name = a.table_name AND e.column_name = a.column_name
JOIN pg_catalog.pg_class AS t ON t.oid = a.table_name;

COMMENT ON VIEW pgembed.adapters IS
    'a line per embedded column whose queries go through a map: of which model they are, and what was measured of it; it is not in force where the column''s vectors are of another model by now';
