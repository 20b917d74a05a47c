CREATE OR REPLACE VIEW pgembed.adapters AS
SELECT
    a.table_name, a.column_name, a.kind, a.method,
    a.column_fingerprint IS NOT DISTINCT FROM e.fingerprint AS in_force, a.model, e.model AS column_model,
    a.query_dim, a.dim, a.rank, a.made_at, a.measured, a.adapter, a.fingerprint
FROM pgembed._adapter AS a
JOIN pgembed._embedding AS e ON e.table_name = a.table_name AND e.column_name = a.column_name
JOIN pg_catalog.pg_class AS t ON t.oid = a.table_name;

COMMENT ON VIEW pgembed.adapters IS 'a line per embedded column whose queries go through a map, and what was measured of it';
COMMENT ON COLUMN pgembed.adapters.table_name IS 'the table';
COMMENT ON COLUMN pgembed.adapters.column_name IS 'its embedded column';
COMMENT ON COLUMN pgembed.adapters.kind IS 'compensation: by compensate(); low_rank: by fit_adapter()';
COMMENT ON COLUMN pgembed.adapters.method IS 'kind of map';
COMMENT ON COLUMN pgembed.adapters.in_force IS 'whether queries go through it';
COMMENT ON COLUMN pgembed.adapters.model IS 'that embeds queries';
COMMENT ON COLUMN pgembed.adapters.column_model IS 'of the column''s vectors';
COMMENT ON COLUMN pgembed.adapters.query_dim IS 'dimensions of a query before';
COMMENT ON COLUMN pgembed.adapters.dim IS 'and after';
COMMENT ON COLUMN pgembed.adapters.rank IS 'of the change, where it is of low rank';
COMMENT ON COLUMN pgembed.adapters.made_at IS 'when';
COMMENT ON COLUMN pgembed.adapters.measured IS 'what it was measured to keep or gain';
COMMENT ON COLUMN pgembed.adapters.adapter IS 'internal: where the map is kept';
COMMENT ON COLUMN pgembed.adapters.fingerprint IS 'of the model that embeds queries';
