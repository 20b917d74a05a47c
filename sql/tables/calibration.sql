-- What was measured of searches on an embedded column: one line each, so that a search sees with one look whether it is still the same one.
CREATE TABLE pgembed._calibration (
    table_name regclass NOT NULL,
    column_name name NOT NULL,
    points jsonb NOT NULL,           -- recall by path, share, candidates and ef_search; no value of a row is in it
    costs jsonb NOT NULL,            -- milliseconds, see pgembed.planner.costs
    k int NOT NULL,
    queries int NOT NULL,
    rows bigint NOT NULL,            -- of the table, vectors or not
    fingerprint text,                -- of the vectors' model
    metric text NOT NULL,
    codec text,                      -- of the codes that searches used; NULL: there were none
    trained_at timestamptz,          -- that codec
    code_index text,                 -- definition of the vector index on the codes
    vector_index text,               -- and of that on the vectors
    measured_at timestamptz NOT NULL,
    PRIMARY KEY (table_name, column_name),
    -- whatever forgets an embedded column forgets this with it
    FOREIGN KEY (table_name, column_name) REFERENCES pgembed._embedding ON UPDATE CASCADE ON DELETE CASCADE
);

COMMENT ON TABLE pgembed._calibration IS 'registry of what calibrate() measured, read through the view pgembed.calibrations';

SELECT pg_catalog.pg_extension_config_dump('pgembed._calibration', 'WHERE EXISTS (SELECT FROM pg_catalog.pg_class WHERE oid = table_name)');
